"""Tests of the room store that commits by compare-and-set."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from datetime import timedelta
from itertools import islice, repeat
from typing import cast

import pytest

from wnc_store import ConflictError, ManualClock, Room, RoomNotFoundError, StoreSettings
from wnc_store.base import Committed, CompareAndSetRoomStore, Lifecycle, VersionedRoom, VersionMismatch
from wnc_store_contract.factories import room, user

STORED, CHANGED = room("A", "host", "other"), room("A", "host", "other", "third", rev=2)


class OneRoomStore(CompareAndSetRoomStore[int]):
    """A store of one room, whose version is a counter.

    Args:
        others: the states that other clients store, one before each compare-and-set.

    Attributes:
        stored: the room; None if it was deleted.
    """

    def __init__(self, others: Iterable[Room | None] = (), timeout: timedelta = timedelta(minutes=1)) -> None:
        super().__init__(StoreSettings(operation_timeout=timeout), ManualClock(), Lifecycle())
        self.stored: Room | None = STORED
        self._version = 1
        self._others = iter(others)

    async def _get_versioned(self, room_id: str) -> VersionedRoom[int] | None:
        del room_id
        return self.stored and VersionedRoom(self.stored, self._version)

    async def _compare_and_set(self, before: VersionedRoom[int], after: Room) -> Committed | VersionMismatch[int]:
        return await self._commit(before, after)

    async def _compare_and_delete(self, before: VersionedRoom[int]) -> Committed | VersionMismatch[int]:
        return await self._commit(before, None)

    async def _commit(self, before: VersionedRoom[int], after: Room | None) -> Committed | VersionMismatch[int]:
        for other in islice(self._others, 1):
            self.stored = other
            self._version += 1
        current = await self._get_versioned("A")
        if current is None or current.version != before.version:
            return VersionMismatch(current)
        self.stored = after
        return Committed()

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


async def test_an_update_is_stored() -> None:
    """Without concurrent changes, the first compare-and-set of an update succeeds."""
    store = OneRoomStore()
    after = await store.add_user_to_room("A", user("guest"))
    assert after is store.stored is await store.get_room("A")


async def test_the_last_leave_is_a_compare_and_delete() -> None:
    """The last leave deletes the room."""
    store = OneRoomStore()
    await store.remove_user_from_room("A", "host")
    assert await store.remove_user_from_room("A", "other") is None
    assert store.stored is None


async def test_an_update_is_applied_again_to_the_current_room() -> None:
    """After a mismatch, an update is applied to the room that the mismatch returned."""
    store = OneRoomStore([CHANGED])
    after = await store.add_user_to_room("A", user("guest"))
    assert [one.id for one in after.users] == ["host", "other", "third", "guest"]


async def test_a_delete_is_decided_again() -> None:
    """If others have joined since, a leave that would have deleted the room does not."""
    store = OneRoomStore([CHANGED])
    store.stored = room("A", "host")
    after = await store.remove_user_from_room("A", "host")
    assert after is store.stored
    assert [one.id for one in cast("Room", after).users] == ["other", "third"]


async def test_an_update_of_a_deleted_room_raises() -> None:
    """If a mismatch shows that the room is gone, the update raises RoomNotFoundError."""
    with pytest.raises(RoomNotFoundError):
        await OneRoomStore([None]).add_user_to_room("A", user("guest"))


async def test_an_update_without_effect_is_not_stored() -> None:
    """A transition that returns the same room makes no compare-and-set."""
    store = OneRoomStore([CHANGED])
    assert await store.remove_user_from_room("A", "stranger") is STORED
    assert store.stored is STORED


async def test_an_update_that_always_conflicts_fails() -> None:
    """If every attempt conflicts until the timeout, the update raises ConflictError."""
    store = OneRoomStore(repeat(CHANGED), timeout=timedelta(milliseconds=1))
    with pytest.raises(ConflictError, match="'A'"):
        await store.add_user_to_room("A", user("guest"))
