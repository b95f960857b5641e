"""Chats on Redis."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from wnc_store import BaseChatStore, ChatMessage, Lifecycle, StoreSettings, to_wire
from wnc_store_redis._commands import Commands
from wnc_store_redis._durations import milliseconds, remaining
from wnc_store_redis._keys import Keys
from wnc_store_redis._scripts import APPEND


class RedisChatStore(BaseChatStore):
    """`ChatStore` on Redis."""

    def __init__(self, commands: Commands, keys: Keys, settings: StoreSettings, lifecycle: Lifecycle) -> None:
        super().__init__(settings, lifecycle)
        self._commands = commands
        self._keys = keys
        self._ttl_ms = milliseconds(settings.chat_ttl)
        self._limit = str(settings.chat_history_limit).encode()

    async def _append(self, message: ChatMessage) -> None:
        chat = self._keys.chat(message.room_id)
        await self._commands.run(APPEND, [chat], to_wire(message), message.id.encode(), self._limit, self._ttl_ms)

    async def _read(self, room_id: str) -> Sequence[ChatMessage]:
        chat = self._keys.chat(room_id)
        return self._decode(chat.decode(), await self._commands.read(b"LRANGE", chat, b"-" + self._limit, b"-1"))

    async def _clear(self, room_id: str) -> None:
        await self._commands.write(b"DEL", self._keys.chat(room_id))

    async def _ttl(self, room_id: str) -> timedelta | None:
        return remaining(await self._commands.read(b"PTTL", self._keys.chat(room_id)))
