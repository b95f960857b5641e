"""A Hypothesis state machine that compares a store with a simple model.

The model does not use `wnc_store.rules`, so that an error in a rule is not repeated in the model.
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
from wnc_store_contract.clause import TIME_LIMIT, HasHarness, as_clause, make_harness, require
from wnc_store_contract.factories import message, room, user
from wnc_store_contract.harness import Capability, Harness

T = TypeVar("T")
HOUR, DAY, HISTORY_LIMIT = 3600, 86400, 20

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
    print_blob=False,  # not needed to reproduce a failure, because the run is derandomized
    phases=[Phase.generate, Phase.shrink],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large],
)


@dataclass
class ModelRoom:
    """The expected state of a room."""

    users: list[str]
    host: str
    hosts: set[str]
    expires: int
    rev: int = 1
    position: float = 12.5
    video: str | None = None


@dataclass
class Model:
    """The expected state of the store."""

    now: int = 0
    rooms: dict[str, ModelRoom] = field(default_factory=dict[str, ModelRoom])
    chats: dict[str, tuple[list[str], int]] = field(default_factory=dict[str, tuple[list[str], int]])

    def write(self, room_id: str) -> ModelRoom | None:
        """Count a write of a room, if it is live, and return the room."""
        room = self.rooms.get(room_id)
        if room:
            room.rev += 1
            room.expires = self.now + DAY
        return room

    def delete(self, room_id: str) -> bool:
        """Delete a room and its chat."""
        self.chats.pop(room_id, None)
        return self.rooms.pop(room_id, None) is not None

    def advance(self, seconds: int) -> None:
        """Advance the time and delete expired rooms and chats."""
        self.now += seconds
        self.rooms = {room_id: room for room_id, room in self.rooms.items() if room.expires > self.now}
        self.chats = {room_id: chat for room_id, chat in self.chats.items() if chat[1] > self.now}


def a_room_exists(machine: StoreMachine) -> bool:
    """Return whether any room exists: the machine should not spend its steps on missing rooms only."""
    return bool(machine.model.rooms)


class StoreMachine(RuleBasedStateMachine):
    """Operations that run on both the store and the model."""

    def __init__(self, harness: Harness, runner: asyncio.Runner) -> None:
        super().__init__()
        self.harness = harness
        self.runner = runner
        self.stack = AsyncExitStack()
        self.model = Model()
        self.messages = 0
        self.store: Store = self.run(self.stack.enter_async_context(harness.open_store()))

    def run(self, operation: Awaitable[T]) -> T:
        """Run an operation with a time limit."""
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
        """Assert that an operation raises an error."""
        with pytest.raises(error):
            self.run(operation)

    def check(self, room_id: str, actual: Room | None) -> None:
        """Assert that a room that an operation returned equals the model's."""
        expected = self.model.rooms.get(room_id)
        assert (actual is None) == (expected is None)
        if actual and expected:
            assert [user.id for user in actual.users] == expected.users
            assert {user.id for user in actual.users if user.is_host} == expected.hosts
            assert (actual.host_id, actual.host_name) == (expected.host, f"Name of {expected.host}")
            assert actual.rev == expected.rev
            assert actual.video_state.current_time == expected.position
            assert actual.video_url == expected.video

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

    @precondition(a_room_exists)
    @rule(room_id=ROOMS, user_id=USERS)
    def join(self, room_id: str, user_id: str) -> None:
        operation = self.store.rooms.add_user_to_room(room_id, user(user_id))
        expected = self.model.write(room_id)
        if expected is None:
            self.expect(RoomNotFoundError, operation)
            return
        expected.users = [*(other for other in expected.users if other != user_id), user_id]
        expected.hosts -= {user_id}
        expected.hosts |= {user_id} & {expected.host}
        self.check(room_id, self.run(operation))

    @precondition(a_room_exists)
    @rule(room_id=ROOMS, user_id=USERS)
    def leave(self, room_id: str, user_id: str) -> None:
        expected = self.model.rooms.get(room_id)
        if expected and user_id in expected.users:
            self.model.write(room_id)
            expected.users.remove(user_id)
            expected.hosts.discard(user_id)
            if not expected.users:
                self.model.delete(room_id)
            elif expected.host == user_id:
                expected.host = expected.users[0]
                expected.hosts.add(expected.host)
        self.check(room_id, self.run(self.store.rooms.remove_user_from_room(room_id, user_id)))

    @precondition(a_room_exists)
    @rule(room_id=ROOMS)
    def leave_as_host(self, room_id: str) -> None:
        if room_id in self.model.rooms:
            self.leave(room_id, self.model.rooms[room_id].host)

    @precondition(a_room_exists)
    @rule(room_id=ROOMS)
    def all_users_leave(self, room_id: str) -> None:
        # Single leaves rarely empty a room, because users join as often as they leave.
        if room_id in self.model.rooms:
            for user_id in tuple(self.model.rooms[room_id].users):
                self.leave(room_id, user_id)

    @precondition(a_room_exists)
    @rule(room_id=ROOMS, user_id=USERS)
    def transfer(self, room_id: str, user_id: str) -> None:
        operation = self.store.rooms.transfer_host(room_id, user_id)
        expected = self.model.rooms.get(room_id)
        if expected is None:
            self.expect(RoomNotFoundError, operation)
        elif user_id not in expected.users:
            self.expect(UserNotFoundError, operation)
        else:
            self.model.write(room_id)
            expected.hosts.discard(expected.host)
            expected.hosts.add(user_id)
            expected.host = user_id
            self.check(room_id, self.run(operation))

    @precondition(a_room_exists)
    @rule(room_id=ROOMS, position=st.integers(0, 1000))
    def seek(self, room_id: str, position: int) -> None:
        operation = self.store.rooms.update_video_state(room_id, VideoState(current_time=position))
        expected = self.model.write(room_id)
        if expected is None:
            self.expect(RoomNotFoundError, operation)
            return
        expected.position = position
        self.check(room_id, self.run(operation))

    @precondition(a_room_exists)
    @rule(room_id=ROOMS)
    def set_video(self, room_id: str) -> None:
        operation = self.store.rooms.set_video_url(room_id, "https://video.example/1")
        expected = self.model.write(room_id)
        if expected is None:
            self.expect(RoomNotFoundError, operation)
            return
        expected.position, expected.video = 0, "https://video.example/1"
        self.check(room_id, self.run(operation))

    @precondition(a_room_exists)
    @rule(room_id=ROOMS, position=st.integers(0, 1000))
    def edit(self, room_id: str, position: int) -> None:
        def change(expected: Room) -> Room:
            return expected.model_copy(update={"video_state": VideoState(current_time=position)})

        operation = self.store.rooms.edit_room(room_id, change)
        expected = self.model.write(room_id)
        if expected is None:
            self.expect(RoomNotFoundError, operation)
            return
        expected.position = position
        self.check(room_id, self.run(operation))

    @precondition(a_room_exists)
    @rule(room_id=ROOMS, party=PARTIES)
    def replace(self, room_id: str, party: list[str]) -> None:
        operation = self.store.rooms.update_room(room_id, room(room_id, *party))
        expected = self.model.write(room_id)
        if expected is None:
            self.expect(RoomNotFoundError, operation)
            return
        self.run(operation)
        self.model.rooms[room_id] = ModelRoom(party, party[0], {party[0]}, expected.expires, expected.rev)

    @precondition(a_room_exists)
    @rule(room_id=ROOMS)
    def delete(self, room_id: str) -> None:
        assert self.run(self.store.rooms.delete_room(room_id)) is self.model.delete(room_id)

    @rule(room_id=ROOMS, count=st.integers(1, 15))
    def add_messages(self, room_id: str, count: int) -> None:
        for _ in range(count):
            self.messages += 1
            self._add_message(room_id, self.messages)

    @rule(room_id=ROOMS, back=st.integers(0, 25))
    def repeat_message(self, room_id: str, back: int) -> None:
        self._add_message(room_id, max(0, self.messages - back))

    def _add_message(self, room_id: str, number: int) -> None:
        self.run(self.store.chat.add_message(message(number, room_id)))
        stored, _ = self.model.chats.get(room_id, ([], 0))
        if f"m{number}" not in stored:
            self.model.chats[room_id] = ([*stored, f"m{number}"][-HISTORY_LIMIT:], self.model.now + DAY)

    @rule(room_id=ROOMS)
    def clear_chat(self, room_id: str) -> None:
        self.run(self.store.chat.clear_messages(room_id))
        self.model.chats.pop(room_id, None)

    @rule(hours=HOURS)
    def wait(self, hours: int) -> None:
        # Whole hours, because on a real server some real time passes while the machine runs.
        self.run(self.harness.advance(hours * HOUR))
        self.model.advance(hours * HOUR)

    @precondition(a_room_exists)
    @rule()
    def a_day_passes(self) -> None:
        self.wait(24)

    @rule()
    def sweep(self) -> None:
        self.run(self.store.rooms.sweep_active_rooms())

    @invariant()
    def rooms_and_chats_agree(self) -> None:
        async def read() -> tuple[list[str], dict[str, list[str]]]:
            listed = sorted([room_id async for room_id in self.store.rooms.active_room_ids()])
            chats = {name: [sent.id for sent in await self.store.chat.get_messages(name)] for name in ("A", "B")}
            return listed, chats

        listed, chats = self.run(read())
        assert listed == sorted(self.model.rooms)
        assert chats == {name: self.model.chats.get(name, ([], 0))[0] for name in ("A", "B")}


def _any_sequence(case: HasHarness) -> None:
    """Any sequence of operations has the same results on the store and on a simple model."""

    async def new_harness() -> Harness:  # in the event loop, as in every other clause
        return make_harness(case)

    with asyncio.Runner() as runner:
        harness = runner.run(new_harness())
        try:
            require(harness, NEEDS)
        finally:
            runner.run(harness.aclose())

        def machine() -> StoreMachine:
            return StoreMachine(runner.run(new_harness()), runner)

        # Hypothesis documents that it accepts any callable that returns a machine; its type hint is narrower.
        run_state_machine_as_test(cast("Any", machine), settings=SETTINGS)


class StateMachineClauses:
    """The clause that runs the state machine."""

    test_any_sequence_of_operations = as_clause("test_any_sequence_of_operations", _any_sequence, _any_sequence, NEEDS)
