"""The chat store on Redis."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from wnc_store import ChatMessage, StoreSettings
from wnc_store.base import BaseChatStore, ChatDecoder, Lifecycle
from wnc_store_redis.cache import ChatCache
from wnc_store_redis.codec import encode_with_nonce, parse_pttl, to_millis
from wnc_store_redis.keys import Keys, text
from wnc_store_redis.script_results import Appended, NotAppended, Similar, decode_append
from wnc_store_redis.scripts import APPEND, CLEAR, NO_EVENT, publish_args
from wnc_store_redis.transport.executor import CommandExecutor

_FIRST, _RETRY = b"", b"1"
"""ARGV[6] of APPEND: whether it is a first attempt or a retry."""


class RedisChatStore(BaseChatStore):
    """`ChatStore` on Redis."""

    def __init__(self, commands: CommandExecutor, keys: Keys, settings: StoreSettings, lifecycle: Lifecycle) -> None:
        super().__init__(settings, lifecycle)
        self._commands = commands
        self._keys = keys
        self._ttl_ms = to_millis(settings.chat_ttl)
        self._limit = str(settings.chat_history_limit).encode()
        self._decoder = ChatDecoder()
        self._cache = ChatCache(
            settings.cache_bytes * 3 // 4, settings.chat_history_limit, self._decoder, commands.statistics
        )

    async def _add(self, message: ChatMessage) -> None:
        chat, room_id, entry = self._keys.chat(message.room_id), message.room_id, encode_with_nonce(message)
        events = publish_args(self._keys, room_id, self._change_events.for_message(message)) or NO_EVENT
        arguments = (entry, message.id.encode(), self._limit, self._ttl_ms)
        deadline = self._commands.deadline()
        newest, anchor = self._cache.append_hint(room_id, message.id)
        others: list[bytes] = []  # entries that seem to have the id of the message, and have another one
        while True:
            tail = (*events, *others)
            script = self._commands.start_script(APPEND, [chat], *arguments, newest, _FIRST, *tail, deadline=deadline)
            retry_args = (*arguments, anchor, _RETRY, *tail)
            reply, is_retry = await self._commands.finish_script(script, retry_args=retry_args)
            result = decode_append(reply, newest)
            if isinstance(result, Appended):
                self._cache.record_append(room_id, message.id, entry, result.previous, result.size)
                return
            if result is NotAppended.ALREADY_PRESENT:
                return
            if isinstance(result, Similar):
                similar = self._decoder.decode_all(text(chat), result.entries)
                if any(existing.id == message.id for existing in similar):
                    return
                if not is_retry:
                    others += result.entries
                    continue
            # An earlier attempt may have appended the message, so another append could duplicate it.
            lost = ConnectionResetError("the connection was lost, and the message may have been removed since")
            raise self._commands.to_store_error(lost, chat, unanswered=True)

    async def _get_messages(self, room_id: str) -> Sequence[ChatMessage]:
        chat = self._keys.chat(room_id)
        entries = await self._commands.read(b"LRANGE", chat, b"-" + self._limit, b"-1")
        return self._cache.read(chat, room_id, entries)

    async def _delete_messages(self, room_id: str) -> None:
        events = publish_args(self._keys, room_id, self._change_events.for_reset(room_id))
        await self._commands.run_script(CLEAR, [self._keys.chat(room_id)], *events)

    async def _get_ttl(self, room_id: str) -> timedelta | None:
        return parse_pttl(await self._commands.read(b"PTTL", self._keys.chat(room_id)))
