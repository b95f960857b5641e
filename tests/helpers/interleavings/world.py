"""Stores in one or two processes on one server, whose every step is chosen by the test.

The next step can be a tick of a process, the start of an operation, or the run of a command with its reply. A plan
also allows a number of faults: a connection is lost before or after its commands ran, a new connection is refused, a
caller is cancelled, or the server does not reply until a deadline passes. A command in flight when its connection is
lost runs at that moment or never.
"""

from __future__ import annotations

import asyncio
import functools
import json
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from typing import Any

from hiredis import Reader
from redis.asyncio import Redis

from interleavings.loop import SteppedLoop
from interleavings.operations import CHAT_LIMIT, NOW, ROOM, Operation, State
from interleavings.server import FakeServer
from schedules import Choice
from wnc_store import ManualClock, StoreSettings, to_wire
from wnc_store_redis import RedisStore
from wnc_store_redis.codec import encode_with_nonce
from wnc_store_redis.transport.connection import Reply
from wnc_store_redis.transport.session import Session

_SETTINGS = StoreSettings(chat_history_limit=CHAT_LIMIT, operation_timeout=timedelta(seconds=5))
_CLOCK = ManualClock(NOW)
_CLIENTS = (Redis(), Redis(), Redis())
"""Addresses of the processes. Nothing connects to them."""

_ROOM, _CHAT, _INDEX = f"room:{ROOM}".encode(), f"chat:{ROOM}".encode(), b"active-rooms"

_LONGEST = 400
"""Maximum number of choices in a run. A run with more does not terminate."""


@dataclass(frozen=True)
class Plan:
    """A set of operations to explore.

    Attributes:
        before: the initial state.
        operations: the operations, each with the number of its process.
        cache: the initial caches. "cold": empty and not connected. "warm": the stored room and chat. "stale": an older
            version of the room, and the stored chat.
        faults: maximum number of faults in a run.
    """

    before: State
    operations: Sequence[tuple[Operation, int]]
    cache: str = "warm"
    faults: int = 0


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
        self.multiplexer: Any = route._node._writes
        self.pool: Any = route.pool

    @property
    def link(self) -> FakeLink | None:
        """The current connection, if there is one."""
        return self.multiplexer._supervisor.connection

    @property
    def is_committing(self) -> bool:
        """Whether updates are being committed, even if their callers were cancelled."""
        return bool(self.store.rooms._group_commit._queues)

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


@dataclass
class World:
    """One run of a plan."""

    plan: Plan
    now: int = 0
    faults: int = 0
    time_was_lost: bool = False
    log: list[str] = field(default_factory=list[str])
    problems: list[str] = field(default_factory=list[str])

    def __post_init__(self) -> None:
        self.server = FakeServer()
        numbers = sorted({process for _, process in self.plan.operations})
        self.processes = [Process(number) for number in numbers]
        _BY_POOL.clear()
        _BY_POOL.update((process.pool, process) for process in self.processes)
        self.calls = [Call(operation, self.processes[number]) for operation, number in self.plan.operations]
        self._prepare()

    def _prepare(self) -> None:
        before = self.plan.before
        if self.plan.cache == "stale" and before.room is not None:
            self._store(State(before.room.model_copy(update={"rev": before.room.rev - 1, "video_url": "old"})))
        else:
            self._store(before)
        if self.plan.cache != "cold":
            for process in self.processes:
                self.ask(process, process.store.rooms.get_room(ROOM))
        self._store(before)
        if self.plan.cache != "cold":
            for process in self.processes:
                self.ask(process, process.store.chat.get_messages(ROOM))
                process.sent.clear()

    def _store(self, state: State) -> None:
        self.server.keys.clear()
        if state.room is not None:
            self.server.keys[_ROOM] = to_wire(state.room)
            self.server.keys[_INDEX] = {ROOM.encode()}
        if state.chat:
            self.server.keys[_CHAT] = [encode_with_nonce(one) for one in state.chat]

    def stored(self) -> tuple[bytes | None, list[bytes]]:
        """Return the stored room and chat without their nonces."""
        keys: Any = self.server.keys
        found = keys.get(_ROOM)
        return found and found.rstrip(), [entry.rstrip() for entry in keys.get(_CHAT, [])]

    def ask(self, process: Process, work: Any) -> Any:
        """Run one call alone to its end."""
        task = process.inside(lambda: process.loop.create_task(work))
        while not task.done():
            if process.loop.has_work:
                process.inside(process.loop.tick)
            elif process.link is not None and process.link.commands:
                self._answer(process, 1)
            else:
                self.problems.append("a call that runs alone does not return")
                return None
        while process.loop.has_work:
            process.inside(process.loop.tick)
        return task.result()

    def choices(self) -> list[Choice]:
        """Return the possible next steps, or nothing at the end of the run.

        While a process has ready callbacks, events that do not reach it make no difference. So only the events of this
        process are tried in between.
        """
        busy = next((process for process in self.processes if process.loop.has_work), None)
        if busy is not None:
            return [("tick", partial(busy.inside, busy.loop.tick)), *self._events(busy)]
        found = [choice for process in self.processes for choice in self._events(process)]
        if not found and (
            any(call.ended < 0 for call in self.calls) or any(one.is_committing for one in self.processes)
        ):
            found = [("wait", partial(self._wait, self.processes))]
        return found

    def _events(self, process: Process) -> list[Choice]:
        number = self.processes.index(process)
        link = process.link
        under_way = len(link.commands) if link is not None else 0
        found: list[Choice] = [
            (f"answer {number} x{some}", partial(self._answer, process, some))
            for some in sorted({1, under_way} if under_way else ())
        ]
        begin = {call.operation.name: call for call in self.calls if call.process is process and call.task is None}
        found += [(f"begin {name} in {number}", partial(self._begin, call)) for name, call in begin.items()]
        if self.faults < self.plan.faults and any(call.ended < 0 for call in self.calls):
            found += self._faults(process, number, under_way)
        return found

    def _faults(self, process: Process, number: int, under_way: int) -> list[Choice]:
        found: list[Choice] = []
        if process.link is None and not process.refusals:
            found.append((f"refuse {number}", partial(self._refuse, process)))
        if process.link is not None and any(call.process is process and call.ended < 0 for call in self.calls):
            found += [(f"lose {number} after {ran}", partial(self._lose, process, ran)) for ran in range(under_way + 1)]
            found += [(f"lose and refuse {number}", partial(self._lose, process, under_way, refusals=1))]
        waiting = [call for call in self.calls if call.process is process and call.waits]
        found += [
            (f"cancel {call.operation.name}", partial(self._cancel, call))
            for call in waiting
            if call.cancelled_after is None
        ]
        if under_way and not process.loop.has_work:
            found.append((f"silence {number}", partial(self._be_silent, process)))
        return found

    def take(self, choice: Choice) -> None:
        """Take a step."""
        name, step = choice
        self.now += 1
        self.log.append(name)
        try:
            step()
        except Exception as error:  # noqa: BLE001 - a real event loop would log it
            self.problems.append(f"{name} raised {error!r}")
        for call in self.calls:
            if call.waits and call.task is not None and call.task.done():
                call.ended = self.now
                call.outcome = _outcome(call.task)
        if self.now == _LONGEST:
            self._give_up("the run does not terminate")

    def _begin(self, call: Call) -> None:
        call.began = self.now
        call.before_it = call.process.submitted()
        call.task = call.process.inside(lambda: call.process.loop.create_task(_awaited(call)))

    def _answer(self, process: Process, some: int) -> None:
        assert process.link is not None
        replies = [self._execute(process.link.commands.popleft()) for _ in range(some)]
        process.inside(partial(process.link.on_replies, replies))

    def _lose(self, process: Process, ran: int, *, refusals: int = 0) -> None:
        self.faults += 1
        link = process.link
        assert link is not None
        process.unanswered += link.commands
        for _ in range(ran):
            self._execute(link.commands.popleft())
        process.refusals += refusals
        process.was_refused = process.was_refused or bool(refusals)
        process.inside(partial(link.on_lost, ConnectionResetError()))

    def _refuse(self, process: Process) -> None:
        self.faults += 1
        process.refusals = 1
        process.was_refused = True

    def _cancel(self, call: Call) -> None:
        self.faults += 1
        assert call.task is not None
        call.cancelled_after = call.process.submitted()
        call.process.inside(call.task.cancel)

    def _be_silent(self, process: Process) -> None:
        self.faults += 1
        self.time_was_lost = True
        assert process.link is not None
        process.unanswered += process.link.commands
        self._wait([process])

    def _wait(self, processes: Sequence[Process]) -> None:
        """Advance the clocks of the processes to their next timer."""
        due = [when for process in processes if (when := process.loop.next_timer()) is not None]
        if not due:
            self._give_up("deadlock: a caller waits, and no callback or timer is left")
            return
        for process in processes:
            process.loop.advance(min(due))

    def _give_up(self, problem: str) -> None:
        self.problems.append(problem)
        self.calls.clear()
        self.processes.clear()

    def _execute(self, command: list[bytes]) -> Reply:
        reply = self.server.execute(command)
        self._check_server()
        return reply

    def _check_server(self) -> None:
        stored: Any = self.server.keys.get(_ROOM)
        if stored is not None and not _has_a_host(stored):
            self.problems.append("the host is not a user")
        index: Any = self.server.keys.get(_INDEX, set())
        if (stored is not None) != (ROOM.encode() in index):
            self.problems.append("the index and the room disagree")
        entries: Any = self.server.keys.get(_CHAT, [])
        if len(set(entries)) < len(entries):
            self.problems.append("a message is stored twice")


@functools.lru_cache(maxsize=1000)
def _has_a_host(stored: bytes) -> bool:
    found = json.loads(stored)
    return found["hostId"] in [one["id"] for one in found["users"]]


_BY_POOL: dict[Any, Process] = {}


async def open_fake_link(
    pool: Any,
    on_replies: Callable[[Sequence[Reply]], None],
    on_lost: Callable[[BaseException], None],
    **_: object,
) -> FakeLink:
    """Replace `open_connection`. A command in flight when its connection is lost cannot run later."""
    process = _BY_POOL[pool]
    process.multiplexer._session = Session((b"ID", b"1"), clock=9e9)
    process.multiplexer._clock_due = float("inf")
    if process.refusals:
        process.refusals -= 1
        raise ConnectionRefusedError
    return FakeLink(process, on_replies, on_lost)


async def _awaited(call: Call) -> Any:
    return await call.operation.call(call.process.store)


def _outcome(task: asyncio.Task[Any]) -> Any:
    if task.cancelled():
        return asyncio.CancelledError()
    return task.exception() or task.result()
