"""A Hypothesis state machine that compares everything that a store returns with a simple model."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any, cast

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)

from wnc_store import (
    LimitExceededError,
    Room,
    RoomExistsError,
    RoomNotFoundError,
    UserNotFoundError,
    VideoState,
)
from wnc_store_contract.clause import HasHarness, as_clause, make_harness
from wnc_store_contract.factories import message, room, user
from wnc_store_contract.harness import Capability, Harness
from wnc_store_contract.machine import LEASE, MAX_HITS, WINDOW, CheckedMachine
from wnc_store_contract.model import DAY, HISTORY_LIMIT, Json, ModelRoom, json_of

HOUR = 3600

ROOMS = st.sampled_from(["A", "B"])
USERS = st.sampled_from(["u1", "u2", "u3", "u4"])
PARTIES = st.lists(USERS, min_size=1, max_size=4, unique=True)
HOURS = st.sampled_from([1, 6, 23])
CONNECTIONS = st.sampled_from(["c1", "c2", "c3"])
EXTRAS = st.sampled_from([{}, {"avatar": "cat"}, {"avatar": None, "tags": [1, 1.5, None]}])

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


def has(capability: Capability) -> Callable[[StoreMachine], bool]:
    """Return a precondition: the backend has a capability."""
    return lambda machine: capability in machine.capabilities


def a_room_exists(machine: StoreMachine) -> bool:
    """Return whether any room exists: the machine should not spend its steps on missing rooms only."""
    return bool(machine.model.rooms)


class StoreMachine(CheckedMachine):
    """Operations that run on both the store and the model."""

    message_count = 0

    @initialize()
    def begin(self) -> None:
        for room_id in ("A", "B"):
            self.create(room_id, ["u1", "u2", "u3", "u4"], {})

    @rule(room_id=ROOMS, party=PARTIES, extra=EXTRAS)
    def create(self, room_id: str, party: list[str], extra: Json) -> None:
        self.step(f"create_room {room_id} with {party} and {extra}")
        before, made = self.before(room_id), room(room_id, *party).with_extra(extra)
        operation = self.store.rooms.create_room(made)
        if before is not None:
            self.expect(RoomExistsError, operation)
        else:
            self.run(operation)
            self.model.delete(room_id)
            self.model.rooms[room_id] = ModelRoom({**json_of(made), "rev": 1}, self.model.now + DAY)
            self.model.expired.discard(room_id)
        self.check_events(room_id, before)

    @precondition(a_room_exists)
    @rule(room_id=ROOMS, user_id=USERS, extra=EXTRAS)
    def join(self, room_id: str, user_id: str, extra: Json) -> None:
        self.step(f"add_user_to_room {room_id} {user_id} with {extra}")
        joining = user(user_id, name=f"Name of {user_id}{len(extra) or ''}").with_extra(extra)

        def change(expected: ModelRoom) -> None:
            former = expected.user(user_id)
            carried = {name: former[name] for name in ("avatar", "tags") if name in former} if former else {}
            others = [member for member in expected.users if member["id"] != user_id]
            is_host = user_id == expected.value["hostId"]
            expected.value["users"] = [*others, {**carried, **json_of(joining), "isHost": is_host}]

        self.update(room_id, self.store.rooms.add_user_to_room(room_id, joining), change)

    @precondition(a_room_exists)
    @rule(room_id=ROOMS, user_id=USERS)
    def leave(self, room_id: str, user_id: str) -> None:
        self.step(f"remove_user_from_room {room_id} {user_id}")
        before, expected = self.before(room_id), self.model.rooms.get(room_id)
        if expected and (leaving := expected.user(user_id)):
            self.model.write(room_id)
            expected.users.remove(leaving)
            if not expected.users:
                self.model.delete(room_id)
            elif expected.value["hostId"] == user_id:
                expected.make_host(expected.users[0])
        self.check(room_id, self.run(self.store.rooms.remove_user_from_room(room_id, user_id)))
        self.check_events(room_id, before)

    @precondition(a_room_exists)
    @rule(room_id=ROOMS)
    def leave_as_host(self, room_id: str) -> None:
        if room_id in self.model.rooms:
            self.leave(room_id, self.model.rooms[room_id].value["hostId"])

    @precondition(a_room_exists)
    @rule(room_id=ROOMS)
    def all_users_leave(self, room_id: str) -> None:
        # Single leaves rarely empty a room, because users join as often as they leave.
        if room_id in self.model.rooms:
            for member in tuple(self.model.rooms[room_id].users):
                self.leave(room_id, member["id"])

    @precondition(a_room_exists)
    @rule(room_id=ROOMS, user_id=USERS)
    def transfer(self, room_id: str, user_id: str) -> None:
        self.step(f"transfer_host {room_id} {user_id}")
        operation = self.store.rooms.transfer_host(room_id, user_id)
        room = self.model.rooms.get(room_id)
        if room and not room.user(user_id):
            self.expect(UserNotFoundError, operation)
            return

        def change(expected: ModelRoom) -> None:
            if former := expected.user(expected.value["hostId"]):
                former["isHost"] = False
            expected.make_host(cast("Json", expected.user(user_id)))

        self.update(room_id, operation, change)

    @precondition(a_room_exists)
    @rule(room_id=ROOMS, position=st.integers(0, 1000) | st.floats(0, 1000), extra=EXTRAS)
    def seek(self, room_id: str, position: float, extra: Json) -> None:
        self.step(f"update_video_state {room_id} {position} with {extra}")
        state = VideoState(current_time=position, last_update_time=self.model.now).with_extra(extra)

        def change(expected: ModelRoom) -> None:
            expected.value["videoState"].update(json_of(state))

        self.update(room_id, self.store.rooms.update_video_state(room_id, state), change)

    @precondition(a_room_exists)
    @rule(room_id=ROOMS, number=st.integers(1, 2))
    def set_video(self, room_id: str, number: int) -> None:
        self.step(f"set_video_url {room_id} {number}")
        url, kind = f"https://video.example/{number}", ("youtube", "m3u8")[number - 1]
        reset = {"isPlaying": False, "currentTime": 0, "duration": 0, "lastUpdateTime": None}

        def change(expected: ModelRoom) -> None:
            expected.value["videoState"].update(reset)
            expected.value.update(videoUrl=url, videoType=kind)

        self.update(room_id, self.store.rooms.set_video_url(room_id, url, kind), change)

    @precondition(a_room_exists)
    @rule(room_id=ROOMS, number=st.integers(0, 3), extra=EXTRAS)
    def edit(self, room_id: str, number: int, extra: Json) -> None:
        self.step(f"edit_room {room_id} {number} with {extra}")

        def edited(before: Room) -> Room:
            return before.model_copy(update={"host_name": f"Name {number}", "host_token": None}).with_extra(extra)

        def change(expected: ModelRoom) -> None:
            expected.value.pop("hostToken", None)
            expected.value.update({"hostName": f"Name {number}", **extra})

        self.update(room_id, self.store.rooms.edit_room(room_id, edited), change)

    @precondition(a_room_exists)
    @rule(room_id=ROOMS, party=PARTIES, extra=EXTRAS)
    def replace(self, room_id: str, party: list[str], extra: Json) -> None:
        self.step(f"update_room {room_id} with {party} and {extra}")
        made = room(room_id, *party).with_extra(extra)

        def change(expected: ModelRoom) -> None:
            expected.value = {**json_of(made), "rev": expected.value["rev"]}

        self.update(room_id, cast("Awaitable[None]", self.store.rooms.update_room(room_id, made)), change)

    @precondition(a_room_exists)
    @rule(room_id=ROOMS)
    def refuse(self, room_id: str) -> None:
        self.step(f"refused writes of {room_id}")

        def fail(_before: Room) -> Room:
            raise ZeroDivisionError

        rooms, exists = self.store.rooms, room_id in self.model.rooms
        self.expect(LimitExceededError, rooms.add_user_to_room(room_id, user("u1", name="x" * 257)))
        self.expect(ZeroDivisionError if exists else RoomNotFoundError, rooms.edit_room(room_id, fail))
        self.expect(ValueError, rooms.update_room(room_id, room("another")))
        self.equal("events of refused writes", self.received(room_id), [])

    @precondition(a_room_exists)
    @rule(room_id=ROOMS)
    def delete(self, room_id: str) -> None:
        self.step(f"delete_room {room_id}")
        before = self.before(room_id)
        deleted = self.model.delete(room_id)
        self.equal("the result", self.run(self.store.rooms.delete_room(room_id)), deleted)
        self.check_events(room_id, before)

    @precondition(has(Capability.CHAT))
    @rule(room_id=ROOMS, count=st.integers(1, 15), extra=EXTRAS)
    def add_messages(self, room_id: str, count: int, extra: Json) -> None:
        for _ in range(count):
            self.message_count += 1
            self._add_message(room_id, self.message_count, extra)

    @precondition(has(Capability.CHAT))
    @rule(room_id=ROOMS)
    def add_to_full_chat(self, room_id: str) -> None:
        # Few sequences fill a chat and continue before it expires.
        self.add_messages(room_id, HISTORY_LIMIT, {})
        self.wait(1)
        self.add_messages(room_id, 1, {})

    @precondition(has(Capability.CHAT))
    @rule(room_id=ROOMS, back=st.integers(0, 25))
    def repeat_message(self, room_id: str, back: int) -> None:
        self._add_message(room_id, max(0, self.message_count - back), {"again": True})

    def _add_message(self, room_id: str, number: int, extra: Json) -> None:
        self.step(f"add_message {room_id} m{number} with {extra}")
        sent = message(number, room_id).with_extra(extra)
        self.run(self.store.chat.add_message(sent))
        stored, added = self.model.messages(room_id), json_of(sent)
        is_new = added["id"] not in [entry["id"] for entry in stored]
        if is_new:
            self.model.chats[room_id] = ([*stored, added][-HISTORY_LIMIT:], self.model.now + DAY)
        if self.streams:
            event = {"type": "messageAdded", "roomId": room_id, "message": added}
            self.equal("events", self.received(room_id), [event] if is_new else [])

    @precondition(has(Capability.CHAT))
    @rule(room_id=ROOMS)
    def clear_chat(self, room_id: str) -> None:
        self.step(f"clear_messages {room_id}")
        self.run(self.store.chat.clear_messages(room_id))
        cleared = self.model.chats.pop(room_id, None)
        if self.streams:
            expected = [{"type": "resync", "roomId": room_id}] if cleared else []
            self.equal("events", self.received(room_id), expected)

    @precondition(has(Capability.CHAT))
    @rule(room_id=ROOMS, limit=st.integers(0, 25))
    def get_messages(self, room_id: str, limit: int) -> None:
        self.step(f"get_messages {room_id} {limit}")
        messages = [json_of(entry) for entry in self.run(self.store.chat.get_messages(room_id, limit))]
        self.equal("messages", messages, self.model.messages(room_id)[-limit:] if limit else [])

    @precondition(has(Capability.CONNECTIONS))
    @rule(key=ROOMS, connection=CONNECTIONS, limit=st.sampled_from([None, 1, 2]))
    def acquire(self, key: str, connection: str, limit: int | None) -> None:
        self.step(f"acquire {key} {connection}, limit {limit}")
        leases = self.model.leases[key]
        operation = self.store.connections.acquire(key, connection, limit=limit)
        if limit is not None and connection not in leases and len(leases) >= limit:
            self.expect(LimitExceededError, operation)
        else:
            leases[connection] = self.model.now + LEASE
            self.equal("the result", self.run(operation), len(leases))

    @precondition(has(Capability.CONNECTIONS))
    @rule(key=ROOMS, connection=CONNECTIONS)
    def release(self, key: str, connection: str) -> None:
        self.step(f"release {key} {connection}")
        self.model.leases[key].pop(connection, None)
        remaining = self.run(self.store.connections.release(key, connection))
        self.equal("the result", remaining, len(self.model.leases[key]))

    @precondition(has(Capability.RATE_LIMITS))
    @rule(key=ROOMS, cost=st.integers(1, 4))
    def hit(self, key: str, cost: int) -> None:
        self.step(f"hit {key} {cost}")
        count, expires = self.model.hits.get(key, (0, self.model.now + WINDOW))
        self.model.hits[key] = (count + cost, expires)
        self.check_decision(key, self.run(self.store.rate_limits.hit(key, cost)), allowed=count + cost <= MAX_HITS)

    @precondition(has(Capability.RATE_LIMITS))
    @rule(key=ROOMS)
    def reset_hits(self, key: str) -> None:
        self.step(f"reset {key}")
        self.model.hits.pop(key, None)
        self.run(self.store.rate_limits.reset(key))

    @rule(hours=HOURS)
    def wait(self, hours: int) -> None:
        # Whole hours, because on a real server some real time passes while the machine runs.
        self.step(f"{hours} hours pass")
        self.run(self.harness.advance(hours * HOUR))
        self.model.advance(hours * HOUR)

    @precondition(a_room_exists)
    @rule()
    def a_day_passes(self) -> None:
        self.wait(24)

    @precondition(has(Capability.LISTING))
    @rule()
    def sweep(self) -> None:
        self.step("sweep_active_rooms")
        removed = self.run(self.store.rooms.sweep_active_rooms())
        if not 0 <= removed <= len(self.model.expired):
            self.fail(f"the result: expected at most {len(self.model.expired)}, got {removed}")
        self.model.expired.clear()


async def _find_tolerance(harness: Harness) -> timedelta:
    """Return how much shorter than expected a TTL may be: nothing if time passes only by `advance`."""
    async with harness.open_store() as store:
        await store.rooms.create_room(room("clock"))
        before = await store.rooms.room_ttl("clock")
        await asyncio.sleep(0.01)
        after = await store.rooms.room_ttl("clock")
    return timedelta(0) if before == after else timedelta(minutes=10)


def _any_sequence(case: HasHarness) -> None:
    """Any sequence of operations has the same results, contents, TTLs and events on the store and on a simple model."""

    async def new_harness() -> Harness:  # in the event loop, as in every other clause
        return make_harness(case)

    with asyncio.Runner() as runner:
        harness = runner.run(new_harness())
        try:
            tolerance = runner.run(_find_tolerance(harness))
        finally:
            runner.run(harness.aclose())

        def machine() -> StoreMachine:
            return StoreMachine(runner.run(new_harness()), runner, tolerance)

        # Hypothesis documents that it accepts any callable that returns a machine; its type hint is narrower.
        run_state_machine_as_test(cast("Any", machine), settings=SETTINGS)


class StateMachineClauses:
    """The clause that runs the state machine."""

    test_any_sequence_of_operations = as_clause(
        "test_any_sequence_of_operations", _any_sequence, _any_sequence, frozenset()
    )
