"""Throughput, latencies and server costs of the operations: under load, at a fixed rate, and of one caller."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from wnc_store_bench.contenders import Contender
from wnc_store_bench.load import OPERATIONS, Operation
from wnc_store_bench.options import Options, ProgressCallback
from wnc_store_bench.records import room_ids, seed
from wnc_store_bench.results import LoadRow
from wnc_store_bench.server import Target, plain_client, read_server


async def under_load(target: Target, options: Options, progress: ProgressCallback) -> list[LoadRow]:
    """Measure all operations with as many callers as the options say."""
    return await compare(target, options, progress, options.contenders)


async def at_fixed_rate(target: Target, options: Options, progress: ProgressCallback) -> list[LoadRow]:
    """Measure the latencies of joins at the same rate for all contenders."""
    load = replace(options.load, rate=options.rate)
    return await compare(target, replace(options, load=load), progress, options.contenders, ["add_user_to_room"])


async def of_one_caller(target: Target, options: Options, progress: ProgressCallback) -> list[LoadRow]:
    """Measure all operations with one caller, which waits for each reply."""
    load = replace(options.load, callers=1)
    return await compare(target, replace(options, load=load), progress, options.contenders)


async def compare(
    target: Target,
    options: Options,
    progress: ProgressCallback,
    contenders: Sequence[Contender],
    operations: Sequence[Operation] = OPERATIONS,
) -> list[LoadRow]:
    """Measure operations with interleaved contenders: A B C, A B C, A B C."""
    rows: list[LoadRow] = []
    for contender in contenders:
        progress(f"rooms for {contender.name}")
        await seed(target.of(contender.name), room_ids(options.load.rooms))
    for operation in operations:
        able = [contender for contender in contenders if operation in contender.operations]
        for number in range(1, options.rounds + 1):
            for contender in able:
                progress(
                    f"{operation}, {options.load.callers} callers: {contender.name}, round {number} of {options.rounds}"
                )
                rows.append(await _turn(target, contender, operation, number, options))
    return rows


async def _turn(target: Target, contender: Contender, operation: Operation, number: int, options: Options) -> LoadRow:
    load = replace(options.load, seed=options.load.seed + number)
    async with plain_client(target.url) as client, contender.open(target.of(contender.name)) as session:
        await session.warm_up(operation, options.load, options.warm_up)
        before = await read_server(client)
        sample = await session.load(operation, load, options.seconds)
        spent = (await read_server(client)).since(before)
    done = max(1, sample.operations)
    return LoadRow(
        operation=operation,
        contender=contender.name,
        round=number,
        ops_per_second=sample.operations / sample.seconds,
        p50_ms=sample.p50_ms,
        p99_ms=sample.p99_ms,
        errors=sample.errors,
        server_cpu_us=spent.cpu_seconds / done * 1e6,
        reads=max(0, spent.reads - 1) / done,  # the second INFO is subtracted
    )
