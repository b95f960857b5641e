"""Chats on Redis."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from wnc_store import BaseChatStore, ChatMessage, Lifecycle, StoreSettings, Telling
from wnc_store_redis.cache import SeenChats
from wnc_store_redis.codec import is_marked, marked
from wnc_store_redis.durations import milliseconds, remaining
from wnc_store_redis.keys import Keys
from wnc_store_redis.scripts import APPEND, CLEAR, publication
from wnc_store_redis.tails import Tails
from wnc_store_redis.transport.executor import Commands

_NO_WITNESS = b"?"
"""What APPEND takes for "a repetition, and no earlier entry is known"; no entry."""


class RedisChatStore(BaseChatStore):
    """`ChatStore` on Redis."""

    def __init__(self, commands: Commands, keys: Keys, settings: StoreSettings, lifecycle: Lifecycle) -> None:
        super().__init__(settings, lifecycle)
        self._commands = commands
        self._keys = keys
        self._ttl_ms = milliseconds(settings.chat_ttl)
        self._limit = str(settings.chat_history_limit).encode()
        self._chats = SeenChats(settings.cache_bytes * 5 // 8, commands.counts)
        self._tails = Tails(settings.cache_bytes // 8, settings.chat_history_limit)

    async def _append(self, message: ChatMessage) -> None:
        chat, room_id, entry = self._keys.chat(message.room_id), message.room_id, marked(message)
        told = self._publication(room_id, self._own_changes.of_message(message))
        arguments = (entry, message.id.encode(), self._limit, self._ttl_ms)
        deadline = self._commands.deadline()
        newest, witness = self._tails.before(room_id, message.id)
        while True:
            sent = self._commands.send(APPEND, [chat], *arguments, newest, b"", *told, deadline=deadline)
            again = (*arguments, b"", witness if is_marked(witness) else _NO_WITNESS, *told)
            reply, repeated = await self._commands.settle(sent, again=again)
            kept, previous, *similar = (reply, newest) if isinstance(reply, int) else reply
            if kept > 0:
                self._tails.appended(room_id, message.id, entry, previous, kept)
                return
            if kept == 0 and (not similar or any(one.id == message.id for one in self._decode(chat.decode(), similar))):
                return
            if repeated:  # an earlier attempt may have appended the message, so it is not sent afresh
                lost = ConnectionResetError("the connection was lost, and the message may have been removed since")
                raise self._commands.failure(lost, chat, unanswered=True)
            # No kept message has the id, unless another one was appended since.
            newest = witness = previous

    async def _read(self, room_id: str) -> Sequence[ChatMessage]:
        chat = self._keys.chat(room_id)
        entries = await self._commands.read(b"LRANGE", chat, b"-" + self._limit, b"-1")
        messages = self._chats.read(room_id, entries, lambda unseen: self._decode(chat.decode(), unseen))
        self._tails.read(room_id, entries, messages)
        return messages

    async def _clear(self, room_id: str) -> None:
        told = self._publication(room_id, self._own_changes.of_upheaval(room_id))
        await self._commands.run(CLEAR, [self._keys.chat(room_id)], *told)

    async def _ttl(self, room_id: str) -> timedelta | None:
        return remaining(await self._commands.read(b"PTTL", self._keys.chat(room_id)))

    def _publication(self, room_id: str, tellings: Sequence[Telling]) -> Sequence[bytes]:
        return publication(self._keys.publish, self._keys.chat_events(room_id), tellings)
