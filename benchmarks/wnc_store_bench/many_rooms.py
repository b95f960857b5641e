"""The memory backend with very many rooms: what one operation costs, what a room weighs, and what expiry costs."""

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
from wnc_store_bench.options import Options, Tell
from wnc_store_bench.processes import worker
from wnc_store_bench.records import room, room_ids, user
from wnc_store_bench.results import ManyRoomsRow, MemoryFacts

_SECONDS = 900
_OPERATIONS: tuple[Operation, ...] = ("get_room", "add_user_to_room")
_WRITES = 500
"""Rooms that are made after the others have expired."""


async def measure(options: Options, tell: Tell) -> tuple[list[ManyRoomsRow], MemoryFacts]:
    """Measure both in processes of their own, so that nothing else is in their memory."""
    small, large = options.many_rooms
    tell(f"memory: {large} rooms of one user")
    given = {"small": small, "large": large, "rounds": options.rounds, "seconds": options.seconds / 4}
    async with worker("many_rooms", **given) as one:
        found = await one.do("go", _SECONDS)
    tell(f"memory: {options.expiring_rooms} rooms expire at once")
    async with worker("expiry", rooms=options.expiring_rooms) as one:
        expiry = await one.do("go", _SECONDS)
    facts = MemoryFacts(rooms=large, expiring_rooms=options.expiring_rooms, **found["facts"], **expiry)
    return [ManyRoomsRow.model_validate(row) for row in found["rows"]], facts


async def compare_sizes(options: Mapping[str, Any], exchange: Exchange) -> object:
    """Fill two stores and do the same with both, in turn."""
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
        # The only user joins again, so that rooms stay as they are.
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
    """Return how much memory this process uses now; where the system does not tell, the most it ever used."""
    return _proc("VmRSS") or _peak_by_getrusage()


def peak_bytes() -> int:
    """Return the most memory that this process ever used."""
    return _proc("VmHWM") or _peak_by_getrusage()


def _proc(name: str) -> int:
    """Return a figure that Linux tells of this process, in bytes; 0 elsewhere."""
    try:
        lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:")), 0)


def _peak_by_getrusage() -> int:
    """Return a peak that on Linux may be that of the parent process, at the moment when this one was started."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


async def expire_at_once(options: Mapping[str, Any], exchange: Exchange) -> object:
    """Let many rooms expire at the same moment, then write and sweep; look how long the event loop stood still.

    The same number of writes on a store where nothing expires tells what they cost by themselves.
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
    """Return the longest time in seconds between two turns of the event loop while something is done."""
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
