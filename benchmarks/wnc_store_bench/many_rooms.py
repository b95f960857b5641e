"""The memory backend with very many rooms: the cost of operations, of a room, and of expiry."""

from __future__ import annotations

import asyncio
import gc
import resource
import sys
import time
from collections.abc import Awaitable, Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from wnc_store import ManualClock, StoreSettings, open_store
from wnc_store_bench.contenders.session import Exchange
from wnc_store_bench.load import Operation
from wnc_store_bench.memory import filled, store_turns
from wnc_store_bench.options import Options, ProgressCallback
from wnc_store_bench.processes import worker
from wnc_store_bench.records import room, room_ids, user
from wnc_store_bench.results import ManyRoomsRow, MemoryFacts

_SECONDS = 900
_OPERATIONS: tuple[Operation, ...] = ("get_room", "add_user_to_room")
_WRITES = 500
"""Number of rooms that are created after the others have expired."""


async def measure(options: Options, progress: ProgressCallback) -> tuple[list[ManyRoomsRow], MemoryFacts]:
    """Measure both parts in separate processes, which contain no other data."""
    small, large = options.many_rooms
    progress(f"memory: {large} rooms of one user")
    given = {"small": small, "large": large, "rounds": options.rounds, "seconds": options.seconds / 4}
    async with worker("many_rooms", **given) as one:
        found = await one.do("go", _SECONDS)
    progress(f"memory: {options.expiring_rooms} rooms expire at once")
    async with worker("expiry", rooms=options.expiring_rooms) as one:
        expiry = await one.do("go", _SECONDS)
    facts = MemoryFacts(rooms=large, expiring_rooms=options.expiring_rooms, **found["facts"], **expiry)
    return [ManyRoomsRow.model_validate(row) for row in found["rows"]], facts


async def compare_sizes(options: Mapping[str, Any], exchange: Exchange) -> object:
    """Fill two stores, and measure the same operations on both in turn."""
    sizes = (options["small"], options["large"])
    await exchange(None)
    async with AsyncExitStack() as stack:
        stores = {options["small"]: await stack.enter_async_context(filled(options["small"]))}
        gc.collect()
        before, start = resident_bytes(), time.perf_counter()
        stores[options["large"]] = await stack.enter_async_context(filled(options["large"]))
        fill_seconds = time.perf_counter() - start
        gc.collect()
        weight = (resident_bytes() - before) / options["large"]
        # The only user of a room joins again, so the size of the rooms does not change.
        turns = {size: store_turns(stores[size], room_ids(size), [user(0)]) for size in sizes}
        rows = [
            {
                "rooms": size,
                "operation": operation,
                "round": number,
                "microseconds": 1e6 / await turns[size][operation](options["seconds"]),
            }
            for operation in _OPERATIONS
            for number in range(1, options["rounds"] + 1)
            for size in sizes
        ]
    return {"rows": rows, "facts": {"bytes_per_room": weight, "fill_seconds": fill_seconds}}


def resident_bytes() -> int:
    """Return the resident memory of this process, or its peak if the system reports only that."""
    return _proc("VmRSS") or _peak_by_getrusage()


def peak_bytes() -> int:
    """Return the peak memory of this process."""
    return _proc("VmHWM") or _peak_by_getrusage()


def _proc(name: str) -> int:
    """Return a value from Linux's status of this process in bytes, or 0 on other systems."""
    try:
        lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:")), 0)


def _peak_by_getrusage() -> int:
    """Return the peak memory by getrusage, which on Linux can be inherited from the parent process."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


async def expire_at_once(options: Mapping[str, Any], exchange: Exchange) -> object:
    """Let many rooms expire at once, then write and sweep, and measure the longest stall of the event loop.

    The same number of writes before the expiry gives the baseline.
    """
    clock = ManualClock()
    settings = StoreSettings()
    ids = room_ids(options["rooms"])
    async with open_store("memory://", settings=settings, clock=clock) as store:
        for room_id in ids:
            await store.rooms.create_room(room(room_id, 1))
        await exchange(None)

        async def write(name: str) -> None:
            for number in range(_WRITES):
                await store.rooms.create_room(room(f"{name}-{number}", 1))
                await asyncio.sleep(0)

        stall_without = await _longest_stall(write("before"))
        clock.advance(settings.room_ttl.total_seconds() + 1)
        stall_writing = await _longest_stall(write("after"))
        start = time.perf_counter()
        stall_sweeping = await _longest_stall(store.rooms.sweep_active_rooms())
        sweep_seconds = time.perf_counter() - start
    return {
        "stall_ms": max(stall_writing, stall_sweeping) * 1000,
        "stall_without_ms": stall_without * 1000,
        "sweep_seconds": sweep_seconds,
    }


async def _longest_stall(work: Awaitable[object]) -> float:
    """Return the longest time in seconds between two iterations of the event loop while an awaitable runs."""
    longest = 0.0
    ended = False

    async def watch() -> None:
        nonlocal longest
        last = time.perf_counter()
        while not ended:
            await asyncio.sleep(0)
            now = time.perf_counter()
            longest = max(longest, now - last)
            last = now

    watching = asyncio.ensure_future(watch())
    await asyncio.sleep(0)
    try:
        await work
    finally:
        ended = True
        await watching
    return longest
