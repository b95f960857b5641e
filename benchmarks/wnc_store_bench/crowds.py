"""Flash crowds: many join one room at once, from one process and from several."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from typing import Any

from wnc_store_bench.contenders import CONTENDERS, Contender
from wnc_store_bench.load import Crowd
from wnc_store_bench.options import Options, Tell
from wnc_store_bench.processes import worker
from wnc_store_bench.records import user_id
from wnc_store_bench.results import CrowdRow
from wnc_store_bench.server import Place, plain_client, read_server

_ROOM = "crowd"
_GRACE = 60

Gather = Callable[[Contender, Place, Sequence[str], Options], Awaitable[Crowd]]


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
    gather: Gather = _from_here if processes == 1 else _from_processes
    async with plain_client(place.url) as client:
        before = await read_server(client)
        crowd = await gather(contender, place, joining, options)
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


async def _from_here(contender: Contender, place: Place, joining: Sequence[str], options: Options) -> Crowd:
    async with contender.open(place) as session:
        return await session.crowd(_ROOM, joining, options.crowd_bound)


async def _from_processes(contender: Contender, place: Place, joining: Sequence[str], options: Options) -> Crowd:
    async with AsyncExitStack() as stack:
        workers = [
            await stack.enter_async_context(
                worker(
                    "crowd",
                    contender=contender.name,
                    url=place.url,
                    prefix=place.prefix,
                    connections=place.connections // options.processes,
                    room_id=_ROOM,
                    user_ids=joining[number :: options.processes],
                    bound=options.crowd_bound,
                )
            )
            for number in range(options.processes)
        ]
        await asyncio.gather(*(one.ready() for one in workers))
        start = time.perf_counter()
        shares = await asyncio.gather(*(one.run(options.crowd_bound + _GRACE) for one in workers))
        seconds = time.perf_counter() - start
    crowds = [Crowd.model_validate(share) for share in shares]
    if not all(crowd.finished for crowd in crowds):
        seconds = max(crowd.seconds for crowd in crowds)  # without the time that it took to stop
    errors = sum((Counter(crowd.errors) for crowd in crowds), Counter[str]())
    return Crowd(seconds=seconds, finished=all(crowd.finished for crowd in crowds), errors=dict(errors))


async def join_from_a_process(options: Mapping[str, Any], ready: Callable[[], Awaitable[None]]) -> object:
    """Be one of several processes whose share of the crowd joins when all are ready."""
    place = Place(options["url"], options["prefix"], options["connections"])
    async with CONTENDERS[options["contender"]].open(place) as session:
        await session.crowd(options["room_id"], [], options["bound"])  # connects
        await ready()
        crowd = await session.crowd(options["room_id"], options["user_ids"], options["bound"])
    return crowd.model_dump()
