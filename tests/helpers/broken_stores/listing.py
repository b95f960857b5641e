"""Mutants of the room listing and its sweep."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from broken_stores.mutant import Mutants
from wnc_store_contract.memory import MemoryHarness
from wnc_store_memory import MemoryStore
from wnc_store_memory.rooms import MemoryRoomStore

MUTANTS = Mutants()

prune, open_store = MemoryRoomStore._prune_index, MemoryHarness.open_store


def all_ids(store: MemoryRoomStore) -> list[str]:
    """Return the ids of all rooms that were not purged yet, including expired ones."""
    return list(store._rooms._entries)


@MUTANTS.breaks((MemoryRoomStore, "_iter_ids"), "expired_rooms_are_not_listed")
async def expired_rooms_are_listed(self: MemoryRoomStore) -> AsyncIterator[str]:
    """List expired rooms until they are purged."""
    for room_id in all_ids(self):
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
    """Yield each room id twice."""
    for room_id in self._rooms.live_keys():
        yield room_id
        yield room_id


@MUTANTS.breaks(
    (MemoryRoomStore, "_prune_index"),
    "a_sweep_returns_the_number_of_removed_rooms",
    "a_sweep_keeps_chats",
    "a_sweep_leaves_other_prefixes",
    "concurrent_sweeps_count_each_room_once",
)
async def a_sweep_returns_zero(self: MemoryRoomStore) -> int:
    """Remove expired rooms but return 0."""
    sum(self._rooms.purge_expired())
    return 0


@MUTANTS.breaks(
    (MemoryRoomStore, "_prune_index"),
    "a_room_created_during_a_sweep_is_listed",
    "concurrent_sweeps_count_each_room_once",
)
async def a_sweep_removes_new_rooms(self: MemoryRoomStore) -> int:
    """Remove rooms that were created again after the check for expired rooms."""
    expired = [room_id for room_id in all_ids(self) if self._rooms.get(room_id) is None]
    await asyncio.sleep(0)
    for room_id in expired:
        self._rooms.pop(room_id)
    sum(self._rooms.purge_expired())
    return len(expired)


@MUTANTS.breaks((MemoryRoomStore, "_prune_index"), "concurrent_sweeps_count_each_room_once")
async def a_sweep_counts_before_it_removes(self: MemoryRoomStore) -> int:
    """Count the expired rooms in a step before removing them."""
    expired = len([room_id for room_id in all_ids(self) if self._rooms.get(room_id) is None])
    await asyncio.sleep(0)
    await prune(self)
    return expired


@MUTANTS.breaks((MemoryRoomStore, "_prune_index"), "a_sweep_keeps_chats")
async def a_sweep_deletes_chats(self: MemoryRoomStore) -> int:
    """Delete the chats of expired rooms."""
    for room_id in all_ids(self):
        if self._rooms.get(room_id) is None:
            self._chats.pop(room_id)
    return await prune(self)


@MUTANTS.breaks((MemoryHarness, "open_store"), "a_sweep_leaves_other_prefixes")
def a_sweep_removes_rooms_of_any_prefix(self: MemoryHarness, **settings: Any) -> MemoryStore:
    """Sweep the rooms of all key prefixes."""
    store = open_store(self, **settings)

    async def prune_all() -> int:
        return sum(sum(space.rooms.purge_expired()) for space in self._database._namespaces.values())

    store.rooms._prune_index = prune_all  # type: ignore[method-assign]
    return store


@MUTANTS.breaks((MemoryRoomStore, "active_room_ids"), "closed_listings_raise")
async def a_listing_continues_after_close(self: MemoryRoomStore) -> AsyncIterator[str]:
    """Check only once whether the store is closed."""
    self._lifecycle.ensure_open()
    async for room_id in self._iter_ids():
        yield room_id
