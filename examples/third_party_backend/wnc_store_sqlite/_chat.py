"""The chat primitives; `wnc_store.base.BaseChatStore` documents what they must do."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import aiosqlite

from wnc_store import ChatMessage, StoreSettings, rules, to_wire
from wnc_store.base import BaseChatStore, ChatDecoder, Lifecycle, MessageEdit
from wnc_store_sqlite._database import MILLISECOND, Database, remaining, run

DELETE_CHAT = "DELETE FROM wnc_messages WHERE prefix = :prefix AND room_id = :id"
SWEEP_CHATS = "DELETE FROM wnc_messages WHERE prefix = :prefix AND expires_ms <= :now"

_FIND_CHAT = """
    SELECT data, expires_ms, number FROM wnc_messages WHERE prefix = :prefix AND room_id = :id AND expires_ms > :now
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


_REPLACE_MESSAGE = "UPDATE wnc_messages SET data = :data WHERE number = :number"
_REMOVE_MESSAGE = "DELETE FROM wnc_messages WHERE number = :number"


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

    async def _edit(self, room_id: str, message_id: str, edit: MessageEdit, /) -> ChatMessage | None:
        async with self._database.transaction() as db:
            found = await self._find_message(db, room_id, message_id)
            if not found:
                return None
            edited = edit(found[0][1])  # inside the transaction, so that no other client changes the message
            await self._change(db, room_id, _REPLACE_MESSAGE, found, data=to_wire(edited))
            return edited

    async def _remove(self, room_id: str, message_id: str) -> bool:
        async with self._database.transaction() as db:
            found = await self._find_message(db, room_id, message_id)
            if found:
                await self._change(db, room_id, _REMOVE_MESSAGE, found)
            return bool(found)

    async def _get_messages(self, room_id: str) -> Sequence[ChatMessage]:
        async with self._database.connection() as db:
            return await self._find(db, room_id)

    async def _delete_messages(self, room_id: str) -> None:
        async with self._database.transaction() as db:
            await run(db, DELETE_CHAT, self._database.values(room_id))

    async def _get_ttl(self, room_id: str) -> timedelta | None:
        async with self._database.connection() as db:
            values = self._database.values(room_id, limit=1)
            return remaining([row[:2] for row in await run(db, _FIND_CHAT, values)], values["now"])

    async def _find(self, db: aiosqlite.Connection, room_id: str) -> list[ChatMessage]:
        return [message for _, message in reversed(await self._find_rows(db, room_id))]

    async def _find_message(
        self, db: aiosqlite.Connection, room_id: str, message_id: str
    ) -> list[tuple[int, ChatMessage]]:
        """Return the messages with an id and their row numbers, newest first."""
        return [row for row in await self._find_rows(db, room_id) if row[1].id == message_id]

    async def _find_rows(self, db: aiosqlite.Connection, room_id: str) -> list[tuple[int, ChatMessage]]:
        """Return the kept messages and their row numbers, newest first."""
        key = f"wnc_messages/{self._settings.key_prefix}{room_id}"
        rows = await run(db, _FIND_CHAT, self._database.values(room_id, limit=self._limit))
        decoded = [(number, self._decoder.decode(key, data)) for data, _, number in rows]
        return [(number, message) for number, message in decoded if message is not None]

    async def _change(
        self,
        db: aiosqlite.Connection,
        room_id: str,
        sql: str,
        found: Sequence[tuple[int, ChatMessage]],
        **values: object,
    ) -> None:
        """Run a statement on each row, keep the last messages and renew the TTL."""
        of_chat = self._database.values(room_id, ttl=self._ttl_ms, limit=self._limit)
        await run(db, _TRIM_CHAT, of_chat)
        for number, _ in found:
            await run(db, sql, {"number": number, **values})
        await run(db, _RENEW_CHAT, of_chat)
