"""The chat store on Redis."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from wnc_store import ChatMessage, StoreSettings, to_wire
from wnc_store.base import BaseChatStore, ChatDecoder, Lifecycle, MessageEdit
from wnc_store_redis.cache import ChatCache
from wnc_store_redis.chat_edits import ChatEditor
from wnc_store_redis.chat_order import ChatOrder
from wnc_store_redis.codec import nonces, parse_pttl, to_millis
from wnc_store_redis.keys import Keys, text
from wnc_store_redis.script_results import Appended, NotAppended, Similar
from wnc_store_redis.scripts import APPEND, APPEND_NEWEST_FIRST, CLEAR, NO_EVENT, publish_args
from wnc_store_redis.transport.executor import CommandExecutor, ScriptCall

_FIRST, _RETRY = b"", b"1"
"""ARGV[6] of APPEND: whether it is a first attempt or a retry."""


class RedisChatStore(BaseChatStore):
    """`ChatStore` on Redis."""

    def __init__(self, commands: CommandExecutor, keys: Keys, settings: StoreSettings, lifecycle: Lifecycle) -> None:
        super().__init__(settings, lifecycle)
        self._commands = commands
        self._keys = keys
        self._ttl_ms = to_millis(settings.chat_ttl)
        self._limit = settings.chat_history_limit
        self._limit_argument = b"%d" % self._limit
        self._order = ChatOrder(settings)
        self._append = APPEND_NEWEST_FIRST if self._order.is_newest_first else APPEND
        self._nonces = nonces()
        self._decoder = ChatDecoder()
        self._cache = ChatCache(
            settings.cache_bytes * 3 // 4, self._limit, keys.chat, self._decoder, commands.statistics
        )
        self._editor = ChatEditor(commands, keys, settings, self._order, self._change_events, self._cache)

    async def _add(self, message: ChatMessage) -> None:
        room_id = message.room_id
        chat = self._cache[room_id]
        key, entry = chat.key, to_wire(message, next(self._nonces))
        events = NO_EVENT
        if self._change_events.enabled:
            events = publish_args(self._keys, room_id, self._change_events.for_message(message))
        arguments = (entry, message.id.encode(), self._limit_argument, self._ttl_ms)
        newest, anchor = chat.append_hint(message.id)
        deadline = 0.0
        others: list[bytes] = []  # entries that the script took for the message, but that have another id
        while True:
            first = (*arguments, newest, _FIRST, *events, *others)
            again = (*arguments, anchor, _RETRY, *events, *others)
            call = ScriptCall(self._append, (key,), first, again, deadline)
            result, is_retry = await self._commands.call_script(call)
            if type(result) is int:  # the size of the chat, whose newest entry was `newest`
                size, previous = result, newest
                break
            if isinstance(result, Appended):
                size, previous = result
                break
            if result is NotAppended.ALREADY_PRESENT:
                return
            if isinstance(result, Similar):
                similar = self._decoder.decode_all(text(key), result.entries)
                if any(existing.id == message.id for existing in similar):
                    return
                if not is_retry:
                    others += result.entries
                    deadline = call.deadline
                    continue
            # An earlier attempt may have appended the message, so another append could duplicate it.
            lost = ConnectionResetError("the connection was lost, and the message may have been removed since")
            raise self._commands.to_store_error(lost, key, unanswered=True)
        if chat.record_append(message.id, entry, previous, size):
            self._cache.put(room_id, chat)

    async def _edit(self, room_id: str, message_id: str, edit: MessageEdit, /) -> ChatMessage | None:
        return await self._editor.edit(room_id, message_id, edit)

    async def _remove(self, room_id: str, message_id: str) -> bool:
        return await self._editor.remove(room_id, message_id)

    async def _get_messages(self, room_id: str) -> Sequence[ChatMessage]:
        entries = await self._commands.read(b"LRANGE", self._keys.chat(room_id), *self._order.kept)
        return self._cache.decode(room_id, self._order.oldest_first(entries))

    async def _delete_messages(self, room_id: str) -> None:
        events = publish_args(self._keys, room_id, self._change_events.for_clear(room_id))
        await self._commands.run_script(CLEAR, [self._keys.chat(room_id)], *events)

    async def _get_ttl(self, room_id: str) -> timedelta | None:
        return parse_pttl(await self._commands.read(b"PTTL", self._keys.chat(room_id)))
