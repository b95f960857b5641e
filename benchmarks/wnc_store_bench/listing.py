"""Listing and sweeping of an index in which one room in a hundred exists, with the latency of concurrent pings."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Mapping
from typing import Any

from wnc_store import StoreSettings, open_store
from wnc_store_bench.contenders.session import Exchange
from wnc_store_bench.load import percentile
from wnc_store_bench.many_rooms import peak_bytes
from wnc_store_bench.options import Options, ProgressCallback
from wnc_store_bench.processes import worker
from wnc_store_bench.records import room_ids
from wnc_store_bench.results import ListingRow
from wnc_store_bench.server import Target, plain_client

_ENTRIES_PER_ROOM = 100
_PAGE = 10_000
_SECONDS = 900
_PAUSE = 0.002
"""Seconds between two pings."""


async def measure(target: Target, options: Options, progress: ProgressCallback) -> list[ListingRow]:
    """List the rooms and then sweep the index, each in its own process, while this process pings the server."""
    target = target.of("listing")
    progress(f"an index of {options.index} rooms")
    await _fill(target, options.index)
    rows: list[ListingRow] = []
    for operation in ("active_room_ids", "sweep_active_rooms"):
        progress(f"{operation} over {options.index} entries")
        async with (
            plain_client(target.url) as client,
            worker("listing", url=target.url, prefix=target.prefix, operation=operation) as one,
        ):
            await one.ready()
            found, outside = await pinging(client, one.do("go", _SECONDS))
        rows.append(
            ListingRow(
                operation=operation,
                entries=options.index,
                **found,
                outside_ping_p99_ms=percentile(outside, 0.99) * 1000,
                outside_ping_worst_ms=outside[-1] * 1000,
            )
        )
    return rows


async def _fill(target: Target, count: int) -> None:
    ids = room_ids(count)
    async with plain_client(target.url) as client:
        for start in range(0, count, _PAGE):
            page = client.pipeline(transaction=False)
            chosen = ids[start : start + _PAGE]
            page.sadd(f"{target.prefix}active-rooms", *chosen)
            for room_id in chosen[::_ENTRIES_PER_ROOM]:
                page.set(f"{target.prefix}room:{room_id}", "{}", ex=3600)
            await page.execute()


async def pass_over_index(options: Mapping[str, Any], exchange: Exchange) -> object:
    """List or sweep in this process, while a second connection pings the server."""
    settings = StoreSettings(key_prefix=options["prefix"])
    async with open_store(options["url"], settings=settings) as store, plain_client(options["url"]) as client:

        async def work() -> int:
            if options["operation"] == "sweep_active_rooms":
                return await store.rooms.sweep_active_rooms()
            count = 0
            async for _ in store.rooms.active_room_ids():
                count += 1
            return count

        await store.ping()
        await client.ping()
        await exchange(None)
        before = peak_bytes()
        start = time.perf_counter()
        found, latencies = await pinging(client, work())
        seconds = time.perf_counter() - start
    return {
        "found": found,
        "seconds": seconds,
        "memory_growth_mb": (peak_bytes() - before) / 2**20,
        "pings": len(latencies),
        "ping_p99_ms": percentile(latencies, 0.99) * 1000,
        "ping_worst_ms": latencies[-1] * 1000,
    }


async def pinging(client: Any, work: Awaitable[Any]) -> tuple[Any, list[float]]:
    """Ping until the work is done. Return its result and the sorted times of the pings in seconds."""
    latencies: list[float] = []
    working = asyncio.ensure_future(work)
    await client.ping()
    while not working.done() or not latencies:
        start = time.perf_counter()
        await client.ping()
        latencies.append(time.perf_counter() - start)
        await asyncio.sleep(_PAUSE)
    return await working, sorted(latencies)
