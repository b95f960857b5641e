"""Throughput, latencies and server costs of each operation under load, for each contender in turn."""

from __future__ import annotations

from wnc_store_bench.contenders import Contender
from wnc_store_bench.load import Load, Operation
from wnc_store_bench.options import Options, ProgressCallback
from wnc_store_bench.records import USERS, room_ids
from wnc_store_bench.results import ThroughputRow
from wnc_store_bench.server import Target, plain_client, read_server


async def measure(target: Target, options: Options, progress: ProgressCallback) -> list[ThroughputRow]:
    """Measure all operations with interleaved contenders: A B C, A B C, A B C."""
    rows: list[ThroughputRow] = []
    for contender in options.contenders:
        progress(f"rooms for {contender.name}")
        await contender.seed(target.of(contender.name), room_ids(options.load.rooms), USERS)
    for operation in options.operations:
        able = [contender for contender in options.contenders if operation in contender.operations]
        for number in range(1, options.rounds + 1):
            for contender in able:
                progress(f"{operation}: {contender.name}, round {number} of {options.rounds}")
                rows.append(await _turn(target, contender, operation, number, options))
    return rows


async def _turn(
    target: Target, contender: Contender, operation: Operation, number: int, options: Options
) -> ThroughputRow:
    async with plain_client(target.url) as client, contender.open(target.of(contender.name)) as session:
        await session.warm_up(operation, options.load, options.warm_up)
        before = await read_server(client)
        load = Load(options.load.callers, options.load.rooms, options.load.seed + number)
        sample = await session.load(operation, load, options.seconds)
        spent = (await read_server(client)).since(before)
    done = max(1, sample.operations)
    return ThroughputRow(
        operation=operation,
        contender=contender.name,
        round=number,
        ops_per_second=sample.operations / sample.seconds,
        p50_ms=sample.p50_ms,
        p99_ms=sample.p99_ms,
        errors=sample.errors,
        server_cpu_us=spent.cpu_seconds / done * 1e6,
        bytes_in=spent.bytes_in / done,
        bytes_out=spent.bytes_out / done,
        reads=spent.reads / done,
    )
