"""The room primitives; `wnc_store.base.CompareAndSetRoomStore` documents what they must do."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from datetime import timedelta

import aiosqlite

from wnc_store import Clock, CorruptRecordError, Room, StoreSettings, to_wire
from wnc_store.base import (
    Committed,
    CompareAndSetRoomStore,
    EncodedEvent,
    Lifecycle,
    VersionedRoom,
    VersionMismatch,
    decode_room,
)
from wnc_store_sqlite._chat import DELETE_CHAT, SWEEP_CHATS
from wnc_store_sqlite._database import MILLISECOND, Database, remaining, run

_FIND_ROOM = "SELECT data, expires_ms FROM wnc_rooms WHERE prefix = :prefix AND id = :id AND expires_ms > :now"
_PUT_ROOM = "REPLACE INTO wnc_rooms (prefix, id, data, expires_ms) VALUES (:prefix, :id, :data, :now + :ttl)"
_SET_CHAT_TTL = """
    UPDATE wnc_messages SET expires_ms = :now + :ttl
    WHERE prefix = :prefix AND room_id = :id AND expires_ms > :now
"""
_DELETE_ROOM = "DELETE FROM wnc_rooms WHERE prefix = :prefix AND id = :id RETURNING expires_ms > :now"
_FIND_ROOMS = """
    SELECT id, data FROM wnc_rooms
    WHERE prefix = :prefix AND id IN (SELECT value FROM json_each(:ids)) AND expires_ms > :now
"""
_LIST_ROOMS = "SELECT id FROM wnc_rooms WHERE prefix = :prefix AND expires_ms > :now"
_SWEEP_ROOMS = "DELETE FROM wnc_rooms WHERE prefix = :prefix AND expires_ms <= :now RETURNING id"


class SqliteRoomStore(CompareAndSetRoomStore[bytes]):
    """Rooms in a SQLite file. The version of a room is its stored bytes."""

    def __init__(self, database: Database, settings: StoreSettings, clock: Clock, lifecycle: Lifecycle) -> None:
        super().__init__(settings, clock, lifecycle)
        self._database = database
        self._ttl_ms = settings.room_ttl // MILLISECOND

    async def _get_versioned(self, room_id: str) -> VersionedRoom[bytes] | None:
        async with self._database.connection() as db:
            return await self._find(db, room_id)

    async def _get_many(self, room_ids: Sequence[str]) -> Sequence[Room | CorruptRecordError | None]:
        async with self._database.connection() as db:
            rows = await run(db, _FIND_ROOMS, self._database.values(ids=json.dumps(room_ids)))
        found = {room_id: self._decode_or_error(room_id, data) for room_id, data in rows}
        return [found.get(room_id) for room_id in room_ids]

    async def _create(self, room: Room) -> bool:
        async with self._database.transaction() as db:
            values = self._database.values(room.id, data=to_wire(room), ttl=self._ttl_ms)
            if await run(db, _FIND_ROOM, values):
                return False
            await run(db, DELETE_CHAT, values)
            await run(db, _PUT_ROOM, values)
            return True

    async def _compare_and_set(
        self, before: VersionedRoom[bytes], after: Room, _encoded_events: Sequence[EncodedEvent], /
    ) -> Committed | VersionMismatch[bytes]:
        async with self._database.transaction() as db:
            current = await self._find(db, after.id)
            if current is None or current.version != before.version:
                return VersionMismatch(current)
            ttl, chat_ttl = self._ttls.room(after), self._ttls.chat(before.room, after)
            values = self._database.values(after.id, data=to_wire(after), ttl=ttl // MILLISECOND)
            await run(db, _PUT_ROOM, values)
            if chat_ttl is not None:
                await run(db, _SET_CHAT_TTL, {**values, "ttl": chat_ttl // MILLISECOND})
            return Committed()

    async def _compare_and_delete(
        self, before: VersionedRoom[bytes], _encoded_events: Sequence[EncodedEvent], /
    ) -> Committed | VersionMismatch[bytes]:
        async with self._database.transaction() as db:
            current = await self._find(db, before.room.id)
            if current is None or current.version != before.version:
                return VersionMismatch(current)
            await self._delete_rows(db, before.room.id)
            return Committed()

    async def _delete(self, room_id: str) -> bool:
        async with self._database.transaction() as db:
            return await self._delete_rows(db, room_id)

    async def _get_ttl(self, room_id: str) -> timedelta | None:
        async with self._database.connection() as db:
            values = self._database.values(room_id)
            return remaining(await run(db, _FIND_ROOM, values), values["now"])

    async def _iter_ids(self) -> AsyncIterator[str]:
        async with self._database.connection() as db:
            rows = await run(db, _LIST_ROOMS, self._database.values())
        for (room_id,) in rows:  # after releasing the connection, because the caller may be slow
            yield room_id

    async def _prune_index(self) -> int:
        async with self._database.transaction() as db:
            values = self._database.values()
            await run(db, SWEEP_CHATS, values)  # not counted, because chats are not indexed
            return len(await run(db, _SWEEP_ROOMS, values))

    async def _find(self, db: aiosqlite.Connection, room_id: str) -> VersionedRoom[bytes] | None:
        rows = await run(db, _FIND_ROOM, self._database.values(room_id))
        if not rows:
            return None
        data, _ = rows[0]
        return VersionedRoom(self._decode(room_id, data), data)

    def _decode(self, room_id: str, data: bytes) -> Room:
        return decode_room(f"wnc_rooms/{self._settings.key_prefix}{room_id}", room_id, data)

    def _decode_or_error(self, room_id: str, data: bytes) -> Room | CorruptRecordError:
        try:
            return self._decode(room_id, data)
        except CorruptRecordError as error:
            return error

    async def _delete_rows(self, db: aiosqlite.Connection, room_id: str) -> bool:
        values = self._database.values(room_id)
        await run(db, DELETE_CHAT, values)
        return any(was_live for (was_live,) in await run(db, _DELETE_ROOM, values))
