"""The state machine without its rules: a store, the model, and checks that both agree."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from contextvars import copy_context
from datetime import timedelta
from typing import TypeVar, cast

import pytest
from hypothesis.stateful import RuleBasedStateMachine, invariant

from wnc_store import AppEvent, RateLimitDecision, Room, RoomEvent, RoomNotFoundError, Store
from wnc_store_contract.clause import PATIENCE, TIME_LIMIT
from wnc_store_contract.harness import Capability, Harness
from wnc_store_contract.model import Json, Model, ModelRoom, json_of, replay

T = TypeVar("T")
LEASE = WINDOW = 6 * 3600
MAX_HITS = 8

_ABSENT = object()


class CheckedMachine(RuleBasedStateMachine):
    """A machine that compares the store with the model after every step."""

    empty_room_ttl: int | None = None
    """The setting in seconds."""

    def __init__(self, harness: Harness, runner: asyncio.Runner, tolerance: timedelta) -> None:
        super().__init__()
        self.harness, self.runner, self.tolerance = harness, runner, tolerance
        self.context = copy_context()
        self.capabilities = harness.capabilities
        self.stack = AsyncExitStack()
        self.model = Model(self.empty_room_ttl)
        self.steps: list[str] = []
        self.stores = [self._open() for _ in range(2 if Capability.SHARED in self.capabilities else 1)]
        self.streams: Mapping[str, AsyncIterator[RoomEvent]] = {}
        if Capability.EVENTS in self.capabilities:
            subscribe = self.stores[0].events.subscribe
            self.streams = {key: self.run(self.stack.enter_async_context(subscribe(key))) for key in ("A", "B")}

    def _open(self) -> Store:
        limits: Json = {"connection_ttl": LEASE, "rate_limit_window": WINDOW, "rate_limit_max": MAX_HITS}
        if self.empty_room_ttl is not None:
            limits["empty_room_ttl"] = self.empty_room_ttl
        store = self.harness.open_store(publish_changes=Capability.EVENTS in self.capabilities, **limits)
        return self.run(self.stack.enter_async_context(store))

    @property
    def store(self) -> Store:
        """The client that makes the current step. Two clients take turns."""
        return self.stores[len(self.steps) % len(self.stores)]

    @property
    def reader(self) -> Store:
        """The client that reads after the current step."""
        return self.stores[(len(self.steps) + 1) % len(self.stores)]

    def run(self, operation: Awaitable[T]) -> T:
        """Run an operation with a time limit."""
        __tracebackhide__ = True

        async def wait() -> T:
            async with asyncio.timeout(TIME_LIMIT):
                return await operation

        # Runner.run replaces the signal handler in each call, which is slow.
        loop = self.runner.get_loop()
        return loop.run_until_complete(loop.create_task(wait(), context=self.context))

    def teardown(self) -> None:
        """Close the store and remove the data."""
        self.run(self.stack.aclose())
        self.run(self.harness.aclose())

    def step(self, text: str) -> None:
        """Record a step for the message of a failure."""
        self.steps.append(text)

    def equal(self, what: str, actual: object, expected: object) -> None:
        """Assert that a value is the one of the model. Of two JSON objects, the message shows what differs."""
        if actual == expected:
            return
        if isinstance(actual, dict) and isinstance(expected, dict):
            found, wanted = cast("Json", actual), cast("Json", expected)
            names = [name for name in {**wanted, **found} if found.get(name, _ABSENT) != wanted.get(name, _ABSENT)]
            actual, expected = ({name: side[name] for name in names if name in side} for side in (found, wanted))
        self.fail(f"{what}: expected {expected!r}, got {actual!r}")

    def fail(self, problem: str) -> None:
        """Fail with the steps that led to a problem."""
        steps = "".join(f"\n  {number}. {step}" for number, step in enumerate(self.steps, start=1))
        pytest.fail(f"{problem}\nafter these steps:{steps}", pytrace=False)

    def expect(self, error: type[Exception], operation: Awaitable[object]) -> None:
        """Assert that an operation raises an error, and that it publishes nothing."""
        try:
            result = self.run(operation)
        except error:
            return
        self.fail(f"expected {error.__name__}, got {result!r}")

    def check_ttl(self, what: str, actual: timedelta | None, expires: int | None) -> None:
        """Assert that a TTL ends when the model's does."""
        rest = None if expires is None else timedelta(seconds=expires - self.model.now)
        is_equal = actual is rest if actual is None or rest is None else rest - self.tolerance <= actual <= rest
        if not is_equal:
            self.fail(f"{what}: expected {rest}, got {actual}")

    def check(self, room_id: str, actual: Room | None) -> None:
        """Assert that a room that an operation returned equals the model's."""
        expected = self.model.rooms.get(room_id)
        found = None if actual is None else json_of(actual)
        if found and expected and expected.value["videoState"]["lastUpdateTime"] is None:
            # The store has set it to the current time, which the model does not know.
            expected.value["videoState"]["lastUpdateTime"] = found["videoState"]["lastUpdateTime"]
        if found and expected:
            expected.learn_token(found)
        self.equal(f"room {room_id}", found, expected and expected.value)

    def received(self, room_id: str) -> Sequence[Json]:
        """Return the events of a room since the last call."""

        async def drain() -> Sequence[Json]:
            last = AppEvent(room_id=room_id, name="last", value=len(self.steps))
            await self.stores[-1].events.publish(room_id, last)
            events: list[Json] = []
            async with asyncio.timeout(PATIENCE):
                while (event := await anext(self.streams[room_id])) != last:
                    events.append(json_of(event))
            return events

        return self.run(drain()) if self.streams else []

    def check_events(self, room_id: str, before: Json | None) -> None:
        """Assert that the events of a write describe its change, all with the new revision.

        Args:
            room_id: The id of the room.
            before: The room before the write. None if there was none.
        """
        if not self.streams:
            return
        events, room = self.received(room_id), self.model.rooms.get(room_id)
        if before is None and room is not None:
            self.equal("events", events, [{"type": "roomChanged", "roomId": room_id}])
        elif before is not None and room is None:
            self.equal("events", [event["type"] for event in events], ["roomClosed"])
        elif before is None or room is None or before == room.value:
            self.equal("events", events, [])
        else:
            revisions = {event.get("rev") for event in events}
            self.equal("revisions of the events", revisions, {room.value["rev"]})
            replayed = replay(before, events)
            if replayed is not None:
                self.equal(f"room {room_id}, reconstructed from {events}", replayed, room.value)

    def before(self, room_id: str) -> Json | None:
        """Return a copy of a room of the model."""
        room = self.model.rooms.get(room_id)
        return None if room is None else json.loads(json.dumps(room.value))

    def update(self, room_id: str, operation: Awaitable[Room | None], change: Callable[[ModelRoom], object]) -> None:
        """Run an operation that updates a room, and check its result and events."""
        before, expected = self.before(room_id), self.model.write(room_id)
        if expected is None:
            self.expect(RoomNotFoundError, operation)
        else:
            waited = expected.waits
            change(expected)
            self.model.settle(room_id, waited=waited)
            actual = self.run(operation)
            if actual is not None:  # update_room returns nothing
                self.check(room_id, actual)
        self.check_events(room_id, before)

    def check_decision(self, key: str, decision: RateLimitDecision, *, allowed: bool) -> None:
        """Assert that a decision is the model's."""
        count, expires = self.model.hits.get(key, (0, self.model.now))
        found, rest = (decision.allowed, decision.limit, decision.remaining), expires - self.model.now
        self.equal(f"the decision about {key}", found, (allowed, MAX_HITS, max(0, MAX_HITS - count)))
        self.check_ttl(f"reset_after of {key}", decision.reset_after, self.model.now + rest)
        self.check_ttl(f"retry_after of {key}", decision.retry_after, self.model.now + (0 if allowed else rest))

    @invariant()
    def everything_agrees(self) -> None:
        """Assert that everything that can be read is the model's, and that no more events were received."""
        for key in ("A", "B"):
            self.check_room(key)
            if Capability.CHAT in self.capabilities:
                self.check_chat(key)
            if Capability.CONNECTIONS in self.capabilities:
                count = self.run(self.reader.connections.count(key))
                self.equal(f"connections of {key}", count, len(self.model.leases[key]))
            if Capability.RATE_LIMITS in self.capabilities:
                decision = self.run(self.reader.rate_limits.peek(key))
                self.check_decision(key, decision, allowed=self.model.count(key) < MAX_HITS)
            self.equal(f"unexpected events of {key}", self.received(key), [])
        if Capability.LISTING in self.capabilities:
            self.check_listing()
        for room_id, found in zip(("B", "A", "B"), self.run(self.reader.rooms.get_rooms(["B", "A", "B"])), strict=True):
            self.check(room_id, found)

    def check_room(self, room_id: str) -> None:
        """Assert that a room, its existence and its TTL are the model's."""

        async def read() -> tuple[Room | None, bool, timedelta | None]:
            rooms = self.reader.rooms
            return await rooms.get_room(room_id), await rooms.room_exists(room_id), await rooms.room_ttl(room_id)

        (found, exists, ttl), expected = self.run(read()), self.model.rooms.get(room_id)
        self.check(room_id, found)
        self.equal(f"room_exists of {room_id}", exists, expected is not None)
        self.check_ttl(f"room_ttl of {room_id}", ttl, None if expected is None else expected.expires)

    def check_chat(self, room_id: str) -> None:
        """Assert that a chat and its TTL are the model's."""

        async def read() -> tuple[list[Json], timedelta | None]:
            messages = [json_of(entry) for entry in await self.reader.chat.get_messages(room_id)]
            return messages, await self.reader.chat.chat_ttl(room_id)

        (messages, ttl), expected = self.run(read()), self.model.chats.get(room_id)
        self.equal(f"messages of {room_id}", messages, self.model.messages(room_id))
        self.check_ttl(f"chat_ttl of {room_id}", ttl, None if expected is None else expected[1])

    def check_listing(self) -> None:
        """Assert that the listed rooms are the model's.

        The listing of ids and that of rooms take turns of two steps, one for each client: a listing of a cluster reads
        many partitions.
        """

        async def ids() -> list[str]:
            return sorted([room_id async for room_id in self.reader.rooms.active_room_ids()])

        async def rooms() -> list[str]:
            return sorted([one.id async for one in self.reader.rooms.active_rooms()])

        what, listing = ("listed", ids()) if len(self.steps) // 2 % 2 else ("active", rooms())
        self.equal(f"the {what} rooms", self.run(listing), sorted(self.model.rooms))
