"""Flash crowds: many join one room at once, from one process and from several."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import replace

from wnc_store_bench.contenders import Contender
from wnc_store_bench.load import Crowd
from wnc_store_bench.options import Options, Tell
from wnc_store_bench.records import user_id
from wnc_store_bench.results import CrowdRow
from wnc_store_bench.server import Place, plain_client, read_server

_ROOM = "crowd"


async def measure(place: Place, options: Options, tell: Tell, *, processes: int) -> list[CrowdRow]:
    """Let the same crowd join with each contender, in turn; who does not finish within the bound has one turn only."""
    rows: list[CrowdRow] = []
    late: set[str] = set()
    able = [one for one in options.contenders if "add_user_to_room" in one.operations]
    where = "one process" if processes == 1 else f"{processes} processes"
    for number in range(1, options.rounds + 1):
        for contender in able:
            if contender.name not in late:
                tell(f"crowd of {options.crowd} from {where}: {contender.name}, round {number} of {options.rounds}")
                row = await _turn(place.of(contender.name), contender, number, processes, options)
                rows.append(row)
                if not row.finished:
                    late.add(contender.name)
    return rows


async def _turn(place: Place, contender: Contender, number: int, processes: int, options: Options) -> CrowdRow:
    await contender.seed(place, [_ROOM], 1)
    joining = [user_id(guest) for guest in range(1, options.crowd + 1)]
    async with plain_client(place.url) as client:
        before = await read_server(client)
        crowd = await _gather(contender, place, joining, processes, options)
        spent = (await read_server(client)).since(before)
    kept = set(await contender.users(place, _ROOM)) & set(joining)
    return CrowdRow(
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
    contender: Contender, place: Place, joining: Sequence[str], processes: int, options: Options
) -> Crowd:
    """Let each process have a share of the crowd join, when all are connected."""
    connections = max(1, place.connections // processes)
    share = replace(place, connections=connections, waits=-(-len(joining) // processes) > connections)
    async with AsyncExitStack() as stack:
        sessions = [await stack.enter_async_context(contender.open(share)) for _ in range(processes)]
        await asyncio.gather(*(one.connect(_ROOM, connections) for one in sessions))
        start = time.perf_counter()
        crowds = await asyncio.gather(
            *(one.crowd(_ROOM, joining[number::processes], options.crowd_bound) for number, one in enumerate(sessions))
        )
        seconds = time.perf_counter() - start
    finished = all(crowd.finished for crowd in crowds)
    if processes == 1 or not finished:
        seconds = max(crowd.seconds for crowd in crowds)  # without the time that it took to tell, or to stop
    errors = sum((Counter(crowd.errors) for crowd in crowds), Counter[str]())
    return Crowd(seconds=seconds, finished=finished, errors=dict(errors))
