"""The chat store on Redis."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from wnc_store import ChatMessage, StoreSettings
from wnc_store.base import BaseChatStore, EncodedEvent, Lifecycle
from wnc_store_redis.cache import ChatCache
from wnc_store_redis.codec import encode_with_nonce, parse_pttl, to_millis
from wnc_store_redis.keys import Keys
from wnc_store_redis.scripts import APPEND, CLEAR, publish_args
from wnc_store_redis.transport.executor import CommandExecutor

_NO_ANCHOR = b"?"
"""ARGV[6] of APPEND in a retry if no earlier entry is known."""

_NO_EVENT = (b"", b"", b"")
"""ARGV[7..9] of APPEND if no event is published."""


class RedisChatStore(BaseChatStore):
    """`ChatStore` on Redis."""

    def __init__(self, commands: CommandExecutor, keys: Keys, settings: StoreSettings, lifecycle: Lifecycle) -> None:
        super().__init__(settings, lifecycle)
        self._commands = commands
        self._keys = keys
        self._ttl_ms = to_millis(settings.chat_ttl)
        self._limit = str(settings.chat_history_limit).encode()
        self._cache = ChatCache(settings.cache_bytes * 3 // 4, settings.chat_history_limit, commands.statistics)

    async def _add(self, message: ChatMessage) -> None:
        chat, room_id, entry = self._keys.chat(message.room_id), message.room_id, encode_with_nonce(message)
        events = self._publish_args(room_id, self._change_events.for_message(message))
        arguments = (entry, message.id.encode(), self._limit, self._ttl_ms)
        deadline = self._commands.deadline()
        newest, anchor = self._cache.append_hint(room_id, message.id)
        others: list[bytes] = []
        while True:
            tail = (*(events or _NO_EVENT), *others)
            script = self._commands.start_script(APPEND, [chat], *arguments, newest, b"", *tail, deadline=deadline)
            retry_args = (*arguments, b"", anchor or _NO_ANCHOR, *tail)
            reply, is_retry = await self._commands.finish_script(script, retry_args=retry_args)
            count, previous, *similar = (reply, newest) if isinstance(reply, int) else reply
            if count > 0:
                self._cache.record_append(room_id, message.id, entry, previous, count)
                return
            if count == 0 and (not similar or any(m.id == message.id for m in self._decode(chat.decode(), similar))):
                return
            if is_retry:  # an earlier attempt may have appended the message, so another append could duplicate it
                lost = ConnectionResetError("the connection was lost, and the message may have been removed since")
                raise self._commands.to_store_error(lost, chat, unanswered=True)
            others += similar  # they are not messages with this id

    async def _get_messages(self, room_id: str) -> Sequence[ChatMessage]:
        chat = self._keys.chat(room_id)
        entries = await self._commands.read(b"LRANGE", chat, b"-" + self._limit, b"-1")
        return self._cache.read(room_id, entries, lambda unseen: self._decode(chat.decode(), unseen))

    async def _delete_messages(self, room_id: str) -> None:
        events = self._publish_args(room_id, self._change_events.for_reset(room_id))
        await self._commands.run_script(CLEAR, [self._keys.chat(room_id)], *events)

    async def _get_ttl(self, room_id: str) -> timedelta | None:
        return parse_pttl(await self._commands.read(b"PTTL", self._keys.chat(room_id)))

    def _publish_args(self, room_id: str, encoded_events: Sequence[EncodedEvent]) -> Sequence[bytes]:
        return publish_args(self._keys.publish, self._keys.events(room_id), encoded_events)
