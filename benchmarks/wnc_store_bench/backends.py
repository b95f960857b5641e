"""wnc-store on each backend: the same rooms, the same load, and concurrent joins of one room."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import asdict, replace
from datetime import timedelta
from typing import Any

from wnc_store import Snapshot, Store, StoreSettings, SupportsRestore, open_store
from wnc_store_bench.contenders.session import Exchange, Session, serve
from wnc_store_bench.contenders.wnc import StoreClient
from wnc_store_bench.load import Load, Operation
from wnc_store_bench.options import Options, ProgressCallback
from wnc_store_bench.postgres import count_transactions, is_postgres
from wnc_store_bench.processes import Worker, worker
from wnc_store_bench.records import DAY, KEPT, USERS, message, room, room_ids, user_id
from wnc_store_bench.results import JoinsRow, LoadRow
from wnc_store_bench.server import Target, plain_client, read_server

REFERENCE = "Redis"
"""The backend that the others are compared with."""

_OPERATIONS: tuple[Operation, ...] = ("get_room", "add_user_to_room", "add_message")
_TTL = timedelta(seconds=DAY)
_GRACE = 60
_CONCURRENT = 100
"""Number of rooms that are stored at the same time before a measurement."""


def places(target: Target, postgres: Target | None) -> dict[str, Target]:
    """Return where the data of each backend is. Postgres also runs without waiting for the disk at a commit."""
    found = {REFERENCE: target.of("Redis")}
    if postgres is not None:
        found["Postgres"] = postgres.of("Postgres")
        separator = "&" if "?" in postgres.url else "?"
        unsafe = replace(postgres, url=f"{postgres.url}{separator}synchronous_commit=off")
        found["Postgres, synchronous_commit=off"] = unsafe.of("Postgres-off")
    return {**found, "memory": Target("memory://", "")}


async def count_writes(target: Target) -> int:
    """Return a number that grows by one with each atomic write of a server: a script or a transaction. 0 in memory."""
    if target.url == "memory://":
        return 0
    if is_postgres(target.url):
        return await count_transactions(target.url)
    async with plain_client(target.url) as client:
        return (await read_server(client)).count("evalsha", "eval", "fcall")


async def measure(target: Target, options: Options, progress: ProgressCallback) -> list[LoadRow]:
    """Measure the operations on all backends in turn."""
    rows: list[LoadRow] = []
    for operation in _OPERATIONS:
        for number in range(1, options.rounds + 1):
            for name, place in places(target, options.postgres).items():
                progress(f"{operation} on {name}, round {number} of {options.rounds}")
                rows.append(await _turn(name, place, operation, number, options))
    return rows


async def _turn(name: str, place: Target, operation: Operation, number: int, options: Options) -> LoadRow:
    load = replace(options.load, seed=options.load.seed + number)
    async with _filled(place, options.load.rooms, USERS) as process:
        session = Session(process)
        await session.warm_up(operation, options.load, options.warm_up)
        sample = await session.load(operation, load, options.seconds)
    return LoadRow(
        operation=operation,
        contender=name,
        round=number,
        ops_per_second=sample.operations / sample.seconds,
        p50_ms=sample.p50_ms,
        p99_ms=sample.p99_ms,
        errors=sample.errors,
        server_cpu_us=0,
        reads=0,
    )


async def measure_joins(target: Target, options: Options, progress: ProgressCallback) -> list[JoinsRow]:
    """Measure the concurrent joins of one room on all backends in turn, from one process and from several."""
    rows: list[JoinsRow] = []
    for processes in (1, options.processes):
        for number in range(1, options.rounds + 1):
            for name, place in places(target, options.postgres).items():
                if processes == 1 or place.prefix:  # only this process has its memory
                    progress(f"{options.joins} joins on {name}, processes: {processes}, round {number}")
                    rows.append(await _joins(name, place, number, processes, options))
    return rows


async def _joins(name: str, place: Target, number: int, processes: int, options: Options) -> JoinsRow:
    (room_id,) = room_ids(1)
    joining = [user_id(guest) for guest in range(1, options.joins + 1)]
    async with AsyncExitStack() as stack:
        workers = [await stack.enter_async_context(_filled(place, 1, 1)) for _ in range(processes)]
        sessions = [Session(process) for process in workers]
        connecting = Load(callers=options.load.callers, rooms=1)
        await asyncio.gather(*(one.warm_up("get_room", connecting, options.warm_up) for one in sessions))
        writes = await count_writes(place)
        start = time.perf_counter()
        joined = await asyncio.gather(
            *(one.join_all(room_id, joining[share::processes]) for share, one in enumerate(sessions))
        )
        seconds = joined[0].seconds if processes == 1 else time.perf_counter() - start
        writes = await count_writes(place) - writes
        kept = await workers[0].do({"task": "count_users", "room": room_id}, _GRACE) - 1  # without the host
    errors = sum((Counter(one.errors) for one in joined), Counter[str]())
    return JoinsRow(
        backend=name,
        processes=processes,
        round=number,
        joins=len(joining),
        kept=kept,
        seconds=seconds,
        writes=writes,
        errors=dict(errors),
    )


def _filled(place: Target, rooms: int, users: int) -> AbstractAsyncContextManager[Worker]:
    """Start a process with a store that contains rooms with a number of users and 20 messages each."""
    return worker("backend", target=asdict(place), rooms=rooms, users=users)


async def serve_backend(options: Mapping[str, Any], exchange: Exchange) -> None:
    """Store the rooms, and run the tasks of a `Session` and the task `count_users`."""
    target = Target(**options["target"])
    async with open_store(target.url, settings=StoreSettings(key_prefix=target.prefix)) as store:
        await _fill(store, room_ids(options["rooms"]), options["users"])

        async def next_task(answer: object) -> Any:
            while (task := await exchange(answer)) and task["task"] == "count_users":
                found = await store.rooms.get_room(task["room"])
                answer = 0 if found is None else len(found.users)
            return task

        await serve(StoreClient(store), next_task)


async def _fill(store: Store, ids: Sequence[str], users: int) -> None:
    assert isinstance(store, SupportsRestore)  # noqa: S101 - as all of our backends
    for start in range(0, len(ids), _CONCURRENT):
        page = ids[start : start + _CONCURRENT]
        await asyncio.gather(*(store.restore(_snapshot(room_id, users), replace=True) for room_id in page))


def _snapshot(room_id: str, users: int) -> Snapshot:
    messages = tuple(message(room_id, f"kept-{number}") for number in range(KEPT))
    return Snapshot(room(room_id, users), _TTL, messages, _TTL)
