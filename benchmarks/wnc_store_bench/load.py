"""The load: callers that each begin their next operation when the last one has returned, and crowds."""

from __future__ import annotations

import asyncio
import math
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, get_args

from pydantic import BaseModel

from wnc_store_bench.records import USERS, room_ids, user_id

Operation = Literal["get_room", "add_user_to_room", "add_message", "get_messages"]
OPERATIONS: tuple[Operation, ...] = get_args(Operation)

_GRACE = 20
"""Seconds that operations still on their way get when a load's time is over."""


@dataclass(frozen=True)
class Load:
    """How much there is to do at the same time.

    Attributes:
        callers: how many at once.
        rooms: among how many rooms each caller chooses, evenly and by chance.
        seed: makes the choices the same in every run.
    """

    callers: int = 200
    rooms: int = 2000
    seed: int = 1


class Sample(BaseModel):
    """What a load has shown.

    Attributes:
        operations: how many returned without an error.
        seconds: how long they took, together.
        p50_ms: the median of one operation's time, in milliseconds.
        p99_ms: the 99th percentile of it.
        errors: how many raised, by the name of the error.
    """

    operations: int
    seconds: float
    p50_ms: float
    p99_ms: float
    errors: dict[str, int] = {}


class Crowd(BaseModel):
    """What a crowd that wants into one room at once has shown.

    Attributes:
        seconds: until the last join had returned, or until the bound.
        finished: whether all joins returned within the bound.
        errors: how many raised, by the name of the error.
    """

    seconds: float
    finished: bool
    errors: dict[str, int] = {}


class Client(Protocol):
    """What a contender in Python does; one call is one operation."""

    async def get_room(self, room_id: str) -> object:
        """Return the room, its JSON parsed and its dates as dates."""
        ...

    async def join(self, room_id: str, user_id: str) -> object:
        """Put a user at the end of a room's users; one of that id goes first."""
        ...

    async def add_message(self, room_id: str, message_id: str) -> object:
        """Append a message and keep the last 20."""
        ...

    async def get_messages(self, room_id: str) -> object:
        """Return the kept messages, parsed."""
        ...


async def closed_loop(client: Client, operation: Operation, load: Load, seconds: float) -> Sample:
    """Let all callers do one kind of operation for so many seconds."""
    ids = room_ids(load.rooms)
    step = _step(client, operation)
    latencies: list[float] = []
    errors: Counter[str] = Counter()
    clock = time.perf_counter
    end = clock() + seconds

    async def call(number: int) -> None:
        chosen = random.Random(load.seed * 1_000_003 + number).choices(ids, k=1024)  # noqa: S311 - no secret
        turn = number
        while (start := clock()) < end:
            try:
                await step(chosen[turn % 1024], turn)
            except Exception as error:  # noqa: BLE001 - whatever a contender raises is counted
                errors[type(error).__name__] += 1
            else:
                latencies.append(clock() - start)
            turn += load.callers

    taken, _ = await within(seconds + _GRACE, [call(number) for number in range(load.callers)])
    return sample(latencies, taken, errors)


def _step(client: Client, operation: Operation) -> Callable[[str, int], Awaitable[object]]:
    if operation == "get_room":
        return lambda room_id, _turn: client.get_room(room_id)
    if operation == "add_user_to_room":  # somebody who is in the room joins again, so rooms keep their size
        return lambda room_id, turn: client.join(room_id, user_id(1 + turn % (USERS - 1)))
    if operation == "add_message":
        run = time.time_ns()  # an id is never used again: an id that is there would not be appended
        return lambda room_id, turn: client.add_message(room_id, f"m-{run}-{turn}")
    return lambda room_id, _turn: client.get_messages(room_id)


async def read_chats(client: Client, rooms: int, callers: int) -> None:
    """Let so many callers read the chat of each room once, together."""
    ids = iter(room_ids(rooms))

    async def read() -> None:
        for room_id in ids:
            await client.get_messages(room_id)

    await asyncio.gather(*(read() for _ in range(callers)))


async def crowd(client: Client, room_id: str, user_ids: Iterable[str], bound: float) -> Crowd:
    """Let all users join one room at once; stop waiting after `bound` seconds."""
    errors: Counter[str] = Counter()

    async def join(one: str) -> None:
        try:
            await client.join(room_id, one)
        except Exception as error:  # noqa: BLE001 - whatever a contender raises is counted
            errors[type(error).__name__] += 1

    seconds, finished = await within(bound, [join(one) for one in user_ids])
    return Crowd(seconds=seconds, finished=finished, errors=dict(errors))


async def within(bound: float, work: Iterable[Awaitable[None]]) -> tuple[float, bool]:
    """Do all of it at once and cancel what has not ended by then; return the seconds taken, and whether all has."""
    start = time.perf_counter()
    tasks = [asyncio.ensure_future(one) for one in work]
    if not tasks:
        return 0, True
    _, pending = await asyncio.wait(tasks, timeout=bound)
    seconds = time.perf_counter() - start
    for task in pending:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return seconds, not pending


def sample(latencies: list[float], seconds: float, errors: Counter[str]) -> Sample:
    """Sum up the times of operations, in seconds."""
    latencies.sort()
    p50, p99 = (percentile(latencies, share) * 1000 for share in (0.5, 0.99))
    return Sample(operations=len(latencies), seconds=seconds, p50_ms=p50, p99_ms=p99, errors=dict(errors))


def percentile(ordered: Sequence[float], share: float) -> float:
    """Return the smallest value that `share` of all do not exceed; 0 of none."""
    return ordered[max(0, math.ceil(len(ordered) * share) - 1)] if ordered else 0.0
