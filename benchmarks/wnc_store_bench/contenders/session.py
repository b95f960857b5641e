"""A contender: its name, what it can do, and how it is opened on a place.

Each runs in a process of its own, Python's as Node's, so that none has to do with what another one keeps in memory: the
garbage collector, and the processor's caches, would make it slower.
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import asdict, dataclass
from typing import Any, Protocol

from wnc_store_bench.load import OPERATIONS, Client, Crowd, Load, Operation, Sample, closed_loop, crowd, read_chats
from wnc_store_bench.processes import Worker, worker
from wnc_store_bench.server import Place

_GRACE = 30
"""Seconds that a task may take longer than it was given."""

Exchange = Callable[[object], Awaitable[Any]]
"""Gives the answer to a task, at first null, and waits for the next; that is None when there are no more."""

Connect = Callable[[Place], AbstractAsyncContextManager[Client]]
"""Opens a contender in Python on the data of a place, and closes it in the end."""


class Session:
    """A contender in its process."""

    def __init__(self, process: Worker) -> None:
        self._process = process

    async def load(self, operation: Operation, load: Load, seconds: float) -> Sample:
        """Do one kind of operation with all callers for so many seconds."""
        task = {"task": "load", "operation": operation, "seconds": seconds, **asdict(load)}
        return Sample.model_validate(await self._process.do(task, seconds + _GRACE))

    async def crowd(self, room_id: str, user_ids: Sequence[str], bound: float) -> Crowd:
        """Let all users join one room at once; stop waiting after `bound` seconds."""
        task = {"task": "crowd", "room": room_id, "users": list(user_ids), "bound": bound}
        return Crowd.model_validate(await self._process.do(task, bound + _GRACE))

    async def warm_up(self, operation: Operation, load: Load, seconds: float) -> None:
        """Do what comes before a load is measured: connect, fill caches, and let Node compile.

        Before messages are added, each chat is read, as an app does when somebody joins.
        """
        if operation == "add_message":
            await self._process.do({"task": "read", "callers": load.callers, "rooms": load.rooms}, _GRACE)
        await self.load(operation, load, seconds)

    async def connect(self, room_id: str, connections: int) -> None:
        """Open so many connections, where callers do not share one."""
        await self._process.do({"task": "connect", "room": room_id, "connections": connections}, _GRACE)

    async def freeze(self) -> None:
        """Tell Python's garbage collector not to look through what is there."""
        await self._process.do({"task": "freeze"}, _GRACE)


async def serve(client: Client, exchange: Exchange) -> None:
    """Be the other side of a `Session`: do the tasks that come."""
    answer: object = None
    while task := await exchange(answer):
        answer = await _done(client, task)


async def _done(client: Client, task: Mapping[str, Any]) -> object:
    if task["task"] == "load":
        load = Load(task["callers"], task["rooms"], task["seed"])
        return (await closed_loop(client, task["operation"], load, task["seconds"])).model_dump()
    if task["task"] == "crowd":
        return (await crowd(client, task["room"], task["users"], task["bound"])).model_dump()
    if task["task"] == "connect":
        await asyncio.gather(*(client.get_room(task["room"]) for _ in range(task["connections"])))
    elif task["task"] == "read":
        await read_chats(client, task["rooms"], task["callers"])
    else:
        gc.collect()
        gc.freeze()
    return None


class Starter(Protocol):
    """How the process of a contender is started."""

    def __call__(self, name: str, place: Place) -> AbstractAsyncContextManager[Worker]:
        """Start it on the data of a place, and end it in the end."""
        ...


def in_python(name: str, place: Place) -> AbstractAsyncContextManager[Worker]:
    """Start a contender in Python; see `Starter`."""
    return worker("contender", contender=name, place=asdict(place))


class Seeder(Protocol):
    """How a contender's data comes to its place."""

    async def __call__(self, place: Place, room_ids: Sequence[str], users: int) -> None:
        """Write rooms of so many users, each with 20 messages, in place of what is there."""
        ...


class Looker(Protocol):
    """How a contender's data is looked into."""

    async def __call__(self, place: Place, room_id: str) -> list[str]:
        """Return the ids of the users that are stored in a room."""
        ...


@dataclass(frozen=True)
class Contender:
    """What is measured.

    Attributes:
        name: short, as the command line takes it.
        what: one line on how it works, with all that was chosen for it.
        seed: writes the data that it works on.
        users: looks into its data.
        connect: opens it within its process, if that is Python.
        start: starts its process.
        operations: what it can do.
        keeps_all: whether it claims that no join is lost among many at once.
    """

    name: str
    what: str
    seed: Seeder
    users: Looker
    connect: Connect | None = None
    start: Starter = in_python
    operations: tuple[Operation, ...] = OPERATIONS
    keeps_all: bool = False

    @asynccontextmanager
    async def open(self, place: Place) -> AsyncGenerator[Session]:
        """Start its process on the data of a place, and end it in the end."""
        async with self.start(self.name, place) as process:
            yield Session(process)
