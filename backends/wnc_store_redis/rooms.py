"""The room store on Redis."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from functools import partial
from types import CoroutineType
from typing import Any

from wnc_store import Clock, OutcomeUnknownError, Room, StoreError, StoreSettings, is_id
from wnc_store.base import BaseRoomStore, Lifecycle, Transition
from wnc_store_redis.codec import parse_pttl
from wnc_store_redis.group_commit import GroupCommit
from wnc_store_redis.keys import Keys
from wnc_store_redis.room_storage import RoomStorage
from wnc_store_redis.transport.executor import CommandExecutor


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

    async def _iter_ids(self) -> AsyncIterator[str]:
        yielded: set[bytes] = set()  # SSCAN may return an entry twice
        async for pages in self._storage.index_pages():
            for entry in await self._storage.filter_existing(pages):
                room_id = entry.decode("utf-8", "replace")
                if is_id(room_id) and entry not in yielded:
                    yielded.add(entry)
                    yield room_id

    async def _prune_index(self) -> int:
        removed = 0
        try:
            async for pages in self._storage.index_pages():
                outcomes = await self._storage.prune_index(pages)
                removed += sum(outcome for outcome in outcomes if isinstance(outcome, int))
                failures = [outcome for outcome in outcomes if not isinstance(outcome, int)]
                if failures:
                    raise max(failures, key=lambda error: isinstance(error, OutcomeUnknownError))
        except StoreError as error:
            if not removed:
                raise
            message = f"{removed} entries of expired rooms were removed before an error: {error}; sweep again"
            unknown = OutcomeUnknownError(message)
            unknown.final_after = error.final_after if isinstance(error, OutcomeUnknownError) else timedelta(0)
            raise unknown from error
        return removed
