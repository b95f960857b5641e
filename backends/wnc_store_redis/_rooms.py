"""Rooms on Redis. The version of a room is the bytes that were read."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from datetime import timedelta

from wnc_store import (
    BaseRoomStore,
    Clock,
    Conflict,
    Lifecycle,
    Room,
    StoredRoom,
    StoreSettings,
    is_id,
    to_wire,
)
from wnc_store_redis._commands import Commands, Reply
from wnc_store_redis._durations import milliseconds, remaining
from wnc_store_redis._keys import Keys
from wnc_store_redis._scripts import COMMIT, REMOVE, SWEEP

_PAGE = b"500"
"""About how many index entries one SSCAN returns."""

_ABSENT = b""
"""What COMMIT takes for "no room"."""


class RedisRoomStore(BaseRoomStore[bytes]):
    """`RoomStore` on Redis."""

    def __init__(
        self, commands: Commands, keys: Keys, settings: StoreSettings, clock: Clock, lifecycle: Lifecycle
    ) -> None:
        super().__init__(settings, clock, lifecycle)
        self._commands = commands
        self._keys = keys
        self._ttl_ms = milliseconds(settings.room_ttl)

    async def _mutate(self, room_id: str, rule: Callable[[Room], Room | None]) -> Room | None:
        with self._commands.one_operation():
            return await super()._mutate(room_id, rule)

    async def _load(self, room_id: str) -> StoredRoom[bytes] | None:
        return self._stored(room_id, await self._commands.read(b"GET", self._keys.room(room_id)))

    async def _insert(self, room: Room) -> bool:
        done, *_ = await self._run_commit(room.id, _ABSENT, to_wire(room))
        return bool(done)

    async def _commit(self, before: StoredRoom[bytes], after: Room | None) -> Conflict[bytes] | None:
        room_id = before.room.id
        done, *found = await self._run_commit(room_id, before.version, _ABSENT if after is None else to_wire(after))
        return None if done else Conflict(self._stored(room_id, found[0]))

    async def _remove(self, room_id: str) -> bool:
        return bool(await self._commands.run(REMOVE, self._all_keys(room_id), room_id.encode()))

    async def _ttl(self, room_id: str) -> timedelta | None:
        return remaining(await self._commands.read(b"PTTL", self._keys.room(room_id)))

    async def _list(self) -> AsyncIterator[str]:
        yielded: set[bytes] = set()  # SSCAN may return an entry twice
        async for entries in self._index_pages():
            lives = await self._commands.read_many([(b"EXISTS", self._keys.room(entry)) for entry in entries])
            for entry, alive in zip(entries, lives, strict=True):
                room_id = entry.decode("utf-8", "replace")
                if alive and is_id(room_id) and entry not in yielded:
                    yielded.add(entry)
                    yield room_id

    async def _sweep(self) -> int:
        removed = 0
        async for entries in self._index_pages():
            rooms = [self._keys.room(entry) for entry in entries]
            removed += await self._commands.run(SWEEP, [self._keys.active_rooms, *rooms], *entries)
        return removed

    async def _index_pages(self) -> AsyncIterator[list[bytes]]:
        cursor = b"0"
        while True:
            cursor, entries = await self._commands.read(b"SSCAN", self._keys.active_rooms, cursor, b"COUNT", _PAGE)
            if entries:
                yield entries
            if cursor == b"0":
                return

    async def _run_commit(self, room_id: str, before: bytes, after: bytes) -> Reply:
        return await self._commands.run(COMMIT, self._all_keys(room_id), before, after, self._ttl_ms, room_id.encode())

    def _all_keys(self, room_id: str) -> list[bytes]:
        return [self._keys.room(room_id), self._keys.active_rooms, self._keys.chat(room_id)]

    def _stored(self, room_id: str, data: bytes | None) -> StoredRoom[bytes] | None:
        if data is None:
            return None
        return StoredRoom(self._decode(self._keys.room(room_id).decode(), room_id, data), data)
