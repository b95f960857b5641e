"""A Hypothesis state machine that compares everything that a store returns with a simple model."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Any, cast

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule, run_state_machine_as_test

from wnc_store import ChatMessage, LimitExceededError
from wnc_store_contract.clause import HasHarness, as_clause, make_harness
from wnc_store_contract.factories import message, room
from wnc_store_contract.harness import Capability, Harness
from wnc_store_contract.machine import LEASE, MAX_HITS, WINDOW
from wnc_store_contract.model import DAY, HISTORY_LIMIT, Json, json_of
from wnc_store_contract.room_machine import EXTRAS, ROOMS, RoomMachine, a_room_exists

HOUR = 3600

HOURS = st.sampled_from([1, 6, 23])
CONNECTIONS = st.sampled_from(["c1", "c2", "c3"])
LEASE_HOURS = (None, 2, 12)

SETTINGS = settings(
    max_examples=60,
    stateful_step_count=40,
    deadline=None,
    database=None,
    derandomize=True,
    report_multiple_bugs=False,  # a group of failures could not be explained in a few lines
    print_blob=False,  # not needed to reproduce a failure, because the run is derandomized
    phases=[Phase.generate, Phase.shrink],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large],
)


def has(capability: Capability) -> Callable[[RoomMachine], bool]:
    """Return a precondition: the backend has a capability."""
    return lambda machine: capability in machine.capabilities


class StoreMachine(RoomMachine):
    """Operations that run on both the store and the model."""

    message_count = 0

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
    @rule(room_id=ROOMS, back=st.integers(0, 25), extra=EXTRAS)
    def edit_message(self, room_id: str, back: int, extra: Json) -> None:
        number = max(0, self.message_count - back)
        self.step(f"edit_message {room_id} m{number} with {extra}")

        def edited(before: ChatMessage) -> ChatMessage:
            return before.model_copy(update={"message": f"{before.message}+"}).with_extra(extra)

        after = self.run(self.store.chat.edit_message(room_id, f"m{number}", edited))
        expected = self.model.message(room_id, f"m{number}")
        if expected is not None:
            expected.update({"message": f"{expected['message']}+", **extra})
            self.model.renew_chat(room_id)
        self.equal("the result", None if after is None else json_of(after), expected)
        if self.streams:
            event = {"type": "messageChanged", "roomId": room_id, "message": expected}
            self.equal("events", self.received(room_id), [] if expected is None else [event])

    @precondition(has(Capability.CHAT))
    @rule(room_id=ROOMS, back=st.integers(0, 25))
    def remove_message(self, room_id: str, back: int) -> None:
        message_id = f"m{max(0, self.message_count - back)}"
        self.step(f"remove_message {room_id} {message_id}")
        removed = self.run(self.store.chat.remove_message(room_id, message_id))
        expected = self.model.message(room_id, message_id)
        if expected is not None:
            self.model.messages(room_id).remove(expected)
            self.model.renew_chat(room_id)
        self.equal("the result", removed, expected is not None)
        if self.streams:
            event = {"type": "messageRemoved", "roomId": room_id, "messageId": message_id}
            self.equal("events", self.received(room_id), [] if expected is None else [event])

    @precondition(has(Capability.CHAT))
    @rule(room_id=ROOMS)
    def clear_chat(self, room_id: str) -> None:
        self.step(f"clear_messages {room_id}")
        self.run(self.store.chat.clear_messages(room_id))
        cleared = self.model.chats.pop(room_id, None)
        if self.streams:
            expected = [{"type": "messagesCleared", "roomId": room_id}] if cleared else []
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
        hours = LEASE_HOURS[len(self.steps) % len(LEASE_HOURS)]
        self.step(f"acquire {key} {connection}, limit {limit}, ttl {'None' if hours is None else f'{hours} h'}")
        leases = self.model.leases[key]
        ttl = None if hours is None else timedelta(hours=hours)
        operation = self.store.connections.acquire(key, connection, limit=limit, ttl=ttl)
        if limit is not None and connection not in leases and len(leases) >= limit:
            self.expect(LimitExceededError, operation)
        else:
            leases[connection] = self.model.now + (LEASE if hours is None else hours * HOUR)
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


class WaitingMachine(StoreMachine):
    """Operations on stores whose rooms wait for users."""

    empty_room_ttl = 2 * HOUR


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
    _run_machine(case, StoreMachine, SETTINGS.max_examples)


def _any_sequence_with_rooms_that_wait(case: HasHarness) -> None:
    """Any sequence of operations has the results of a simple model, also on stores with empty_room_ttl."""
    _run_machine(case, WaitingMachine, max(1, SETTINGS.max_examples // 2))


def _run_machine(case: HasHarness, kind: type[StoreMachine], examples: int) -> None:
    async def new_harness() -> Harness:  # in the event loop, as in every other clause
        return make_harness(case)

    with asyncio.Runner() as runner:
        harness = runner.run(new_harness())
        try:
            tolerance = runner.run(_find_tolerance(harness))
        finally:
            runner.run(harness.aclose())

        def machine() -> StoreMachine:
            harness = runner.run(new_harness())
            try:
                return kind(harness, runner, tolerance)
            except BaseException:  # Hypothesis tears down only machines that exist
                runner.run(harness.aclose())
                raise

        # Hypothesis documents that it accepts any callable that returns a machine; its type hint is narrower.
        run_state_machine_as_test(cast("Any", machine), settings=settings(SETTINGS, max_examples=examples))


class StateMachineClauses:
    """The clause that runs the state machine."""

    test_any_sequence_of_operations = as_clause(
        "test_any_sequence_of_operations", _any_sequence, _any_sequence, frozenset()
    )
    test_any_sequence_with_rooms_that_wait = as_clause(
        "test_any_sequence_with_rooms_that_wait",
        _any_sequence_with_rooms_that_wait,
        _any_sequence_with_rooms_that_wait,
        frozenset(),
    )
