"""Contenders and their processes.

Each contender runs in its own process, in Python or Node, because another contender's data in memory would slow it down
through the garbage collector and the processor's caches.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import asdict, dataclass
from typing import Any

from wnc_store_bench.load import OPERATIONS, Client, JoinResult, Load, Operation, Sample, join_all, run_load
from wnc_store_bench.processes import Worker, worker
from wnc_store_bench.server import Target

_GRACE = 60
"""Seconds that a task may exceed its duration."""

Exchange = Callable[[object], Awaitable[Any]]
"""Sends the result of a task (at first None) and returns the next task, or None at the end."""


class Session:
    """A connection to the process of a contender."""

    def __init__(self, process: Worker) -> None:
        self._process = process

    async def load(self, operation: Operation, load: Load, seconds: float) -> Sample:
        """Repeat an operation with all callers for a number of seconds."""
        task = {"task": "load", "operation": operation, "seconds": seconds, "load": asdict(load)}
        return Sample.model_validate(await self._process.do(task, seconds + _GRACE))

    async def join_all(self, room_id: str, user_ids: Sequence[str]) -> JoinResult:
        """Let all users join one room concurrently."""
        task = {"task": "join_all", "room": room_id, "users": list(user_ids)}
        return JoinResult.model_validate(await self._process.do(task, _GRACE))

    async def warm_up(self, operation: Operation, load: Load, seconds: float) -> None:
        """Run an unmeasured load, which opens connections, fills caches and lets Node compile.

        Before messages are added, chats are read, as an app does when a user joins.
        """
        if operation == "add_message":
            await self.load("get_messages", load, seconds)
        await self.load(operation, load, seconds)


async def serve(client: Client, exchange: Exchange) -> None:
    """Run the tasks of a `Session`."""
    answer: object = None
    while task := await exchange(answer):
        if task["task"] == "load":
            result = await run_load(client, task["operation"], Load(**task["load"]), task["seconds"])
        else:
            result = await join_all(client, task["room"], task["users"])
        answer = result.model_dump()


@dataclass(frozen=True)
class Contender:
    """A contender. It has either `connect` or `start`.

    Attributes:
        name: the name on the command line.
        what: a one-line description with the chosen options.
        connect: opens a contender that runs in Python, and closes it at the exit of the context.
        start: starts the process of another contender.
        operations: the measured operations.
    """

    name: str
    what: str
    connect: Callable[[Target], AbstractAsyncContextManager[Client]] | None = None
    start: Callable[[Target], AbstractAsyncContextManager[Worker]] | None = None
    operations: tuple[Operation, ...] = OPERATIONS

    @asynccontextmanager
    async def open(self, target: Target) -> AsyncGenerator[Session]:
        """Start the process on a target, and end it at the exit of the context."""
        started = self.start(target) if self.start else worker("contender", name=self.name, target=asdict(target))
        async with started as process:
            yield Session(process)
