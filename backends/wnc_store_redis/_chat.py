"""Chats on Redis."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from cachetools import LRUCache

from wnc_store import BaseChatStore, ChatMessage, Lifecycle, StoreSettings, to_wire
from wnc_store_redis._commands import Commands
from wnc_store_redis._durations import milliseconds, remaining
from wnc_store_redis._keys import Keys
from wnc_store_redis._scripts import APPEND, CLEAR, publication
from wnc_store_redis._seen import SeenChats

_WITNESSES = 10_000
"""Chats of which a message is remembered that was among the kept ones."""


class RedisChatStore(BaseChatStore):
    """`ChatStore` on Redis."""

    def __init__(self, commands: Commands, keys: Keys, settings: StoreSettings, lifecycle: Lifecycle) -> None:
        super().__init__(settings, lifecycle)
        self._commands = commands
        self._keys = keys
        self._ttl_ms = milliseconds(settings.chat_ttl)
        self._limit = str(settings.chat_history_limit).encode()
        self._chats = SeenChats(settings.cache_bytes // 2)
        self._witnesses: LRUCache[str, bytes] = LRUCache(_WITNESSES)

    async def _append(self, message: ChatMessage) -> None:
        chat, message_id = self._keys.chat(message.room_id), message.id.encode()
        told = publication(self._keys.events(message.room_id), self._own_changes.of_message(message))
        arguments = (to_wire(message), message_id, self._limit, self._ttl_ms, *told)
        # While a message that was there before this one is still kept, so is this one, if an attempt appended it.
        witness = self._witnesses.get(message.room_id, b"")
        reply, _ = await self._commands.settle(
            APPEND, [chat], *arguments, again=(*arguments, witness), deadline=self._commands.deadline()
        )
        if reply < 0:
            lost = ConnectionResetError("the connection was lost, and others may have removed the message since")
            raise self._commands.failure(lost, chat, unanswered=True)
        self._witnesses[message.room_id] = message_id

    async def _read(self, room_id: str) -> Sequence[ChatMessage]:
        chat = self._keys.chat(room_id)
        entries = await self._commands.read(b"LRANGE", chat, b"-" + self._limit, b"-1")
        messages = self._chats.read(room_id, entries, lambda unseen: self._decode(chat.decode(), unseen))
        if messages:
            self._witnesses[room_id] = messages[-1].id.encode("utf-8", "replace")
        return messages

    async def _clear(self, room_id: str) -> None:
        told = publication(self._keys.events(room_id), self._own_changes.of_upheaval(room_id))
        await self._commands.run(CLEAR, [self._keys.chat(room_id)], *told)

    async def _ttl(self, room_id: str) -> timedelta | None:
        return remaining(await self._commands.read(b"PTTL", self._keys.chat(room_id)))
