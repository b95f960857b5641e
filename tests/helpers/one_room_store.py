"""Stores of one room, whose tests decide what happens during each compare-and-set."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from datetime import timedelta
from itertools import islice

from wnc_store import ManualClock, Room, RoomEvent, StoreSettings
from wnc_store.base import (
    Committed,
    CompareAndSetRoomStore,
    EncodedEvent,
    GroupCommitRoomStore,
    Lifecycle,
    VersionedRoom,
    VersionMismatch,
)
from wnc_store_contract.factories import room

STORED, CHANGED = room("A", "host", "other"), room("A", "host", "other", "third", rev=2)


class OneRoomStore(CompareAndSetRoomStore[int]):
    """A store of one room, whose version is a counter.

    Args:
        others: the states that other clients store, one before each compare-and-set.
        timeout: the setting `operation_timeout`.

    Attributes:
        lifecycle: the lifecycle of the store.
        stored: the room; None if it was deleted.
        read_seconds: how long a read takes.
        commit_seconds: how long each compare-and-set takes.
        before_commit: called at the end of each compare-and-set, before it takes effect.
        reads: the number of reads.
        attempts: the number of compare-and-sets that began.
        events: the events of each compare-and-set.
    """

    def __init__(
        self, others: Iterable[Room | None] = (), timeout: timedelta = timedelta(minutes=1), *, has_events: bool = False
    ) -> None:
        self.lifecycle = Lifecycle()
        settings = StoreSettings(operation_timeout=timeout, publish_changes=has_events)
        super().__init__(settings, ManualClock(), self.lifecycle)
        self.stored: Room | None = STORED
        self.read_seconds = self.commit_seconds = 0.0
        self.before_commit: Callable[[], None] = lambda: None
        self.reads = self.attempts = 0
        self.events: list[list[RoomEvent]] = []
        self._version = 1
        self._others = iter(others)

    async def _get_versioned(self, room_id: str) -> VersionedRoom[int] | None:
        del room_id
        self.reads += 1
        await asyncio.sleep(self.read_seconds)
        return self.current()

    def current(self) -> VersionedRoom[int] | None:
        """Return the stored room and its version."""
        return self.stored and VersionedRoom(self.stored, self._version)

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
        self.attempts += 1
        self.events.append([encoded_event.event for encoded_event in encoded_events])
        await asyncio.sleep(self.commit_seconds)
        self.before_commit()
        for other in islice(self._others, 1):
            self.store(other)
        current = self.current()
        if current is None or current.version != before.version:
            return VersionMismatch(current)
        self.store(after)
        return Committed()

    def store(self, after: Room | None) -> None:
        """Replace the room, as another client does."""
        self.stored = after
        self._version += 1

    async def _create(self, room: Room) -> bool:
        raise NotImplementedError

    async def _delete(self, room_id: str) -> bool:
        raise NotImplementedError

    async def _get_ttl(self, room_id: str) -> timedelta | None:
        raise NotImplementedError

    def _iter_ids(self) -> AsyncIterator[str]:
        raise NotImplementedError

    async def _prune_index(self) -> int:
        raise NotImplementedError


class GroupedOneRoomStore(OneRoomStore, GroupCommitRoomStore[int]):
    """A store of one room that combines concurrent updates.

    Attributes:
        seen: the room as the store last saw it, possibly out of date.
    """

    seen: VersionedRoom[int] | None = None

    def _peek_versioned(self, room_id: str) -> VersionedRoom[int] | None:
        del room_id
        return self.seen
