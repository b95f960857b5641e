"""One busy room: many users join it concurrently, from one process and from several."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import replace

from wnc_store_bench.contenders import Contender
from wnc_store_bench.load import JoinResult, Load
from wnc_store_bench.options import Options, ProgressCallback
from wnc_store_bench.records import room_ids, seed, stored_users, user_id
from wnc_store_bench.results import ContentionRow
from wnc_store_bench.server import Target, plain_client, read_server

_ROOM = room_ids(1)[0]


async def measure(target: Target, options: Options, progress: ProgressCallback) -> list[ContentionRow]:
    """Measure the same joins with each contender in turn, from one process and from several."""
    return [
        row
        for processes in (1, options.processes)
        for row in await compare(target, options, progress, options.contenders, processes)
    ]


async def compare(
    target: Target, options: Options, progress: ProgressCallback, contenders: Sequence[Contender], processes: int
) -> list[ContentionRow]:
    """Measure the same joins from a number of processes with interleaved contenders."""
    rows: list[ContentionRow] = []
    for number in range(1, options.rounds + 1):
        for contender in contenders:
            progress(
                f"{options.joins} joins of one room, processes: {processes}, {contender.name}, "
                f"round {number} of {options.rounds}"
            )
            rows.append(await _turn(target.of(contender.name), contender, number, processes, options))
    return rows


async def _turn(target: Target, contender: Contender, number: int, processes: int, options: Options) -> ContentionRow:
    await seed(target, [_ROOM], 1)
    joining = [user_id(guest) for guest in range(1, options.joins + 1)]
    async with plain_client(target.url) as client:
        before = await read_server(client)
        joined = await _join(contender, target, joining, processes, options)
        spent = (await read_server(client)).since(before)
    kept = set(await stored_users(target, _ROOM)) & set(joining)
    return ContentionRow(
        contender=contender.name,
        processes=processes,
        round=number,
        joins=len(joining),
        kept=len(kept),
        scripts=spent.count("evalsha", "eval", "fcall"),
        sets=spent.count("set", "setex", "psetex"),
        **joined.model_dump(),
    )


async def _join(
    contender: Contender, target: Target, joining: Sequence[str], processes: int, options: Options
) -> JoinResult:
    """Connect all processes, and let each of them run its share of the joins."""
    connections = max(1, target.connections // processes)
    share = replace(target, connections=connections, waits=-(-len(joining) // processes) > connections)
    async with AsyncExitStack() as stack:
        sessions = [await stack.enter_async_context(contender.open(share)) for _ in range(processes)]
        connecting = Load(callers=connections, rooms=1)
        await asyncio.gather(*(one.warm_up("get_room", connecting, options.warm_up) for one in sessions))
        start = time.perf_counter()
        joined = await asyncio.gather(
            *(one.join_all(_ROOM, joining[number::processes]) for number, one in enumerate(sessions))
        )
        seconds = time.perf_counter() - start
    if processes == 1:
        seconds = joined[0].seconds  # excludes the communication with the process
    errors = sum((Counter(one.errors) for one in joined), Counter[str]())
    return JoinResult(seconds=seconds, errors=dict(errors))
