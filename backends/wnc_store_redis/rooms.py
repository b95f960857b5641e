"""The room store on Redis."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from functools import partial
from types import CoroutineType
from typing import Any

from wnc_store import Clock, CorruptRecordError, OutcomeUnknownError, Room, StoreSettings, is_id
from wnc_store.base import BaseRoomStore, Lifecycle, Transition, sum_batches
from wnc_store_redis.codec import parse_pttl
from wnc_store_redis.group_commit import GroupCommit
from wnc_store_redis.keys import Keys
from wnc_store_redis.room_storage import RoomStorage
from wnc_store_redis.transport.executor import CommandExecutor

_MAX_READS = 1000
"""Number of rooms that are read in one round trip; more would delay other commands of the connection for too long."""


class RedisRoomStore(BaseRoomStore):
    """`RoomStore` on Redis."""

    def __init__(
        self, commands: CommandExecutor, keys: Keys, settings: StoreSettings, clock: Clock, lifecycle: Lifecycle
    ) -> None:
        super().__init__(settings, clock, lifecycle)
        self._commands = commands
        self._keys = keys
        self._storage = RoomStorage(commands, keys, settings, self._change_events)
        self._group_commit = GroupCommit(commands, self._storage, self._change_events)

    def _get(self, room_id: str) -> CoroutineType[Any, Any, Room | None]:
        key = self._keys.room(room_id)
        return self._commands.read(b"GET", key, decode=partial(self._storage.cache.decode_room, key, room_id))

    def _create(self, room: Room) -> CoroutineType[Any, Any, bool]:
        return self._storage.create(room)

    def _update(self, room_id: str, transition: Transition, /) -> CoroutineType[Any, Any, Room | None]:
        return self._group_commit.submit(room_id, transition)

    def _delete(self, room_id: str) -> CoroutineType[Any, Any, bool]:
        return self._storage.delete(room_id)

    async def _get_ttl(self, room_id: str) -> timedelta | None:
        return parse_pttl(await self._commands.read(b"PTTL", self._keys.room(room_id)))

    async def _get_many(self, room_ids: Sequence[str]) -> Sequence[Room | CorruptRecordError | None]:
        # The reads of one tick share a write to each server. MGET would fail while a slot of a cluster migrates.
        found: list[Room | CorruptRecordError | None] = []
        for start in range(0, len(room_ids), _MAX_READS):
            reads = map(self._get_or_error, room_ids[start : start + _MAX_READS])
            found += await asyncio.gather(*reads)
        return found

    def _iter_ids(self) -> AsyncIterator[str]:
        return self._iter_index(only_existing=True)

    def _iter_indexed_ids(self) -> AsyncIterator[str]:
        return self._iter_index(only_existing=False)

    async def _iter_index(self, *, only_existing: bool) -> AsyncIterator[str]:
        yielded: set[bytes] = set()  # SSCAN may return an entry twice
        async for pages in self._storage.index_pages():
            listed = [entry for page in pages for entry in page.entries]
            for entry in await self._storage.filter_existing(pages) if only_existing else listed:
                room_id = entry.decode("utf-8", "replace")
                if is_id(room_id) and entry not in yielded:
                    yielded.add(entry)
                    yield room_id

    async def _prune_index(self) -> int:
        return await sum_batches(self._prune_pages())

    async def _prune_pages(self) -> AsyncIterator[int]:
        async for pages in self._storage.index_pages():
            outcomes = await self._storage.prune_index(pages)
            yield sum(outcome for outcome in outcomes if isinstance(outcome, int))
            failures = [outcome for outcome in outcomes if not isinstance(outcome, int)]
            if failures:
                raise max(failures, key=lambda error: isinstance(error, OutcomeUnknownError))
