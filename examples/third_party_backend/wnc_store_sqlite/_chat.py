"""The chat primitives; `wnc_store.base.BaseChatStore` documents what they must do."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import aiosqlite

from wnc_store import ChatMessage, StoreSettings, rules, to_wire
from wnc_store.base import BaseChatStore, ChatDecoder, Lifecycle
from wnc_store_sqlite._database import MILLISECOND, Database, remaining, run

DELETE_CHAT = "DELETE FROM wnc_messages WHERE prefix = :prefix AND room_id = :id"
SWEEP_CHATS = "DELETE FROM wnc_messages WHERE prefix = :prefix AND expires_ms <= :now"

_FIND_CHAT = """
    SELECT data, expires_ms FROM wnc_messages WHERE prefix = :prefix AND room_id = :id AND expires_ms > :now
    ORDER BY number DESC LIMIT :limit
"""
_ADD_MESSAGE = """
    INSERT INTO wnc_messages (prefix, room_id, data, expires_ms) VALUES (:prefix, :id, :data, :now + :ttl)
"""
_TRIM_CHAT = """
    DELETE FROM wnc_messages WHERE prefix = :prefix AND room_id = :id AND number NOT IN (
        SELECT number FROM wnc_messages WHERE prefix = :prefix AND room_id = :id AND expires_ms > :now
        ORDER BY number DESC LIMIT :limit
    )
"""
_RENEW_CHAT = "UPDATE wnc_messages SET expires_ms = :now + :ttl WHERE prefix = :prefix AND room_id = :id"


class SqliteChatStore(BaseChatStore):
    """Chats in a SQLite file."""

    def __init__(self, database: Database, settings: StoreSettings, lifecycle: Lifecycle) -> None:
        super().__init__(settings, lifecycle)
        self._database = database
        self._decoder = ChatDecoder()
        self._ttl_ms = settings.chat_ttl // MILLISECOND
        self._limit = settings.chat_history_limit

    async def _add(self, message: ChatMessage) -> None:
        async with self._database.transaction() as db:
            messages = await self._find(db, message.room_id)
            if rules.append(messages, message, self._limit) is None:
                return
            values = self._database.values(message.room_id, data=to_wire(message), ttl=self._ttl_ms, limit=self._limit)
            await run(db, _ADD_MESSAGE, values)
            await run(db, _TRIM_CHAT, values)  # before the renewal, which would make expired messages live again
            await run(db, _RENEW_CHAT, values)

    async def _get_messages(self, room_id: str) -> Sequence[ChatMessage]:
        async with self._database.connection() as db:
            return await self._find(db, room_id)

    async def _delete_messages(self, room_id: str) -> None:
        async with self._database.transaction() as db:
            await run(db, DELETE_CHAT, self._database.values(room_id))

    async def _get_ttl(self, room_id: str) -> timedelta | None:
        async with self._database.connection() as db:
            values = self._database.values(room_id, limit=1)
            return remaining(await run(db, _FIND_CHAT, values), values["now"])

    async def _find(self, db: aiosqlite.Connection, room_id: str) -> list[ChatMessage]:
        rows = await run(db, _FIND_CHAT, self._database.values(room_id, limit=self._limit))
        key = f"wnc_messages/{self._settings.key_prefix}{room_id}"
        return self._decoder.decode_all(key, [data for data, _ in reversed(rows)])
