"""The room store on Postgres."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import timedelta

from wnc_store import Clock, CorruptRecordError, Room, StoreSettings, is_id, to_wire
from wnc_store.base import (
    Committed,
    EncodedEvent,
    GroupCommitRoomStore,
    Lifecycle,
    VersionedRoom,
    VersionMismatch,
    decode_room,
    sum_batches,
)
from wnc_store_postgres import queries
from wnc_store_postgres.cache import VersionCache
from wnc_store_postgres.keys import Keys, new_version, to_millis, to_ttl
from wnc_store_postgres.payloads import encode_payloads
from wnc_store_postgres.reads import BatchedQuery
from wnc_store_postgres.transport.executor import StatementExecutor, WriteResult

_PAGE_SIZE = 500
"""Number of index entries that are read in one round trip."""

_SWEEP_SIZE = 200
"""Number of index entries that are swept in one transaction, which locks each expired room."""

_PURGE_SIZE = 200
"""Number of old rows of each table that are deleted in one transaction."""


class PostgresRoomStore(GroupCommitRoomStore[int]):
    """`RoomStore` on Postgres. The version of a room is a random number."""

    def __init__(
        self, executor: StatementExecutor, keys: Keys, settings: StoreSettings, clock: Clock, lifecycle: Lifecycle
    ) -> None:
        super().__init__(settings, clock, lifecycle)
        self._executor = executor
        self._keys = keys
        self._reads = BatchedQuery(executor, queries.GET_ROOMS)
        self._cache = VersionCache[Room](settings.cache_bytes // 2, executor.statistics)

    async def _get_versioned(self, room_id: str) -> VersionedRoom[int] | None:
        rows = await self._reads.get(room_id)
        return self._decode(room_id, *rows[0]) if rows else None

    def _peek_versioned(self, room_id: str) -> VersionedRoom[int] | None:
        cached = self._cache.newest(room_id)
        return cached and VersionedRoom(cached[1], cached[0])

    async def _create(self, room: Room) -> bool:
        version, data = new_version(), to_wire(room)
        arguments = (room.id, version, data, to_millis(self._settings.room_ttl))
        result = await self._write("create", room.id, self._change_events.for_commit(None, room), *arguments)
        if result.applied:
            self._cache.put(room.id, version, room, len(data))
        return result.applied

    async def _compare_and_set(
        self, before: VersionedRoom[int], after: Room, encoded_events: Sequence[EncodedEvent], /
    ) -> Committed | VersionMismatch[int]:
        return await self._replace(before, after, encoded_events)

    async def _compare_and_delete(
        self, before: VersionedRoom[int], encoded_events: Sequence[EncodedEvent], /
    ) -> Committed | VersionMismatch[int]:
        return await self._replace(before, None, encoded_events)

    async def _replace(
        self, before: VersionedRoom[int], after: Room | None, encoded_events: Sequence[EncodedEvent]
    ) -> Committed | VersionMismatch[int]:
        room_id, version, data, ttl, chat_ttl = before.room.id, new_version(), None, None, None
        if after is not None:
            data, ttl, chat_ttl = to_wire(after), self._ttls.room(after), self._ttls.chat(before.room, after)
        arguments = (
            *(room_id, before.version, version, data),
            *(value and to_millis(value) for value in (ttl, chat_ttl)),
        )
        self._cache.discard(room_id)  # if the outcome is not known, so is the current version
        result = await self._write("commit", room_id, encoded_events, *arguments)
        if not result.applied:
            self._executor.statistics.retries += 1
            rows = [*zip(result.numbers, result.entries, strict=True)]
            return VersionMismatch(self._decode(room_id, *rows[0]) if rows else None)
        self._executor.statistics.commits += 1
        if after is not None and data is not None:
            self._cache.put(room_id, version, after, len(data))
        return Committed()

    async def _delete(self, room_id: str) -> bool:
        self._cache.discard(room_id)
        result = await self._write("delete", room_id, self._change_events.for_delete(room_id), room_id)
        return result.numbers[0] == 1

    async def _get_ttl(self, room_id: str) -> timedelta | None:
        return to_ttl(await self._executor.fetch(queries.GET_ROOM_TTL, room_id, key=self._keys.room(room_id)))

    async def _get_many(self, room_ids: Sequence[str]) -> Sequence[Room | CorruptRecordError | None]:
        return await asyncio.gather(*map(self._get_or_error, room_ids))  # reads of one tick share a round trip

    async def _iter_ids(self) -> AsyncIterator[str]:
        async for page in self._pages(_PAGE_SIZE):
            for room_id, is_live in page:
                if is_live and is_id(room_id):
                    yield room_id

    async def _prune_index(self) -> int:
        return await sum_batches(self._prune_pages())

    async def _prune_pages(self) -> AsyncIterator[int]:
        after = ""
        async for page in self._pages(_SWEEP_SIZE):
            last = page[-1][0]
            if not all(is_live for _, is_live in page):
                result = await self._executor.write("sweep", after, last, key=f"{self._keys.prefix}active-rooms")
                yield sum(result.numbers)
            after = last
        while await self.purge():
            pass

    async def purge(self) -> bool:
        """Delete old rows of each table. Return whether a table may have more."""
        rows = await self._executor.fetch(queries.PURGE, _PURGE_SIZE)
        return rows[0][0] == _PURGE_SIZE

    async def _pages(self, size: int) -> AsyncIterator[Sequence[tuple[str, bool]]]:
        """Yield the index in pages: ids, and whether their rooms are live."""
        after = ""
        while True:
            page = [(row[0], row[1]) for row in await self._executor.fetch(queries.LIST_ROOMS, after, size)]
            if page:
                yield page
                after = page[-1][0]
            if len(page) < size:
                return

    async def _write(
        self, function: str, room_id: str, encoded_events: Sequence[EncodedEvent], *arguments: object
    ) -> WriteResult:
        payloads = encode_payloads(room_id, encoded_events)
        key = self._keys.room(room_id)
        return await self._executor.write(function, *arguments, key=key, channel=self._keys.channel, payloads=payloads)

    def _decode(self, room_id: str, version: int, data: bytes) -> VersionedRoom[int]:
        room = self._cache.get(room_id, version)
        if room is None:
            room = decode_room(self._keys.room(room_id), room_id, data)
            self._cache.put(room_id, version, room, len(data))
        return VersionedRoom(room, version)
