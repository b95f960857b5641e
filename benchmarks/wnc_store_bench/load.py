"""The load: a closed loop of callers, and concurrent joins."""

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
"""Seconds that operations in progress may take after the end of the load."""


@dataclass(frozen=True)
class Load:
    """The parameters of a load.

    Attributes:
        callers: number of concurrent callers.
        rooms: number of rooms. Each caller chooses among them with equal probability.
        seed: seed of the choices.
    """

    callers: int = 200
    rooms: int = 2000
    seed: int = 1


class Sample(BaseModel):
    """The result of a load.

    Attributes:
        operations: number of successful operations.
        seconds: duration of the load.
        p50_ms: median latency of an operation, in milliseconds.
        p99_ms: 99th percentile of the latency.
        errors: number of failed operations by the name of the error.
    """

    operations: int
    seconds: float
    p50_ms: float
    p99_ms: float
    errors: dict[str, int] = {}


class JoinResult(BaseModel):
    """The result of concurrent joins of one room.

    Attributes:
        seconds: time until the last join returned, or the time limit.
        finished: whether all joins returned within the time limit.
        errors: number of failed joins by the name of the error.
    """

    seconds: float
    finished: bool
    errors: dict[str, int] = {}


class Client(Protocol):
    """The operations of a contender in Python."""

    async def get_room(self, room_id: str) -> object:
        """Return the parsed room with its dates as dates."""
        ...

    async def join(self, room_id: str, user_id: str) -> object:
        """Add a user at the end of a room's users, and remove an earlier entry with that id."""
        ...

    async def add_message(self, room_id: str, message_id: str) -> object:
        """Add a message, and keep the last 20."""
        ...

    async def get_messages(self, room_id: str) -> object:
        """Return the parsed messages."""
        ...


async def closed_loop(client: Client, operation: Operation, load: Load, seconds: float) -> Sample:
    """Let all callers repeat an operation for a number of seconds."""
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
            except Exception as error:  # noqa: BLE001 - every error of a contender is counted
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


async def join_all(client: Client, room_id: str, user_ids: Iterable[str], bound: float) -> JoinResult:
    """Let all users join one room concurrently, and cancel the rest after `bound` seconds."""
    errors: Counter[str] = Counter()

    async def join(one: str) -> None:
        try:
            await client.join(room_id, one)
        except Exception as error:  # noqa: BLE001 - every error of a contender is counted
            errors[type(error).__name__] += 1

    seconds, finished = await within(bound, [join(one) for one in user_ids])
    return JoinResult(seconds=seconds, finished=finished, errors=dict(errors))


async def within(bound: float, work: Iterable[Awaitable[None]]) -> tuple[float, bool]:
    """Run awaitables concurrently for at most `bound` seconds. Return the time and whether all ended."""
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
    """Return the sample of latencies in seconds."""
    latencies.sort()
    p50, p99 = (percentile(latencies, share) * 1000 for share in (0.5, 0.99))
    return Sample(operations=len(latencies), seconds=seconds, p50_ms=p50, p99_ms=p99, errors=dict(errors))


def percentile(ordered: Sequence[float], share: float) -> float:
    """Return the smallest value that a share of all values does not exceed, or 0 without values."""
    return ordered[max(0, math.ceil(len(ordered) * share) - 1)] if ordered else 0.0
