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
from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any

from interleavings.operations import ROOM, Operation, State
from interleavings.process import Call, Process, by_pool
from interleavings.server import FakeServer, Keys
from schedules import Choice
from wnc_store import ChatMessage, Room, to_wire
from wnc_store_redis import RedisStore
from wnc_store_redis.codec import nonces
from wnc_store_redis.transport.connection import Reply

_NONCES = nonces()
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

    @cached_property
    def stored(self) -> Keys:
        """The keys when the operations begin."""
        room, chat = self.before
        keys: Keys = {_CHAT: [to_wire(one, next(_NONCES)) for one in chat]} if chat else {}
        return keys if room is None else {**keys, _ROOM: to_wire(room), _INDEX: {ROOM.encode()}}

    @cached_property
    def cached(self) -> Keys:
        """The keys when the caches are filled."""
        room = self.before.room
        if self.cache != "stale" or room is None:
            return self.stored
        return {**self.stored, _ROOM: to_wire(room.model_copy(update={"rev": room.rev - 1, "video_url": "old"}))}


@dataclass
class World:
    """One run of a plan."""

    plan: Plan
    now: int = 0
    faults: int = 0
    time_was_lost: bool = False
    log: list[Choice] = field(default_factory=list[Choice])
    problems: list[str] = field(default_factory=list[str])

    def __post_init__(self) -> None:
        self.server = FakeServer()
        numbers = sorted({process for _, process in self.plan.operations})
        by_pool.clear()
        self.processes = [Process(number) for number in numbers]
        self.calls = [Call(operation, self.processes[number]) for operation, number in self.plan.operations]
        self._prepare()

    def _prepare(self) -> None:
        self._store(self.plan.cached)
        if self.plan.cache != "cold":
            for number, process in enumerate(self.processes):
                self.read(number)
                process.sent.clear()
        self._store(self.plan.stored)

    def _store(self, keys: Keys) -> None:
        self.server.keys = {key: copy(value) for key, value in keys.items()}

    def stored(self) -> tuple[bytes | None, list[bytes]]:
        """Return the stored room and chat without their nonces."""
        keys: Any = self.server.keys
        found = keys.get(_ROOM)
        return found and found.rstrip(), [entry.rstrip() for entry in keys.get(_CHAT, [])]

    def read(self, number: int) -> tuple[Room | None, list[ChatMessage]] | None:
        """Return the room and the chat that a process reads while nothing else runs, or None if it does not return."""
        process = self.processes[number]
        task = process.inside(lambda: process.loop.create_task(_read(process.store)))
        while not task.done():
            if process.loop.has_work:
                process.inside(process.loop.tick)
            elif process.link is not None and process.link.commands:
                self._answer(number, len(process.link.commands))
            else:
                self.problems.append("a read that runs alone does not return")
                return None
        while process.loop.has_work:
            process.inside(process.loop.tick)
        return task.result()

    def choices(self) -> list[Choice]:
        """Return the possible next steps, or nothing at the end of the run.

        While a process has ready callbacks, events that do not reach it make no difference. So only the events of this
        process are tried in between.
        """
        for number, process in enumerate(self.processes):
            if process.loop.has_work:
                return [("tick", number), *self._events(number, process)]
        found = [choice for number, process in enumerate(self.processes) for choice in self._events(number, process)]
        if not found and (self._has_callers() or any(one.is_committing for one in self.processes)):
            found = [("wait",)]
        return found

    def _has_callers(self) -> bool:
        return any(call.ended < 0 for call in self.calls)

    def _events(self, number: int, process: Process) -> list[Choice]:
        link = process.link
        under_way = len(link.commands) if link is not None else 0
        found: list[Choice] = [("answer", number, some) for some in sorted({1, under_way} if under_way else ())]
        idle = [place for place, call in enumerate(self.calls) if call.process is process and call.task is None]
        found += [("begin", place) for place in {self.calls[place].operation.name: place for place in idle}.values()]
        if self.faults < self.plan.faults and self._has_callers():
            found += self._faults(number, process, under_way)
        return found

    def _faults(self, number: int, process: Process, under_way: int) -> list[Choice]:
        found: list[Choice] = []
        if process.link is None and not process.refusals:
            found.append(("refuse", number))
        if process.link is not None and any(call.process is process and call.ended < 0 for call in self.calls):
            found += [("lose", number, ran) for ran in range(under_way + 1)]
            found.append(("lose_and_refuse", number, under_way))
        found += [
            ("cancel", place)
            for place, call in enumerate(self.calls)
            if call.process is process and call.waits and call.cancelled_after is None
        ]
        if under_way and not process.loop.has_work:
            found.append(("silence", number))
        return found

    def take(self, choice: Choice) -> None:
        """Take a step."""
        name, *arguments = choice
        self.now += 1
        self.log.append(choice)
        try:
            getattr(self, f"_{name}")(*arguments)
        except Exception as error:  # noqa: BLE001 - a real event loop would log it
            self.problems.append(f"{choice} raised {error!r}")
        for call in self.calls:
            if call.waits and call.task is not None and call.task.done():
                call.ended = self.now
                call.outcome = _outcome(call.task)
        if self.now == _LONGEST:
            self._give_up("the run does not terminate")

    def _tick(self, number: int) -> None:
        process = self.processes[number]
        process.inside(process.loop.tick)

    def _begin(self, place: int) -> None:
        call = self.calls[place]
        call.began = self.now
        call.before_it = call.process.submitted()
        call.task = call.process.inside(lambda: call.process.loop.create_task(_awaited(call)))

    def _answer(self, number: int, some: int) -> None:
        process = self.processes[number]
        assert process.link is not None
        replies = [self._execute(process.link.commands.popleft()) for _ in range(some)]
        process.inside(partial(process.link.on_replies, replies))

    def _lose(self, number: int, ran: int) -> None:
        self.faults += 1
        process = self.processes[number]
        link = process.link
        assert link is not None
        process.unanswered += link.commands
        for _ in range(ran):
            self._execute(link.commands.popleft())
        process.inside(partial(link.on_lost, ConnectionResetError()))

    def _lose_and_refuse(self, number: int, ran: int) -> None:
        self._refuse_next(number)
        self._lose(number, ran)

    def _refuse(self, number: int) -> None:
        self.faults += 1
        self._refuse_next(number)

    def _refuse_next(self, number: int) -> None:
        process = self.processes[number]
        process.refusals += 1
        process.was_refused = True

    def _cancel(self, place: int) -> None:
        self.faults += 1
        call = self.calls[place]
        assert call.task is not None
        call.cancelled_after = call.process.submitted()
        call.process.inside(call.task.cancel)

    def _silence(self, number: int) -> None:
        self.faults += 1
        self.time_was_lost = True
        process = self.processes[number]
        assert process.link is not None
        process.unanswered += process.link.commands
        self._advance([process])

    def _wait(self) -> None:
        self._advance(self.processes)

    def _advance(self, processes: Sequence[Process]) -> None:
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


async def _read(store: RedisStore) -> tuple[Room | None, list[ChatMessage]]:
    return await store.rooms.get_room(ROOM), await store.chat.get_messages(ROOM)


async def _awaited(call: Call) -> Any:
    return await call.operation.call(call.process.store)


def _outcome(task: asyncio.Task[Any]) -> Any:
    if task.cancelled():
        return asyncio.CancelledError()
    return task.exception() or task.result()
