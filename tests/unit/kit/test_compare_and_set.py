"""Tests of the room store that commits by compare-and-set."""

from __future__ import annotations

from datetime import timedelta
from itertools import repeat
from typing import cast

import pytest

from one_room_store import CHANGED, STORED, OneRoomStore
from wnc_store import ConflictError, Room, RoomClosed, RoomNotFoundError, UserJoined
from wnc_store_contract.factories import room, user


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


async def test_the_events_of_an_attempt_are_passed_to_its_compare_and_set() -> None:
    """Each compare-and-set receives the events that turn the current room into the new one."""
    store = OneRoomStore([CHANGED], has_events=True)
    await store.add_user_to_room("A", user("guest"))
    assert [[type(event) for event in events] for events in store.events] == [[UserJoined]] * 2
    assert [event.rev for events in store.events for event in events] == [1, 3]
    store.stored = room("A", "host")
    await store.remove_user_from_room("A", "host")
    assert [type(event) for event in store.events[2]] == [RoomClosed]


async def test_an_update_that_always_conflicts_fails() -> None:
    """If every attempt conflicts until the timeout, the update raises ConflictError."""
    store = OneRoomStore(repeat(CHANGED), timeout=timedelta(milliseconds=1))
    with pytest.raises(ConflictError, match="'A'"):
        await store.add_user_to_room("A", user("guest"))
