"""A process with a store, whose connection and event loop are controlled by the test."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from hiredis import Reader
from redis.asyncio import Redis

from interleavings.loop import SteppedLoop
from interleavings.operations import CHAT_LIMIT, NOW, Operation
from wnc_store import ManualClock, StoreSettings
from wnc_store_redis import RedisStore
from wnc_store_redis.transport.connection import Reply
from wnc_store_redis.transport.session import Session

_SETTINGS = StoreSettings(chat_history_limit=CHAT_LIMIT, operation_timeout=timedelta(seconds=5))
_CLOCK = ManualClock(NOW)
_CLIENTS = (Redis(), Redis(), Redis())
"""Addresses of the processes. Nothing connects to them."""

by_pool: dict[object, Process] = {}
"""The processes of the current run by their connection pools."""


class FakeLink:
    """A fake connection, whose commands wait until the test runs them."""

    def __init__(
        self,
        process: Process,
        on_replies: Callable[[Sequence[Reply]], None],
        on_lost: Callable[[BaseException], None],
    ) -> None:
        self._process = process
        self.on_replies = on_replies
        self.on_lost = on_lost
        self.commands: deque[list[bytes]] = deque()

    def write(self, packed: Sequence[bytes]) -> None:
        """See `PipelinedConnection.write`."""
        reader = Reader()
        reader.feed(b"".join(packed))
        while command := reader.gets():
            self.commands.append(command)
            self._process.sent.append(command)

    def detach(self) -> None:
        """See `PipelinedConnection.detach`."""

    async def aclose(self) -> None:
        """See `PipelinedConnection.aclose`."""


@dataclass
class Call:
    """An operation with its outcome. Times are counted in choices.

    Attributes:
        before_it: number of commands that the process had sent when the operation began.
        cancelled_after: number of commands when its caller was cancelled.
    """

    operation: Operation
    process: Process
    task: asyncio.Task[Any] | None = None
    began: int = -1
    ended: int = -1
    outcome: Any = None
    before_it: int = 0
    cancelled_after: int | None = None

    @property
    def waits(self) -> bool:
        """Whether a caller is waiting for the operation."""
        return self.task is not None and self.ended < 0

    def may_be_in(self, commands: Sequence[list[bytes]]) -> bool:
        """Return whether one of these commands can belong to the operation."""
        before = {id(one) for one in self.process.sent[: self.before_it]}
        return any(self.operation.fits(one) and id(one) not in before for one in commands)


class Process:
    """A process with a store, an event loop, a connection and the commands that it has sent."""

    def __init__(self, number: int) -> None:
        self.loop = SteppedLoop()
        self.sent: list[list[bytes]] = []
        self.unanswered: list[list[bytes]] = []
        self.refusals = 0
        self.was_refused = False
        self.store = RedisStore(_CLIENTS[number], _SETTINGS, clock=_CLOCK)
        route: Any = self.store._commands._router
        self.multiplexer: Any = route._node
        by_pool[route.pool] = self

    @property
    def link(self) -> FakeLink | None:
        """The current connection, if there is one."""
        return self.multiplexer._supervisor.connection

    @property
    def is_committing(self) -> bool:
        """Whether updates are being committed, even if their callers were cancelled."""
        return bool(self.store.rooms._group_commit.batches)

    def submitted(self) -> int:
        """Return the number of commands that were sent or are queued."""
        return len(self.sent) + len(self.multiplexer._send_queue)

    def inside(self, step: Callable[[], Any]) -> Any:
        """Run a function within this process's event loop."""
        asyncio._set_running_loop(self.loop)
        try:
            return step()
        finally:
            asyncio._set_running_loop(None)


async def open_fake_link(
    pool: Any,
    on_replies: Callable[[Sequence[Reply]], None],
    on_lost: Callable[[BaseException], None],
    **_: object,
) -> FakeLink:
    """Replace `open_connection`. A command in flight when its connection is lost cannot run later."""
    process = by_pool[pool]
    process.multiplexer._session = Session((b"ID", b"1"), clock=9e9)
    process.multiplexer._clock_due = float("inf")
    if process.refusals:
        process.refusals -= 1
        raise ConnectionRefusedError
    return FakeLink(process, on_replies, on_lost)
