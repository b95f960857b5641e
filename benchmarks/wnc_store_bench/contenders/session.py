"""Contenders and their processes.

Each contender runs in its own process, in Python or Node, because another contender's data in memory would slow it down
through the garbage collector and the processor's caches.
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import asdict, dataclass
from typing import Any, Protocol

from wnc_store_bench.load import (
    OPERATIONS,
    Client,
    JoinResult,
    Load,
    Operation,
    Sample,
    closed_loop,
    join_all,
    read_chats,
)
from wnc_store_bench.processes import Worker, worker
from wnc_store_bench.server import Target

_GRACE = 30
"""Seconds that a task may exceed its duration."""

Exchange = Callable[[object], Awaitable[Any]]
"""Sends the result of a task (at first None) and returns the next task, or None at the end."""

Connect = Callable[[Target], AbstractAsyncContextManager[Client]]
"""Opens a contender in Python on a target, and closes it at the exit of the context."""


class Session:
    """A connection to the process of a contender."""

    def __init__(self, process: Worker) -> None:
        self._process = process

    async def load(self, operation: Operation, load: Load, seconds: float) -> Sample:
        """Repeat an operation with all callers for a number of seconds."""
        task = {"task": "load", "operation": operation, "seconds": seconds, **asdict(load)}
        return Sample.model_validate(await self._process.do(task, seconds + _GRACE))

    async def join_all(self, room_id: str, user_ids: Sequence[str], bound: float) -> JoinResult:
        """Let all users join one room concurrently, and cancel the rest after `bound` seconds."""
        task = {"task": "join_all", "room": room_id, "users": list(user_ids), "bound": bound}
        return JoinResult.model_validate(await self._process.do(task, bound + _GRACE))

    async def warm_up(self, operation: Operation, load: Load, seconds: float) -> None:
        """Run an unmeasured load, which opens connections, fills caches and lets Node compile.

        Before messages are added, each chat is read, as an app does when a user joins.
        """
        if operation == "add_message":
            await self._process.do({"task": "read", "callers": load.callers, "rooms": load.rooms}, _GRACE)
        await self.load(operation, load, seconds)

    async def connect(self, room_id: str, connections: int) -> None:
        """Open a number of connections, unless callers share one."""
        await self._process.do({"task": "connect", "room": room_id, "connections": connections}, _GRACE)

    async def freeze(self) -> None:
        """Call `gc.freeze`, so that the garbage collector ignores existing objects."""
        await self._process.do({"task": "freeze"}, _GRACE)


async def serve(client: Client, exchange: Exchange) -> None:
    """Run the tasks of a `Session`."""
    answer: object = None
    while task := await exchange(answer):
        answer = await _run_task(client, task)


async def _run_task(client: Client, task: Mapping[str, Any]) -> object:
    if task["task"] == "load":
        load = Load(task["callers"], task["rooms"], task["seed"])
        return (await closed_loop(client, task["operation"], load, task["seconds"])).model_dump()
    if task["task"] == "join_all":
        return (await join_all(client, task["room"], task["users"], task["bound"])).model_dump()
    if task["task"] == "connect":
        await asyncio.gather(*(client.get_room(task["room"]) for _ in range(task["connections"])))
    elif task["task"] == "read":
        await read_chats(client, task["rooms"], task["callers"])
    else:
        gc.collect()
        gc.freeze()
    return None


class Starter(Protocol):
    """Starts the process of a contender."""

    def __call__(self, name: str, target: Target) -> AbstractAsyncContextManager[Worker]:
        """Start the process on a target, and end it at the exit of the context."""
        ...


def start_python(name: str, target: Target) -> AbstractAsyncContextManager[Worker]:
    """Start a contender in Python. See `Starter`."""
    return worker("contender", contender=name, target=asdict(target))


class Seeder(Protocol):
    """Writes a contender's data to its target."""

    async def __call__(self, target: Target, room_ids: Sequence[str], users: int) -> None:
        """Replace the data by rooms with a number of users and 20 messages each."""
        ...


class UserReader(Protocol):
    """Reads the users of a room from a contender's data."""

    async def __call__(self, target: Target, room_id: str) -> list[str]:
        """Return the ids of the users that are stored in a room."""
        ...


@dataclass(frozen=True)
class Contender:
    """A contender.

    Attributes:
        name: the name on the command line.
        what: a one-line description with the chosen options.
        seed: writes the data.
        users: reads the users of a room.
        connect: opens the contender within its process, if it runs in Python.
        start: starts the process.
        operations: the supported operations.
        keeps_all: whether no concurrent join may be lost.
    """

    name: str
    what: str
    seed: Seeder
    users: UserReader
    connect: Connect | None = None
    start: Starter = start_python
    operations: tuple[Operation, ...] = OPERATIONS
    keeps_all: bool = False

    @asynccontextmanager
    async def open(self, target: Target) -> AsyncGenerator[Session]:
        """Start the process on a target, and end it at the exit of the context."""
        async with self.start(self.name, target) as process:
            yield Session(process)
