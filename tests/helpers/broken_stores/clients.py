"""Mutants of consistency between clients, cancellation and close."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from typing import Any
from weakref import WeakKeyDictionary

from broken_stores.mutant import Mutants
from wnc_store import Room
from wnc_store_contract.memory import MemoryHarness
from wnc_store_memory import MemoryStore
from wnc_store_memory.chat import MemoryChatStore
from wnc_store_memory.limiters import MemoryConnectionCounter, MemoryRateLimiter
from wnc_store_memory.rooms import MemoryRoomStore

MUTANTS = Mutants()

edit_room = MemoryRoomStore.edit_room
open_store, room_exists = MemoryHarness.open_store, MemoryRoomStore.room_exists
update, add = MemoryRoomStore._update, MemoryChatStore._add
acquire, hit = MemoryConnectionCounter._acquire, MemoryRateLimiter._hit

Call = Callable[..., Awaitable[Any]]
LOCKS: WeakKeyDictionary[MemoryRoomStore, dict[str, asyncio.Lock]] = WeakKeyDictionary()


def with_cached_reads(store: MemoryStore, now: Callable[[], int], *reads: str) -> MemoryStore:
    """Make a store cache the results of reads until it writes itself or the clock moves."""
    cache: dict[object, object] = {}
    for part in (store.rooms, store.chat, store.connections, store.rate_limits):
        for name in (
            member
            for member in dir(part)
            if not member.startswith("_") and member not in {"active_room_ids", "active_rooms"}
        ):
            changed = cached(getattr(part, name), cache, now) if name in reads else invalidating(part, name, cache)
            setattr(part, name, changed)
    if "active_room_ids" in reads:
        list_rooms = store.rooms.active_room_ids

        async def ids() -> list[str]:
            return [room_id async for room_id in list_rooms()]

        read = cached(ids, cache, now)

        async def listed() -> AsyncIterator[str]:
            for room_id in await read():
                yield room_id

        store.rooms.active_room_ids = listed  # type: ignore[method-assign]
    return store


def cached(original: Call, cache: dict[object, object], now: Callable[[], int]) -> Call:
    """Return a read that caches its results."""

    @functools.wraps(original)
    async def read(*args: object) -> object:
        key = (original.__name__, args, now())
        if key not in cache:
            cache[key] = await original(*args)
        return cache[key]

    return read


def invalidating(part: object, name: str, cache: dict[object, object]) -> Call:
    """Return a call that clears the cache."""
    original: Call = getattr(part, name)

    @functools.wraps(original)
    async def write(*args: object, **options: object) -> object:
        try:
            return await original(*args, **options)
        finally:
            cache.clear()

    return write


def caches(*reads: str) -> Callable[..., MemoryStore]:
    """Return an `open_store` whose stores cache the results of these reads."""

    def broken(self: MemoryHarness, **settings: Any) -> MemoryStore:
        return with_cached_reads(open_store(self, **settings), self._clock.monotonic_ms, *reads)

    return broken


OPEN_STORE = (MemoryHarness, "open_store")
CACHED_READS: Iterable[tuple[str, tuple[str, ...], tuple[str, ...]]] = (
    (
        "rooms",
        ("get_room", "room_exists"),
        ("room_reads_see_writes_of_other_clients", "two_clients_share_data"),
    ),
    ("TTLs", ("room_ttl",), ("ttl_reads_see_writes_of_other_clients",)),
    ("lists", ("active_room_ids",), ("listings_see_writes_of_other_clients", "closed_listings_raise")),
    (
        "chats",
        ("get_messages", "chat_ttl"),
        (
            "chat_reads_see_writes_of_other_clients",
            "chat_reads_see_edits_of_other_clients",
            "edits_keep_the_clients_history_limit",
        ),
    ),
    ("connections", ("count",), ("connection_counts_see_other_clients",)),
    ("hits", ("peek",), ("hit_counts_see_other_clients",)),
)
for records, reads, killed_by in CACHED_READS:
    MUTANTS.breaks(OPEN_STORE, *killed_by, name=f"{records} are cached while others write")(caches(*reads))


@MUTANTS.breaks(
    (MemoryRoomStore, "_update"),
    "concurrent_changes_of_two_clients_are_all_kept",
    "concurrent_joins_of_two_clients_are_all_kept",
    "a_concurrent_last_leave_and_join_are_consistent",
    "concurrent_changes_of_two_clients_are_ordered",
)
async def updates_lock_only_within_a_client(
    self: MemoryRoomStore, room_id: str, rule: Callable[[Room], Room | None]
) -> Room | None:
    """Lock the room within this client only, and overwrite the writes of other clients."""
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
async def a_base_exception_keeps_the_room_locked(
    self: MemoryRoomStore, room_id: str, change: Callable[[Room], Room]
) -> Room:
    """Release the lock on Exception only, not on BaseException."""
    try:
        return await edit_room(self, room_id, change)
    except BaseException as error:
        if not isinstance(error, (Exception, asyncio.CancelledError)):
            self._rooms.pop(room_id)
        raise


@MUTANTS.breaks((MemoryRoomStore, "room_exists"), "closing_ends_running_calls")
async def a_running_call_hangs_after_close(self: MemoryRoomStore, room_id: str) -> bool:
    """Wait forever for a worker that has stopped."""
    found = await room_exists(self, room_id)
    await asyncio.sleep(0)
    if self._lifecycle.closed:
        await asyncio.get_running_loop().create_future()
    return found


def without_cancellation(original: Call) -> Call:
    """Return a call that completes and returns normally even if its caller is cancelled."""

    @functools.wraps(original)
    async def call(*args: object) -> object:
        async def work() -> object:
            await asyncio.sleep(0)
            return await original(*args)

        task = asyncio.ensure_future(work())
        while not task.done():
            try:
                await asyncio.wait([task])
            except asyncio.CancelledError:
                continue
        return task.result()

    return call


for part, name, original, clause in (
    (MemoryRoomStore, "_update", update, "cancelled_room_calls_raise"),
    (MemoryChatStore, "_add", add, "cancelled_chat_calls_raise"),
    (MemoryConnectionCounter, "_acquire", acquire, "cancelled_connection_calls_raise"),
    (MemoryRateLimiter, "_hit", hit, "cancelled_rate_limit_calls_raise"),
):
    MUTANTS.breaks((part, name), clause, name=f"{name} swallows a cancellation")(without_cancellation(original))


def without_prefix(part: str, attribute: str) -> Callable[..., MemoryStore]:
    """Return an `open_store` whose stores ignore the key prefix in one part."""

    def broken(self: MemoryHarness, **settings: Any) -> MemoryStore:
        store = open_store(self, **settings)
        setattr(getattr(store, part), attribute, getattr(self._database.namespace(""), attribute.removeprefix("_")))
        return store

    return broken


for part, attribute in (("chat", "_chats"), ("connections", "_leases"), ("rate_limits", "_hits")):
    clause = f"prefixes_separate_{part.removesuffix('s')}s"
    MUTANTS.breaks(OPEN_STORE, clause, name=f"{part} without a prefix")(without_prefix(part, attribute))
