"""Chats on Redis."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from wnc_store import ChatMessage, StoreSettings
from wnc_store.base import BaseChatStore, EncodedEvent, Lifecycle
from wnc_store_redis.cache import ChatCache
from wnc_store_redis.codec import encode_with_nonce, is_marked
from wnc_store_redis.durations import parse_pttl, to_millis
from wnc_store_redis.keys import Keys
from wnc_store_redis.scripts import APPEND, CLEAR, publish_args
from wnc_store_redis.tails import Tails
from wnc_store_redis.transport.executor import CommandExecutor

_NO_WITNESS = b"?"
"""What APPEND takes for "a repetition, and no earlier entry is known"; no entry."""


class RedisChatStore(BaseChatStore):
    """`ChatStore` on Redis."""

    def __init__(self, commands: CommandExecutor, keys: Keys, settings: StoreSettings, lifecycle: Lifecycle) -> None:
        super().__init__(settings, lifecycle)
        self._commands = commands
        self._keys = keys
        self._ttl_ms = to_millis(settings.chat_ttl)
        self._limit = str(settings.chat_history_limit).encode()
        self._chats = ChatCache(settings.cache_bytes * 5 // 8, commands.statistics)
        self._tails = Tails(settings.cache_bytes // 8, settings.chat_history_limit)

    async def _add(self, message: ChatMessage) -> None:
        chat, room_id, entry = self._keys.chat(message.room_id), message.room_id, encode_with_nonce(message)
        told = self._publish_args(room_id, self._change_events.for_message(message))
        arguments = (entry, message.id.encode(), self._limit, self._ttl_ms)
        deadline = self._commands.deadline()
        newest, witness = self._tails.append_hint(room_id, message.id)
        while True:
            sent = self._commands.start_script(APPEND, [chat], *arguments, newest, b"", *told, deadline=deadline)
            again = (*arguments, b"", witness if is_marked(witness) else _NO_WITNESS, *told)
            reply, repeated = await self._commands.finish_script(sent, again=again)
            kept, previous, *similar = (reply, newest) if isinstance(reply, int) else reply
            if kept > 0:
                self._tails.record_append(room_id, message.id, entry, previous, kept)
                return
            if kept == 0 and (not similar or any(one.id == message.id for one in self._decode(chat.decode(), similar))):
                return
            if repeated:  # an earlier attempt may have appended the message, so it is not sent afresh
                lost = ConnectionResetError("the connection was lost, and the message may have been removed since")
                raise self._commands.to_store_error(lost, chat, unanswered=True)
            # No kept message has the id, unless another one was appended since.
            newest = witness = previous

    async def _get_messages(self, room_id: str) -> Sequence[ChatMessage]:
        chat = self._keys.chat(room_id)
        entries = await self._commands.read(b"LRANGE", chat, b"-" + self._limit, b"-1")
        messages = self._chats.read(room_id, entries, lambda unseen: self._decode(chat.decode(), unseen))
        self._tails.read(room_id, entries, messages)
        return messages

    async def _delete_messages(self, room_id: str) -> None:
        told = self._publish_args(room_id, self._change_events.for_reset(room_id))
        await self._commands.run_script(CLEAR, [self._keys.chat(room_id)], *told)

    async def _get_ttl(self, room_id: str) -> timedelta | None:
        return parse_pttl(await self._commands.read(b"PTTL", self._keys.chat(room_id)))

    def _publish_args(self, room_id: str, encoded_events: Sequence[EncodedEvent]) -> Sequence[bytes]:
        return publish_args(self._keys.publish, self._keys.chat_events(room_id), encoded_events)
