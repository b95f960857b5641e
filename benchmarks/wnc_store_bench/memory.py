"""Throughput of the memory backend with one caller, compared with three libraries that store the same room.

The arguments of an operation, such as a user or a message, are created outside the measured time.
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

from wnc_store import Room, Store, User, open_store, rules
from wnc_store_bench.contenders import WNC
from wnc_store_bench.contenders.libraries import (
    LIBRARY_OPERATIONS,
    Library,
    Values,
    aiocache_in_memory,
    cashews_in_memory,
    key_value_in_memory,
)
from wnc_store_bench.contenders.session import Exchange
from wnc_store_bench.load import OPERATIONS, Operation
from wnc_store_bench.options import Options, ProgressCallback
from wnc_store_bench.processes import worker
from wnc_store_bench.records import USERS, message, room, room_ids, user
from wnc_store_bench.results import MemoryRow
from wnc_store_bench.server import Target

_BLOCK = 500
"""Operations between two readings of the clock."""

_SECONDS = 300

Turn = Callable[[float], Awaitable[float]]
"""Repeats an operation for a number of seconds and returns the operations per second."""

Turns = Mapping[Operation, Turn]
Opened = Callable[[Sequence[str]], AbstractAsyncContextManager[Turns]]
"""Opens a store that contains rooms with these ids."""


async def measure(options: Options, progress: ProgressCallback) -> list[MemoryRow]:
    """Measure all stores in turn, each in its own process."""
    rows: list[MemoryRow] = []
    for number in range(1, options.rounds + 1):
        for name, operations in _STORES.items():
            async with worker("memory", store=name, rooms=options.load.rooms) as process:
                for operation in operations:
                    progress(f"memory, {operation}: {name}, round {number} of {options.rounds}")
                    await process.do([operation, options.warm_up], _SECONDS)
                    rate = await process.do([operation, options.seconds], _SECONDS)
                    rows.append(MemoryRow(contender=name, operation=operation, round=number, ops_per_second=rate))
    return rows


async def serve_in_memory(options: Mapping[str, Any], exchange: Exchange) -> None:
    """Fill a store with rooms, and answer each task with the rate of its operation."""
    ids = room_ids(options["rooms"])
    opened = _wnc_turns if options["store"] == WNC.name else _LIBRARIES[options["store"]]
    async with opened(ids) as turns:
        rate = None
        while task := await exchange(rate):
            operation, seconds = task
            rate = await turns[operation](seconds)


@asynccontextmanager
async def _wnc_turns(ids: Sequence[str]) -> AsyncGenerator[Turns]:
    async with open_store("memory://") as store:
        for room_id in ids:
            await store.rooms.create_room(room(room_id))
        yield store_turns(store, ids, _GUESTS)


def _library_turns(library: Library, *, objects: bool) -> Opened:
    """Return a function that opens a library, which stores rooms as objects or as JSON values."""

    @asynccontextmanager
    async def opened(ids: Sequence[str]) -> AsyncGenerator[Turns]:
        async with library(Target("memory://", "bench")) as values:
            for room_id in ids:
                made = room(room_id)
                await values.put(room_id, made if objects else made.to_json())
            join = _join_object(values) if objects else _join_json(values)
            yield {
                "get_room": _turn(values.get, lambda count: _cycle(ids, count)),
                "add_user_to_room": _turn(join, lambda count: _joins(ids, count, _GUESTS)),
            }

    return opened


def store_turns(store: Store, ids: Sequence[str], guests: Sequence[User]) -> Turns:
    """Return the operations on rooms of a store. The guests join in turn."""

    async def join(one: tuple[str, User]) -> None:
        await store.rooms.add_user_to_room(*one)

    run = time.time_ns()
    written = 0

    def messages(count: int) -> list[Any]:
        nonlocal written
        written += count
        return [message(room_id, f"m-{run}-{written + turn}") for turn, room_id in enumerate(_cycle(ids, count))]

    return {
        "get_room": _turn(store.rooms.get_room, lambda count: _cycle(ids, count)),
        "add_user_to_room": _turn(join, lambda count: _joins(ids, count, guests)),
        "add_message": _turn(store.chat.add_message, messages),
        "get_messages": _turn(store.chat.get_messages, lambda count: _cycle(ids, count)),
    }


def _turn(do: Callable[[Any], Awaitable[object]], make: Callable[[int], Sequence[Any]]) -> Turn:
    async def turn(seconds: float) -> float:
        taken = 0.0
        done = 0
        while taken < seconds:
            block = make(_BLOCK)
            start = time.perf_counter()
            for one in block:
                await do(one)
            taken += time.perf_counter() - start
            done += _BLOCK
        return done / taken

    return turn


_position = 0


def _cycle(ids: Sequence[str], count: int) -> list[str]:
    """Return the next ids of a cycle in which neighbours are far apart."""
    global _position  # noqa: PLW0603 - the end of the previous block
    _position += count
    return [ids[(_position + turn) * 7919 % len(ids)] for turn in range(count)]


def _joins(ids: Sequence[str], count: int, guests: Sequence[User]) -> list[tuple[str, User]]:
    return [(room_id, guests[turn % len(guests)]) for turn, room_id in enumerate(_cycle(ids, count))]


_GUESTS = [user(number) for number in range(1, USERS)]


def _join_object(values: Values) -> Callable[[tuple[str, User]], Awaitable[None]]:
    async def join(one: tuple[str, User]) -> None:
        found: Room = await values.get(one[0])
        await values.put(one[0], rules.join(found, one[1]))

    return join


def _join_json(values: Values) -> Callable[[tuple[str, User]], Awaitable[None]]:
    async def join(one: tuple[str, User]) -> None:
        room_id, guest = one
        found = await values.get(room_id)
        users = [other for other in found["users"] if other["id"] != guest.id]
        await values.put(room_id, {**found, "users": [*users, guest.to_json()]})

    return join


_LIBRARIES = {
    "aiocache": _library_turns(aiocache_in_memory, objects=True),
    "cashews": _library_turns(cashews_in_memory, objects=True),
    "py-key-value": _library_turns(key_value_in_memory, objects=False),
}
_STORES: Mapping[str, Sequence[Operation]] = {WNC.name: OPERATIONS, **dict.fromkeys(_LIBRARIES, LIBRARY_OPERATIONS)}


@asynccontextmanager
async def filled(count: int) -> AsyncGenerator[Store]:
    """Open a memory store with a number of rooms of one user."""
    async with open_store("memory://") as store:
        for room_id in room_ids(count):
            await store.rooms.create_room(room(room_id, 1))
        yield store
