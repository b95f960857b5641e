"""The load: callers that repeat an operation, and concurrent joins."""

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

_CHOICES = 1024


@dataclass(frozen=True)
class Load:
    """The parameters of a load.

    Attributes:
        callers: number of concurrent callers. Each starts its next operation when the last one has returned.
        rooms: number of rooms. Each caller chooses among them with equal probability.
        seed: seed of the choices.
        rate: operations per second of all callers together, or 0 for as many as possible.
    """

    callers: int = 200
    rooms: int = 2000
    seed: int = 1
    rate: float = 0


class Sample(BaseModel):
    """The result of a load.

    Attributes:
        operations: number of successful operations.
        seconds: duration of the load.
        p50_ms: median latency of an operation, in milliseconds. At a fixed rate it includes the delay of the call.
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
        seconds: time until the last join returned.
        errors: number of failed joins by the name of the error.
    """

    seconds: float
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


async def run_load(client: Client, operation: Operation, load: Load, seconds: float) -> Sample:
    """Let all callers repeat an operation for a number of seconds, each at least once."""
    ids = room_ids(load.rooms)
    step = _step(client, operation)
    latencies: list[float] = []
    errors: Counter[str] = Counter()
    choices = [
        random.Random(load.seed * 1_000_003 + number).choices(ids, k=_CHOICES)  # noqa: S311 - no secret
        for number in range(load.callers)
    ]
    clock = time.perf_counter
    begin = clock()
    end = begin + seconds

    async def call(turn: int, chosen: Sequence[str]) -> None:
        start = clock()
        while True:
            if load.rate:  # a late call counts from the time at which it was due
                start = begin + turn / load.rate
                await asyncio.sleep(start - clock())
            try:
                await step(chosen[turn % _CHOICES], turn)
            except Exception as error:  # noqa: BLE001 - every error of a contender is counted
                errors[type(error).__name__] += 1
            else:
                latencies.append(clock() - start)
            turn += load.callers
            start = clock()
            if start >= end:
                return

    await asyncio.gather(*(call(number, chosen) for number, chosen in enumerate(choices)))
    taken = clock() - begin
    latencies.sort()
    p50, p99 = (percentile(latencies, share) * 1000 for share in (0.5, 0.99))
    return Sample(operations=len(latencies), seconds=taken, p50_ms=p50, p99_ms=p99, errors=dict(errors))


def _step(client: Client, operation: Operation) -> Callable[[str, int], Awaitable[object]]:
    if operation == "get_room":
        return lambda room_id, _turn: client.get_room(room_id)
    if operation == "add_user_to_room":  # a user who is in the room joins again, so rooms keep their size
        return lambda room_id, turn: client.join(room_id, user_id(1 + turn % (USERS - 1)))
    if operation == "add_message":
        run = time.time_ns()  # every id is new, because a known id would not be appended
        return lambda room_id, turn: client.add_message(room_id, f"m-{run}-{turn}")
    return lambda room_id, _turn: client.get_messages(room_id)


async def join_all(client: Client, room_id: str, user_ids: Iterable[str]) -> JoinResult:
    """Let all users join one room concurrently."""
    errors: Counter[str] = Counter()

    async def join(one: str) -> None:
        try:
            await client.join(room_id, one)
        except Exception as error:  # noqa: BLE001 - every error of a contender is counted
            errors[type(error).__name__] += 1

    start = time.perf_counter()
    await asyncio.gather(*(join(one) for one in user_ids))
    return JoinResult(seconds=time.perf_counter() - start, errors=dict(errors))


def percentile(ordered: Sequence[float], share: float) -> float:
    """Return the smallest value that a share of all values does not exceed, or 0 without values."""
    return ordered[max(0, math.ceil(len(ordered) * share) - 1)] if ordered else 0.0
