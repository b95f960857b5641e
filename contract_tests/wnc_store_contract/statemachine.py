"""A Hypothesis state machine: any sequence of operations does what a plain model says.

The model is dicts and lists, written apart from `wnc_store.rules` on purpose: an error in a rule must not be in both.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any, TypeVar, cast

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from wnc_store import Room, RoomExistsError, RoomNotFoundError, Store, UserNotFoundError, VideoState
from wnc_store_contract.clause import TIME_LIMIT, HasHarness, as_clause, skip_without
from wnc_store_contract.factories import message, room, user
from wnc_store_contract.harness import Capability, Harness

T = TypeVar("T")
HOUR, DAY, KEPT = 3600, 86400, 20

ROOMS = st.sampled_from(["A", "B"])
USERS = st.sampled_from(["u1", "u2", "u3", "u4"])
PARTIES = st.lists(USERS, min_size=1, max_size=4, unique=True)
HOURS = st.sampled_from([1, 6, 23])

NEEDS = frozenset({Capability.CHAT, Capability.LISTING})
SETTINGS = settings(
    max_examples=50,
    stateful_step_count=40,
    deadline=None,
    database=None,
    derandomize=True,
    print_blob=False,  # it is printed where CI is set, and is of no use: the same steps come again by themselves
    phases=[Phase.generate, Phase.shrink],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large],
)


@dataclass
class ModelRoom:
    """What the model knows of a room."""

    users: list[str]
    host: str
    hosts: set[str]
    ends: int
    rev: int = 1
    position: float = 12.5
    video: str | None = None


@dataclass
class Model:
    """What the model knows of the store."""

    now: int = 0
    rooms: dict[str, ModelRoom] = field(default_factory=dict[str, ModelRoom])
    chats: dict[str, tuple[list[str], int]] = field(default_factory=dict[str, tuple[list[str], int]])

    def write(self, room_id: str) -> ModelRoom | None:
        """Return a live room that is about to be written to."""
        found = self.rooms.get(room_id)
        if found:
            found.rev += 1
            found.ends = self.now + DAY
        return found

    def delete(self, room_id: str) -> bool:
        """Forget a room and its chat."""
        self.chats.pop(room_id, None)
        return self.rooms.pop(room_id, None) is not None

    def advance(self, seconds: int) -> None:
        """Forget what has expired."""
        self.now += seconds
        self.rooms = {name: one for name, one in self.rooms.items() if one.ends > self.now}
        self.chats = {name: one for name, one in self.chats.items() if one[1] > self.now}


def some_room_lives(machine: StoreMachine) -> bool:
    """Keep the machine from spending its steps on rooms that are not there; when one lives, the other may not."""
    return bool(machine.model.rooms)


class StoreMachine(RuleBasedStateMachine):
    """Operations on a store and on the model, side by side."""

    def __init__(self, harness: Harness, runner: asyncio.Runner) -> None:
        super().__init__()
        self.harness = harness
        self.runner = runner
        self.stack = AsyncExitStack()
        self.model = Model()
        self.messages = 0
        self.store: Store = self.run(self.stack.enter_async_context(harness.open_store()))

    def run(self, operation: Awaitable[T]) -> T:
        """Wait for an operation."""
        __tracebackhide__ = True

        async def wait() -> T:
            async with asyncio.timeout(TIME_LIMIT):
                return await operation

        return self.runner.run(wait())

    def teardown(self) -> None:
        """Close the store and remove the data."""
        self.run(self.stack.aclose())
        self.run(self.harness.aclose())

    def expect(self, error: type[Exception], operation: Awaitable[object]) -> None:
        """Check that an operation raises."""
        with pytest.raises(error):
            self.run(operation)

    def check(self, room_id: str, found: Room | None) -> None:
        """Check a room that an operation returned."""
        expected = self.model.rooms.get(room_id)
        assert (found is None) == (expected is None)
        if found and expected:
            assert [one.id for one in found.users] == expected.users
            assert {one.id for one in found.users if one.is_host} == expected.hosts
            assert (found.host_id, found.host_name) == (expected.host, f"Name of {expected.host}")
            assert found.rev == expected.rev
            assert found.video_state.current_time == expected.position
            assert found.video_url == expected.video

    @initialize()
    def begin(self) -> None:
        for room_id in ("A", "B"):
            self.create(room_id, ["u1", "u2", "u3", "u4"])

    @rule(room_id=ROOMS, party=PARTIES)
    def create(self, room_id: str, party: list[str]) -> None:
        operation = self.store.rooms.create_room(room(room_id, *party))
        if room_id in self.model.rooms:
            self.expect(RoomExistsError, operation)
        else:
            self.run(operation)
            self.model.delete(room_id)
            self.model.rooms[room_id] = ModelRoom(party, party[0], {party[0]}, self.model.now + DAY)

    @rule(room_id=ROOMS)
    def get(self, room_id: str) -> None:
        self.check(room_id, self.run(self.store.rooms.get_room(room_id)))

    @precondition(some_room_lives)
    @rule(room_id=ROOMS, user_id=USERS)
    def join(self, room_id: str, user_id: str) -> None:
        operation = self.store.rooms.add_user_to_room(room_id, user(user_id))
        found = self.model.write(room_id)
        if found is None:
            self.expect(RoomNotFoundError, operation)
            return
        found.users = [*(one for one in found.users if one != user_id), user_id]
        found.hosts.discard(user_id)
        self.check(room_id, self.run(operation))

    @precondition(some_room_lives)
    @rule(room_id=ROOMS, user_id=USERS)
    def leave(self, room_id: str, user_id: str) -> None:
        found = self.model.rooms.get(room_id)
        if found and user_id in found.users:
            self.model.write(room_id)
            found.users.remove(user_id)
            found.hosts.discard(user_id)
            if not found.users:
                self.model.delete(room_id)
            elif found.host == user_id:
                found.host = found.users[0]
                found.hosts.add(found.host)
        self.check(room_id, self.run(self.store.rooms.remove_user_from_room(room_id, user_id)))

    @precondition(some_room_lives)
    @rule(room_id=ROOMS)
    def leave_as_host(self, room_id: str) -> None:
        if room_id in self.model.rooms:
            self.leave(room_id, self.model.rooms[room_id].host)

    @precondition(some_room_lives)
    @rule(room_id=ROOMS)
    def everybody_leaves(self, room_id: str) -> None:
        # By single leaves alone a room is hardly ever emptied: users join as often as they leave.
        if room_id in self.model.rooms:
            for user_id in tuple(self.model.rooms[room_id].users):
                self.leave(room_id, user_id)

    @precondition(some_room_lives)
    @rule(room_id=ROOMS, user_id=USERS)
    def transfer(self, room_id: str, user_id: str) -> None:
        operation = self.store.rooms.transfer_host(room_id, user_id)
        found = self.model.rooms.get(room_id)
        if found is None:
            self.expect(RoomNotFoundError, operation)
        elif user_id not in found.users:
            self.expect(UserNotFoundError, operation)
        else:
            self.model.write(room_id)
            found.hosts.discard(found.host)
            found.hosts.add(user_id)
            found.host = user_id
            self.check(room_id, self.run(operation))

    @precondition(some_room_lives)
    @rule(room_id=ROOMS, position=st.integers(0, 1000))
    def seek(self, room_id: str, position: int) -> None:
        operation = self.store.rooms.update_video_state(room_id, VideoState(current_time=position))
        found = self.model.write(room_id)
        if found is None:
            self.expect(RoomNotFoundError, operation)
            return
        found.position = position
        self.check(room_id, self.run(operation))

    @precondition(some_room_lives)
    @rule(room_id=ROOMS)
    def choose_video(self, room_id: str) -> None:
        operation = self.store.rooms.set_video_url(room_id, "https://video.example/1")
        found = self.model.write(room_id)
        if found is None:
            self.expect(RoomNotFoundError, operation)
            return
        found.position, found.video = 0, "https://video.example/1"
        self.check(room_id, self.run(operation))

    @precondition(some_room_lives)
    @rule(room_id=ROOMS, position=st.integers(0, 1000))
    def edit(self, room_id: str, position: int) -> None:
        def change(found: Room) -> Room:
            return found.model_copy(update={"video_state": VideoState(current_time=position)})

        operation = self.store.rooms.edit_room(room_id, change)
        found = self.model.write(room_id)
        if found is None:
            self.expect(RoomNotFoundError, operation)
            return
        found.position = position
        self.check(room_id, self.run(operation))

    @precondition(some_room_lives)
    @rule(room_id=ROOMS, party=PARTIES)
    def replace(self, room_id: str, party: list[str]) -> None:
        operation = self.store.rooms.update_room(room_id, room(room_id, *party))
        found = self.model.write(room_id)
        if found is None:
            self.expect(RoomNotFoundError, operation)
            return
        self.run(operation)
        self.model.rooms[room_id] = ModelRoom(party, party[0], {party[0]}, found.ends, found.rev)

    @precondition(some_room_lives)
    @rule(room_id=ROOMS)
    def delete(self, room_id: str) -> None:
        assert self.run(self.store.rooms.delete_room(room_id)) is self.model.delete(room_id)

    @rule(room_id=ROOMS, count=st.integers(1, 15))
    def say(self, room_id: str, count: int) -> None:
        for _ in range(count):
            self.messages += 1
            self._say(room_id, self.messages)

    @rule(room_id=ROOMS, back=st.integers(0, 25))
    def repeat(self, room_id: str, back: int) -> None:
        self._say(room_id, max(0, self.messages - back))

    def _say(self, room_id: str, number: int) -> None:
        self.run(self.store.chat.add_message(message(number, room_id)))
        kept, _ = self.model.chats.get(room_id, ([], 0))
        if f"m{number}" not in kept:
            self.model.chats[room_id] = ([*kept, f"m{number}"][-KEPT:], self.model.now + DAY)

    @rule(room_id=ROOMS)
    def clear(self, room_id: str) -> None:
        self.run(self.store.chat.clear_messages(room_id))
        self.model.chats.pop(room_id, None)

    @rule(hours=HOURS)
    def wait(self, hours: int) -> None:
        # An hour is far more than the time that passes by itself on a real server while the machine runs.
        self.run(self.harness.advance(hours * HOUR))
        self.model.advance(hours * HOUR)

    @precondition(some_room_lives)
    @rule()
    def a_day_passes(self) -> None:
        self.wait(24)

    @rule()
    def sweep(self) -> None:
        self.run(self.store.rooms.sweep_active_rooms())

    @invariant()
    def rooms_and_chats_agree(self) -> None:
        async def look() -> tuple[list[str], dict[str, list[str]]]:
            listed = sorted([room_id async for room_id in self.store.rooms.active_room_ids()])
            chats = {name: [one.id for one in await self.store.chat.get_messages(name)] for name in ("A", "B")}
            return listed, chats

        listed, chats = self.run(look())
        assert listed == sorted(self.model.rooms)
        assert chats == {name: self.model.chats.get(name, ([], 0))[0] for name in ("A", "B")}


def _any_sequence(case: HasHarness) -> None:
    """Any sequence of operations does what a plain model of the rules says."""

    async def make_harness() -> Harness:  # in the event loop, as for every other clause
        return case.make_harness()

    with asyncio.Runner() as runner:
        harness = runner.run(make_harness())
        try:
            skip_without(harness, NEEDS)
        finally:
            runner.run(harness.aclose())

        def machine() -> StoreMachine:
            return StoreMachine(runner.run(make_harness()), runner)

        # Any callable that returns a machine will do, says Hypothesis' documentation; its type says less.
        run_state_machine_as_test(cast("Any", machine), settings=SETTINGS)


class StateMachineClauses:
    """Everything at once."""

    test_any_sequence_of_operations = as_clause("test_any_sequence_of_operations", _any_sequence, _any_sequence, NEEDS)
