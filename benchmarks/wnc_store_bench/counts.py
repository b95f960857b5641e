"""The work for one operation of the store, which other processes on the machine do not disturb.

The arguments of an operation, such as a user or a message, are created beforehand.
"""

from __future__ import annotations

import asyncio
import itertools
import sys
from asyncio.events import Handle
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import timedelta
from itertools import cycle, islice
from types import FrameType
from typing import Any

from wnc_store import Store, StoreSettings, SupportsStatistics, open_store
from wnc_store_bench.backends import REFERENCE, count_writes
from wnc_store_bench.contenders.session import Exchange
from wnc_store_bench.load import OPERATIONS, Operation
from wnc_store_bench.options import Options, ProgressCallback
from wnc_store_bench.processes import worker
from wnc_store_bench.records import USERS, message, room, room_ids, user
from wnc_store_bench.results import CountRow
from wnc_store_bench.server import Target

_ROOMS = 200
_CALLS = 2000
_CALLERS = 100
_SECONDS = 300
"""Time limit of an operation's count."""

_RUN_HANDLE = Handle._run.__code__  # noqa: SLF001  # pyright: ignore[reportPrivateUsage, reportUnknownMemberType]


@dataclass(frozen=True)
class Calls:
    """An operation of a store, and the endless arguments of successive calls."""

    operation: Callable[..., Awaitable[object]]
    arguments: Iterator[tuple[Any, ...]]

    def next_arguments(self, number: int) -> list[tuple[Any, ...]]:
        """Create the arguments of the next calls."""
        return list(islice(self.arguments, number))


async def prepare(store: Store, rooms: int) -> Mapping[Operation, Calls]:
    """Create rooms, and return the operations on them. Each join is that of a user who is in the room."""
    ids = room_ids(rooms)
    for room_id in ids:
        await store.rooms.create_room(room(room_id))
        await store.chat.get_messages(room_id)
    guests = [user(number) for number in range(1, USERS)]
    reads = [(room_id,) for room_id in ids]
    joins = [(room_id, guest) for guest in guests for room_id in ids]
    messages = ((message(room_id, f"m-{number}"),) for number in itertools.count() for room_id in ids)
    return {
        "get_room": Calls(store.rooms.get_room, cycle(reads)),
        "add_user_to_room": Calls(store.rooms.add_user_to_room, cycle(joins)),
        "add_message": Calls(store.chat.add_message, messages),
        "get_messages": Calls(store.chat.get_messages, cycle(reads)),
    }


async def measure(target: Target, options: Options, progress: ProgressCallback) -> list[CountRow]:
    """Count the work of each backend."""
    places = {REFERENCE: target.of("counts"), "memory": Target("memory://", "")}
    if options.postgres is not None:
        places["Postgres"] = options.postgres.of("counts")
    rows: list[CountRow] = []
    for backend, place in places.items():
        progress(f"counts of the {backend} backend")
        rows += await count(backend, place)
    return rows


async def count(backend: str, target: Target, operations: Iterable[Operation] = OPERATIONS) -> list[CountRow]:
    """Count the work of operations of the store on an empty target, in a separate process."""
    async with worker("counts", target=asdict(target)) as process:
        return [
            CountRow(backend=backend, operation=operation, **await process.do(operation, _SECONDS))
            for operation in operations
        ]


async def serve_counts(options: Mapping[str, Any], exchange: Exchange) -> None:
    """Answer the name of each operation with its counts."""
    target = Target(**options["target"])
    settings = StoreSettings(key_prefix=target.prefix, operation_timeout=timedelta(seconds=_SECONDS))
    async with open_store(target.url, settings=settings) as store:
        prepared = await prepare(store, _ROOMS)
        counted = None
        while operation := await exchange(counted):
            calls = prepared[operation]
            await _run(calls.operation, iter(calls.next_arguments(_CALLS)))  # fills caches
            trips, writes = _count_round_trips(store), await count_writes(target)
            counted = await _count(calls.operation, iter(calls.next_arguments(_CALLS)))
            counted["round_trips"] = (_count_round_trips(store) - trips) / _CALLS
            counted["writes"] = (await count_writes(target) - writes) / _CALLS


def _count_round_trips(store: Store) -> int:
    """Return how many requests a store has sent, each with one or more commands or statements; 0 in memory."""
    return store.statistics().get("batches", 0) if isinstance(store, SupportsStatistics) else 0


async def _run(operation: Callable[..., Awaitable[object]], arguments: Iterator[tuple[Any, ...]]) -> None:
    async def call() -> None:
        for one in arguments:
            await operation(*one)

    await asyncio.gather(*(call() for _ in range(_CALLERS)))


async def _count(operation: Callable[..., Awaitable[object]], arguments: Iterator[tuple[Any, ...]]) -> dict[str, float]:
    events: Counter[str] = Counter()

    def profile(frame: FrameType, event: str, _argument: object) -> None:
        events[event] += 1
        if event == "call" and frame.f_code is _RUN_HANDLE:
            events["handle"] += 1

    sys.setprofile(profile)
    try:
        await _run(operation, arguments)
    finally:
        sys.setprofile(None)
    counted = {"python_calls": events["call"], "c_calls": events["c_call"], "handles": events["handle"]}
    return {name: count / _CALLS for name, count in counted.items()}
