"""Latency and round trips of one operation by a single client, compared with one GET of redis-py."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from statistics import median
from typing import Any

from wnc_store import StoreSettings, open_store
from wnc_store_bench.contenders import WNC
from wnc_store_bench.contenders.wnc import StoreClient
from wnc_store_bench.options import Options, ProgressCallback
from wnc_store_bench.records import USERS, user_id
from wnc_store_bench.results import SingleClientRow
from wnc_store_bench.server import Target, plain_client, read_server

_ROOM = "single_client"

Call = Callable[[int], Awaitable[object]]


async def measure(target: Target, options: Options, progress: ProgressCallback) -> list[SingleClientRow]:
    """Alternate between the store and a plain GET of the same room, then count the server's reads of each."""
    target = target.of(WNC.name)
    rows: list[SingleClientRow] = []
    await WNC.seed(target, [_ROOM], USERS)
    settings = StoreSettings(key_prefix=target.prefix)
    async with plain_client(target.url) as bare, open_store(target.url, settings=settings) as store:
        client = StoreClient(store)
        run = time.time_ns()
        calls: dict[tuple[str, str], Call] = {
            ("redis-py", "one plain GET"): lambda _turn: bare.get(f"{target.prefix}room:{_ROOM}"),
            ("wnc-store", "get_room"): lambda _turn: client.get_room(_ROOM),
            ("wnc-store", "add_user_to_room"): lambda turn: client.join(_ROOM, user_id(1 + turn % (USERS - 1))),
            ("wnc-store", "add_message"): lambda turn: client.add_message(_ROOM, f"m-{run}-{turn}"),
            ("wnc-store", "get_messages"): lambda _turn: client.get_messages(_ROOM),
        }
        for number in range(1, options.rounds + 1):
            progress(f"single client, round {number} of {options.rounds}")
            base = number * options.single_client_calls * 2
            times = await _alternate(calls, options.single_client_calls, base)
            for (contender, operation), call in calls.items():
                trips = await _round_trips(bare, call, options.single_client_calls, base + options.single_client_calls)
                middle = median(times[contender, operation]) * 1e6
                rows.append(
                    SingleClientRow(
                        contender=contender, operation=operation, round=number, median_us=middle, round_trips=trips
                    )
                )
    return rows


async def _alternate(calls: dict[tuple[str, str], Call], times: int, base: int) -> dict[tuple[str, str], list[float]]:
    taken: dict[tuple[str, str], list[float]] = {name: [] for name in calls}
    for turn in range(base, base + times):
        for name, call in calls.items():
            start = time.perf_counter()
            await call(turn)
            taken[name].append(time.perf_counter() - start)
    return taken


async def _round_trips(client: Any, call: Call, times: int, base: int) -> float:
    """Return the number of the server's socket reads per call. The second INFO is subtracted."""
    before = await read_server(client)
    for turn in range(base, base + times):
        await call(turn)
    return ((await read_server(client)).since(before).reads - 1) / times
