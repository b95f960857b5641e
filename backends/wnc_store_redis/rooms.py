"""Rooms on Redis. The version of a room is the bytes that were read."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from types import CoroutineType
from typing import Any

from wnc_store import BaseRoomStore, Clock, Conflict, Lifecycle, Room, StoredRoom, StoreSettings, is_id
from wnc_store_redis.durations import remaining
from wnc_store_redis.group_commit import GroupCommit
from wnc_store_redis.keys import Keys
from wnc_store_redis.room_storage import CommitPath
from wnc_store_redis.sharded import ShardedCommitPath
from wnc_store_redis.transport.executor import Commands

_PAGE = b"500"
"""About how many index entries one SSCAN returns."""


class RedisRoomStore(BaseRoomStore[bytes]):
    """`RoomStore` on Redis."""

    def __init__(
        self, commands: Commands, keys: Keys, settings: StoreSettings, clock: Clock, lifecycle: Lifecycle
    ) -> None:
        super().__init__(settings, clock, lifecycle)
        self._commands = commands
        self._keys = keys
        path = ShardedCommitPath if commands.is_sharded else CommitPath
        self._path = path(commands, keys, settings, self._own_changes, self._read)
        self._changes = GroupCommit(self._path, self._own_changes)

    def _mutate(self, room_id: str, rule: Callable[[Room], Room | None]) -> CoroutineType[Any, Any, Room | None]:
        return self._changes.change(room_id, rule)

    def _load(self, room_id: str) -> CoroutineType[Any, Any, StoredRoom[bytes] | None]:
        return self._path.load(room_id)

    async def _insert(self, room: Room) -> bool:
        return await self._path.insert(room)

    async def _commit(self, before: StoredRoom[bytes], after: Room | None) -> Conflict[bytes] | None:
        tellings = self._own_changes.of_room(before.room, after)
        return await self._path.settle(self._path.begin(before, after, tellings, self._path.deadline()))

    async def _remove(self, room_id: str) -> bool:
        return await self._path.remove(room_id)

    async def _ttl(self, room_id: str) -> timedelta | None:
        return remaining(await self._commands.read(b"PTTL", self._keys.room(room_id)))

    async def _list(self) -> AsyncIterator[str]:
        yielded: set[bytes] = set()  # SSCAN may return an entry twice
        async for entries in self._index_pages():
            for entry in await self._path.living(entries):
                room_id = entry.decode("utf-8", "replace")
                if is_id(room_id) and entry not in yielded:
                    yielded.add(entry)
                    yield room_id

    async def _sweep(self) -> int:
        removed = 0
        async for entries in self._index_pages():
            removed += await self._path.sweep(entries)
        return removed

    async def _index_pages(self) -> AsyncIterator[list[bytes]]:
        index = self._keys.active_rooms
        cursor, place = b"0", None
        while True:
            cursor, entries = await self._commands.read(b"SSCAN", index, cursor, b"COUNT", _PAGE)
            before, place = place, self._commands.place(index)
            if entries:
                yield entries
            if before not in {None, place}:
                cursor, place = b"0", None  # a cursor means nothing to another server: begin anew
            elif cursor == b"0":
                return

    def _read(self, room_id: str, data: bytes) -> Room:
        return self._decode(self._keys.room(room_id).decode(), room_id, data)
