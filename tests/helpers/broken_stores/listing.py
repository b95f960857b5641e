"""Mistakes in the list of rooms, and in the sweep that cleans it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from broken_stores.mutant import Mistakes
from wnc_store_memory.rooms import MemoryRoomStore

MUTANTS = Mistakes()


def kept_ids(store: MemoryRoomStore) -> list[str]:
    """Return the ids of all rooms that were not freed yet, the dead ones too."""
    return list(store._rooms._entries)


@MUTANTS.breaks((MemoryRoomStore, "_iter_ids"), "expired_rooms_are_not_listed")
async def dead_rooms_are_listed(self: MemoryRoomStore) -> AsyncIterator[str]:
    """Rooms are listed until they are freed."""
    for room_id in kept_ids(self):
        yield room_id


@MUTANTS.breaks(
    (MemoryRoomStore, "_iter_ids"),
    "live_rooms_are_listed",
    "many_rooms_are_listed",
    "deleted_rooms_are_not_listed",
    "expired_rooms_are_not_listed",
    "a_sweep_returns_the_number_of_removed_rooms",
    "rooms_may_change_while_they_are_listed",
    "listing_does_not_renew",
    "listings_see_writes_of_other_clients",
)
async def rooms_are_listed_twice(self: MemoryRoomStore) -> AsyncIterator[str]:
    """Each room comes two times."""
    for room_id in self._rooms.live_keys():
        yield room_id
        yield room_id


@MUTANTS.breaks((MemoryRoomStore, "_prune_index"), "a_sweep_returns_the_number_of_removed_rooms")
async def a_sweep_counts_nothing(self: MemoryRoomStore) -> int:
    """It does its work and says that there was none."""
    sum(self._rooms.purge_expired())
    return 0


@MUTANTS.breaks((MemoryRoomStore, "_prune_index"), "a_room_created_during_a_sweep_is_listed")
async def a_sweep_removes_what_was_created_meanwhile(self: MemoryRoomStore) -> int:
    """It looks which rooms are dead, waits, and then removes them, whatever lives by now."""
    dead = [room_id for room_id in kept_ids(self) if self._rooms.get(room_id) is None]
    await asyncio.sleep(0)
    for room_id in dead:
        self._rooms.pop(room_id)
    sum(self._rooms.purge_expired())
    return len(dead)
