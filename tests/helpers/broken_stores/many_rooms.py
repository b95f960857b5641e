"""Mutants of reading many rooms."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from typing import Any, cast
from weakref import WeakKeyDictionary

from broken_stores.mutant import Mutants
from redis_harnesses import FakeHarness
from wnc_store import InvalidIdError, Room, is_id
from wnc_store.base import rooms
from wnc_store_contract.memory import MemoryHarness
from wnc_store_memory import MemoryStore
from wnc_store_memory.rooms import MemoryRoomStore
from wnc_store_redis.rooms import RedisRoomStore

MEMORY, REDIS = Mutants(), Mutants(FakeHarness)

get_rooms, active_rooms, pages = MemoryRoomStore.get_rooms, MemoryRoomStore.active_rooms, rooms.pages
open_store = MemoryHarness.open_store
CACHES: WeakKeyDictionary[MemoryRoomStore, dict[str, Room]] = WeakKeyDictionary()


@MEMORY.breaks(
    (MemoryRoomStore, "get_rooms"),
    "rooms_are_read_in_the_order_of_the_ids",
    "rooms_are_read_in_full",
    "expired_rooms_are_not_read",
    "reads_of_many_rooms_see_writes_of_other_clients",
    "active_rooms_have_the_prefix_of_the_store",
)
async def missing_rooms_are_left_out(self: MemoryRoomStore, room_ids: Iterable[str]) -> list[Room | None]:
    """Return only the rooms that exist."""
    return [room for room in await get_rooms(self, room_ids) if room is not None]


@MEMORY.breaks((MemoryRoomStore, "get_rooms"), "rooms_are_read_in_the_order_of_the_ids")
async def each_room_is_returned_once(self: MemoryRoomStore, room_ids: Iterable[str]) -> list[Room | None]:
    """Return one element for ids that occur several times, as WHERE id IN does."""
    return await get_rooms(self, room_ids if isinstance(room_ids, str) else dict.fromkeys(room_ids))


@MEMORY.breaks(
    (MemoryRoomStore, "get_rooms"),
    "rooms_are_read_in_the_order_of_the_ids",
    "rooms_are_read_in_full",
    "active_rooms_have_the_prefix_of_the_store",
)
async def rooms_are_read_in_order_of_their_ids(self: MemoryRoomStore, room_ids: Iterable[str]) -> list[Room | None]:
    """Return the rooms in the order of an index."""
    if isinstance(room_ids, str):
        return await get_rooms(self, room_ids)
    ids = list(cast("Iterable[Any]", room_ids))
    return await get_rooms(self, sorted(ids) if all(isinstance(one, str) for one in ids) else ids)


@MEMORY.breaks((MemoryRoomStore, "_get_many"), "expired_rooms_are_not_read")
async def expired_rooms_are_read(self: MemoryRoomStore, room_ids: Sequence[str]) -> list[Room | None]:
    """Return rooms until they are purged."""
    entries = self._rooms._entries
    return [entries[room_id].value if room_id in entries else None for room_id in room_ids]


@MEMORY.breaks((MemoryRoomStore, "_get_many"), "expired_rooms_are_not_read", "active_rooms_are_live")
async def reading_many_rooms_renews_them(self: MemoryRoomStore, room_ids: Sequence[str]) -> list[Room | None]:
    """Renew the TTLs of the rooms that are read."""
    found = [await self._get(room_id) for room_id in room_ids]
    for room in found:
        if room is not None:
            self._rooms.set(room.id, room, self._room_ttl_ms)
    return found


@MEMORY.breaks((MemoryRoomStore, "get_rooms"), "any_iterable_of_ids_is_accepted")
async def a_single_string_is_accepted(self: MemoryRoomStore, room_ids: Iterable[str]) -> list[Room | None]:
    """Read the room of each character of a string."""
    return await get_rooms(self, list(room_ids))


@MEMORY.breaks((MemoryRoomStore, "get_rooms"), "any_iterable_of_ids_is_accepted")
async def an_iterator_is_read_twice(self: MemoryRoomStore, room_ids: Iterable[str]) -> list[Room | None]:
    """Iterate over the ids once to check them and once to read the rooms."""
    await get_rooms(self, room_ids)
    return await get_rooms(self, room_ids)


@MEMORY.breaks((MemoryRoomStore, "get_rooms"), "one_invalid_id_is_rejected", "invalid_room_ids_are_rejected")
async def invalid_ids_are_missing_rooms(self: MemoryRoomStore, room_ids: Iterable[str]) -> list[Room | None]:
    """Return None for an invalid id."""
    ids = room_ids if isinstance(room_ids, str) else list(cast("Iterable[Any]", room_ids))
    try:
        return await get_rooms(self, ids)
    except InvalidIdError:
        return [await self._get(room_id) if isinstance(room_id, str) and is_id(room_id) else None for room_id in ids]


@MEMORY.breaks(
    (MemoryRoomStore, "_get_many"), "reads_of_many_rooms_see_writes_of_other_clients", "expired_rooms_are_not_read"
)
async def rooms_that_were_read_are_cached(self: MemoryRoomStore, room_ids: Sequence[str]) -> list[Room | None]:
    """Return the rooms that this client has read before."""
    cache = CACHES.setdefault(self, {})
    found = [cache.get(room_id) or await self._get(room_id) for room_id in room_ids]
    cache.update({room.id: room for room in found if room is not None})
    return found


@MEMORY.breaks(
    (rooms, "pages"),
    "active_rooms_are_returned_in_full",
    "active_rooms_are_live",
    "rooms_may_change_while_they_are_read",
    "active_rooms_have_the_prefix_of_the_store",
    "closed_listings_raise",
)
async def the_last_page_is_lost(items: AsyncIterator[str], size: int) -> AsyncIterator[Sequence[str]]:
    """Read only full pages."""
    async for page in pages(items, size):
        if len(page) == size:
            yield page


@MEMORY.breaks(
    (MemoryRoomStore, "active_rooms"),
    "active_rooms_are_returned_in_full",
    "active_rooms_are_live",
    "rooms_may_change_while_they_are_read",
    "active_rooms_have_the_prefix_of_the_store",
    "closed_listings_raise",
)
async def active_rooms_are_returned_twice(self: MemoryRoomStore) -> AsyncIterator[Room]:
    """Return each room twice."""
    async for room in active_rooms(self):
        yield room
        yield room


@MEMORY.breaks((MemoryRoomStore, "active_rooms"), "rooms_may_change_while_they_are_read")
async def active_rooms_have_a_cursor_that_shifts(self: MemoryRoomStore) -> AsyncIterator[Room]:
    """Page by an offset, which skips rooms after deletions."""
    offset = 0
    while ids := [*self._rooms.live_keys()][::-1][offset : offset + 100]:
        offset += len(ids)
        for room in await self.get_rooms(ids):
            self._lifecycle.ensure_open()
            if room is not None:
                yield room


@MEMORY.breaks((MemoryRoomStore, "active_rooms"), "closed_listings_raise")
async def active_rooms_continue_after_close(self: MemoryRoomStore) -> AsyncIterator[Room]:
    """Check only once whether the store is closed."""
    self._lifecycle.ensure_open()
    for room_id in self._rooms.live_keys():
        await asyncio.sleep(0)
        if (room := await self._get(room_id)) is not None:
            yield room


@MEMORY.breaks((MemoryHarness, "open_store"), "active_rooms_have_the_prefix_of_the_store")
def active_rooms_have_any_prefix(self: MemoryHarness, **settings: Any) -> MemoryStore:
    """Return the active rooms of all key prefixes."""
    store = open_store(self, **settings)
    if not settings.get("key_prefix"):
        return store

    async def read_all() -> AsyncIterator[Room]:
        for space in self._database._namespaces.values():
            for room_id in space.rooms.live_keys():
                if (entry := space.rooms.get(room_id)) is not None:
                    yield entry.value

    store.rooms.active_rooms = read_all  # type: ignore[method-assign]
    return store


@REDIS.breaks(
    (RedisRoomStore, "_get_or_error"), "an_unreadable_room_does_not_hide_others", "unreadable_rooms_are_skipped"
)
async def an_unreadable_room_fails_all(self: RedisRoomStore, room_id: str) -> Room | None:
    """Raise the error of one room instead of returning the others."""
    return await self._get(room_id)


MUTANTS = [*MEMORY, *REDIS]
