"""Contention: many users join one room concurrently, from one process and from several."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import replace

from wnc_store_bench.contenders import Contender
from wnc_store_bench.load import JoinResult
from wnc_store_bench.options import Options, ProgressCallback
from wnc_store_bench.records import user_id
from wnc_store_bench.results import ContentionRow
from wnc_store_bench.server import Target, plain_client, read_server

_ROOM = "contention"


async def measure(
    target: Target, options: Options, progress: ProgressCallback, *, processes: int
) -> list[ContentionRow]:
    """Measure the same joins with each contender in turn. A contender that is stopped gets no more turns."""
    rows: list[ContentionRow] = []
    late: set[str] = set()
    able = [contender for contender in options.contenders if "add_user_to_room" in contender.operations]
    source = "one process" if processes == 1 else f"{processes} processes"
    for number in range(1, options.rounds + 1):
        for contender in able:
            if contender.name not in late:
                progress(f"{options.joins} joins from {source}: {contender.name}, round {number} of {options.rounds}")
                row = await _turn(target.of(contender.name), contender, number, processes, options)
                rows.append(row)
                if not row.finished:
                    late.add(contender.name)
    return rows


async def _turn(target: Target, contender: Contender, number: int, processes: int, options: Options) -> ContentionRow:
    await contender.seed(target, [_ROOM], 1)
    joining = [user_id(guest) for guest in range(1, options.joins + 1)]
    async with plain_client(target.url) as client:
        before = await read_server(client)
        crowd = await _gather(contender, target, joining, processes, options)
        spent = (await read_server(client)).since(before)
    kept = set(await contender.users(target, _ROOM)) & set(joining)
    return ContentionRow(
        contender=contender.name,
        processes=processes,
        round=number,
        joins=len(joining),
        kept=len(kept),
        scripts=spent.count("evalsha", "eval", "fcall"),
        sets=spent.count("set", "setex", "psetex"),
        **crowd.model_dump(),
    )


async def _gather(
    contender: Contender, target: Target, joining: Sequence[str], processes: int, options: Options
) -> JoinResult:
    """Connect all processes, and let each of them run its share of the joins."""
    connections = max(1, target.connections // processes)
    share = replace(target, connections=connections, waits=-(-len(joining) // processes) > connections)
    async with AsyncExitStack() as stack:
        sessions = [await stack.enter_async_context(contender.open(share)) for _ in range(processes)]
        await asyncio.gather(*(one.connect(_ROOM, connections) for one in sessions))
        start = time.perf_counter()
        crowds = await asyncio.gather(
            *(
                one.join_all(_ROOM, joining[number::processes], options.join_timeout)
                for number, one in enumerate(sessions)
            )
        )
        seconds = time.perf_counter() - start
    finished = all(crowd.finished for crowd in crowds)
    if processes == 1 or not finished:
        seconds = max(crowd.seconds for crowd in crowds)  # excludes the communication with the processes
    errors = sum((Counter(crowd.errors) for crowd in crowds), Counter[str]())
    return JoinResult(seconds=seconds, finished=finished, errors=dict(errors))
