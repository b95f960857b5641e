"""Throughput of the memory backend with one caller."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from wnc_store import open_store
from wnc_store_bench.contenders.session import Exchange
from wnc_store_bench.counts import prepare
from wnc_store_bench.load import OPERATIONS
from wnc_store_bench.options import Options, ProgressCallback
from wnc_store_bench.processes import worker
from wnc_store_bench.results import MemoryRow
from wnc_store_bench.server import Target

_BLOCK = 500
"""Operations between two readings of the clock."""

_GRACE = 60
"""Seconds that a measurement may exceed its duration."""


async def measure(target: Target, options: Options, progress: ProgressCallback) -> list[MemoryRow]:
    """Measure all operations, each round in a new process."""
    del target
    rows: list[MemoryRow] = []
    for number in range(1, options.rounds + 1):
        async with worker("memory", rooms=options.load.rooms) as process:
            for operation in OPERATIONS:
                progress(f"memory, {operation}, round {number} of {options.rounds}")
                await process.do([operation, options.warm_up], options.warm_up + _GRACE)
                rate = await process.do([operation, options.seconds], options.seconds + _GRACE)
                rows.append(MemoryRow(operation=operation, round=number, ops_per_second=rate))
    return rows


async def serve_memory(options: Mapping[str, Any], exchange: Exchange) -> None:
    """Repeat an operation for a number of seconds, and answer with the operations per second."""
    async with open_store("memory://") as store:
        prepared = await prepare(store, options["rooms"])
        rate = None
        while task := await exchange(rate):
            name, seconds = task
            operation = prepared[name].operation
            taken, done = 0.0, 0
            while taken < seconds:
                block = prepared[name].next_arguments(_BLOCK)
                start = time.perf_counter()
                for one in block:
                    await operation(*one)
                taken += time.perf_counter() - start
                done += _BLOCK
            rate = done / taken
