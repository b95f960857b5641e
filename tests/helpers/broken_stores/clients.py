"""Mistakes that show between two clients of the same data, or where a call is cut off."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from typing import Any
from weakref import WeakKeyDictionary

from broken_stores.mutant import Mistakes
from wnc_store import Room
from wnc_store_contract.memory import MemoryHarness
from wnc_store_memory import MemoryStore
from wnc_store_memory.limiters import MemoryConnectionCounter, MemoryRateLimiter
from wnc_store_memory.rooms import MemoryChatStore, MemoryRoomStore

MUTANTS = Mistakes()

edit_room = MemoryRoomStore.edit_room
open_store, room_exists = MemoryHarness.open_store, MemoryRoomStore.room_exists
mutate, append = MemoryRoomStore._update, MemoryChatStore._add
acquire, hit = MemoryConnectionCounter._acquire, MemoryRateLimiter._hit

Call = Callable[..., Awaitable[Any]]
LOCKS: WeakKeyDictionary[MemoryRoomStore, dict[str, asyncio.Lock]] = WeakKeyDictionary()


def remembering(store: MemoryStore, now: Callable[[], int], *reads: str) -> MemoryStore:
    """Let a store remember what its reads returned, until it writes itself or the clock moves."""
    known: dict[object, object] = {}
    for part in (store.rooms, store.chat, store.connections, store.rate_limits):
        for name in (one for one in dir(part) if not one.startswith("_") and one != "active_room_ids"):
            changed = remembered(getattr(part, name), known, now) if name in reads else forgetting(part, name, known)
            setattr(part, name, changed)
    if "active_room_ids" in reads:
        list_rooms = store.rooms.active_room_ids

        async def ids() -> list[str]:
            return [room_id async for room_id in list_rooms()]

        read = remembered(ids, known, now)

        async def listed() -> AsyncIterator[str]:
            for room_id in await read():
                yield room_id

        store.rooms.active_room_ids = listed  # type: ignore[method-assign]
    return store


def remembered(right: Call, known: dict[object, object], now: Callable[[], int]) -> Call:
    """Return a read that asks once."""

    @functools.wraps(right)
    async def read(*args: object) -> object:
        place = (right.__name__, args, now())
        if place not in known:
            known[place] = await right(*args)
        return known[place]

    return read


def forgetting(part: object, name: str, known: dict[object, object]) -> Call:
    """Return a call after which all is read anew."""
    right: Call = getattr(part, name)

    @functools.wraps(right)
    async def write(*args: object, **options: object) -> object:
        try:
            return await right(*args, **options)
        finally:
            known.clear()

    return write


def remembers(*reads: str) -> Callable[..., MemoryStore]:
    """Return what opens stores that remember what these reads returned."""

    def broken(self: MemoryHarness, **settings: Any) -> MemoryStore:
        return remembering(open_store(self, **settings), self._clock.monotonic_ms, *reads)

    return broken


HARNESS = (MemoryHarness, "open_store")
REMEMBERED: Iterable[tuple[str, tuple[str, ...], tuple[str, ...]]] = (
    (
        "rooms",
        ("get_room", "room_exists"),
        ("room_reads_see_writes_of_other_clients", "two_clients_share_data"),
    ),
    ("TTLs", ("room_ttl",), ("ttl_reads_see_writes_of_other_clients",)),
    ("lists", ("active_room_ids",), ("listings_see_writes_of_other_clients",)),
    ("chats", ("get_messages", "chat_ttl"), ("chat_reads_see_writes_of_other_clients",)),
    ("connections", ("count",), ("connection_counts_see_other_clients",)),
    ("hits", ("peek",), ("hit_counts_see_other_clients",)),
)
for what, reads, reds in REMEMBERED:
    MUTANTS.breaks(HARNESS, *reds, name=f"{what} are remembered while others write")(remembers(*reads))


@MUTANTS.breaks(
    (MemoryRoomStore, "_update"),
    "concurrent_changes_of_two_clients_are_all_kept",
    "concurrent_joins_of_two_clients_are_all_kept",
    "a_concurrent_last_leave_and_join_are_consistent",
    "concurrent_changes_of_two_clients_are_ordered",
)
async def only_own_changes_are_waited_for(
    self: MemoryRoomStore, room_id: str, rule: Callable[[Room], Room | None]
) -> Room | None:
    """A lock keeps the changes of one client apart; what another wrote meanwhile is overwritten."""
    async with LOCKS.setdefault(self, {}).setdefault(room_id, asyncio.Lock()):
        entry = self._rooms.get(room_id)
        after = None if entry is None else rule(entry.value)
        if entry is None or after is entry.value:
            return after
        await asyncio.sleep(0)
        current = self._rooms.get(room_id)
        if current is not None:
            self._replace(room_id, current, after)
        return after


@MUTANTS.breaks((MemoryRoomStore, "edit_room"), "a_base_exception_affects_only_its_caller")
async def only_exceptions_unlock(self: MemoryRoomStore, room_id: str, change: Callable[[Room], Room]) -> Room:
    """A room is locked while it is edited; a change that raises what is no Exception leaves it locked."""
    try:
        return await edit_room(self, room_id, change)
    except BaseException as error:
        if not isinstance(error, (Exception, asyncio.CancelledError)):
            self._rooms.pop(room_id)
        raise


@MUTANTS.breaks((MemoryRoomStore, "room_exists"), "closing_ends_running_calls")
async def a_call_waits_for_a_worker_that_is_gone(self: MemoryRoomStore, room_id: str) -> bool:
    """Whoever is in the middle of a call when the store is closed is never told."""
    found = await room_exists(self, room_id)
    await asyncio.sleep(0)
    if self._lifecycle.closed:
        await asyncio.get_running_loop().create_future()
    return found


def deaf(right: Call) -> Call:
    """Return a call that ends what it began, and does not tell a cancelled caller."""

    @functools.wraps(right)
    async def call(*args: object) -> object:
        async def work() -> object:
            await asyncio.sleep(0)
            return await right(*args)

        working = asyncio.ensure_future(work())
        while not working.done():
            try:
                await asyncio.wait([working])
            except asyncio.CancelledError:
                continue
        return working.result()

    return call


for part, name, right, red in (
    (MemoryRoomStore, "_update", mutate, "cancelled_room_calls_raise"),
    (MemoryChatStore, "_add", append, "cancelled_chat_calls_raise"),
    (MemoryConnectionCounter, "_acquire", acquire, "cancelled_connection_calls_raise"),
    (MemoryRateLimiter, "_hit", hit, "cancelled_rate_limit_calls_raise"),
):
    MUTANTS.breaks((part, name), red, name=f"{name} swallows a cancellation")(deaf(right))


def shares(part: str, kept: str) -> Callable[..., MemoryStore]:
    """Return what opens stores of which a part has forgotten the key prefix."""

    def broken(self: MemoryHarness, **settings: Any) -> MemoryStore:
        store = open_store(self, **settings)
        setattr(getattr(store, part), kept, getattr(self._database.namespace(""), kept.removeprefix("_")))
        return store

    return broken


for part, kept in (("chat", "_chats"), ("connections", "_leases"), ("rate_limits", "_hits")):
    red = f"prefixes_separate_{part.removesuffix('s')}s"
    MUTANTS.breaks(HARNESS, red, name=f"{part} without a prefix")(shares(part, kept))
