"""Cancellation: cancelled calls raise, and cancelled writes are atomic."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from typing import Any

from wnc_store import ChatMessage, Room, Store, VideoState
from wnc_store_contract.calls import Call, chat_calls, connection_calls, rate_limit_calls, room_calls
from wnc_store_contract.clause import PATIENCE, ContractContext, clause
from wnc_store_contract.factories import ROOM, message, room, user
from wnc_store_contract.harness import Capability

Write = Callable[[Store, str], Awaitable[object]]
"""A write to the room, chat or key of an id."""

State = dict[str, Any]
"""The observable state of an id: description to value."""

STEPS = (*range(1, 11), *(round(10 * 1.3**power) for power in range(1, 18)))
"""The numbers of event-loop steps after which a caller is cancelled: 1 to 10, then longer intervals for servers."""

FOUR_HOURS = 4 * 3600


async def create_party(store: Store, room_id: str) -> None:
    """Create a room with a host and a guest."""
    await store.rooms.create_room(room(room_id, "host", "guest"))


async def create_room(store: Store, room_id: str) -> None:
    """Create a room with a host."""
    await store.rooms.create_room(room(room_id))


async def add_first_message(store: Store, room_id: str) -> None:
    """Add the first message of a chat."""
    await store.chat.add_message(message(1, room_id))


async def create_room_with_chat(store: Store, room_id: str) -> None:
    """Create a room with a host and a message."""
    await create_room(store, room_id)
    await add_first_message(store, room_id)


async def fill_chat(store: Store, room_id: str) -> None:
    """Add as many messages as a chat keeps with a limit of 3."""
    for number in range(3):
        await store.chat.add_message(message(number, room_id))


async def acquire_lease(store: Store, key: str) -> None:
    """Acquire a connection."""
    await store.connections.acquire(key, "first")


async def add_hit(store: Store, key: str) -> None:
    """Start a window."""
    await store.rate_limits.hit(key)


def hours(ttl: timedelta | None) -> int | None:
    """Return a TTL rounded to hours; a clause never runs for half an hour."""
    return None if ttl is None else round(ttl / timedelta(hours=1))


async def read_state(context: ContractContext, store: Store, key: str) -> State:
    """Return the state of the room, the chat and the limits of an id, without the id and the current time."""
    capabilities, observed = context.harness.capabilities, State()
    stored = await store.rooms.get_room(key)
    if stored is not None:
        state = stored.video_state.model_copy(update={"last_update_time": 0})
        stored = stored.model_copy(update={"id": "any", "video_state": state})
    observed["room"] = stored
    observed["room TTL in hours"] = hours(await store.rooms.room_ttl(key))
    if Capability.LISTING in capabilities:
        observed["listed"] = key in [room_id async for room_id in store.rooms.active_room_ids()]
    if Capability.CHAT in capabilities:
        observed["chat"] = [(sent.id, sent.message, sent.timestamp) for sent in await store.chat.get_messages(key)]
        observed["chat TTL in hours"] = hours(await store.chat.chat_ttl(key))
    if Capability.CONNECTIONS in capabilities:
        observed["connections"] = await store.connections.count(key)
    if Capability.RATE_LIMITS in capabilities:
        decision = await store.rate_limits.peek(key)
        observed["remaining hits"] = decision.remaining
        observed["window in minutes"] = round(decision.reset_after / timedelta(minutes=1))
    return observed


async def settled_state(context: ContractContext, store: Store, key: str, allowed: Sequence[State]) -> State:
    """Return the state once it is an allowed one, or the last state that was read before the deadline."""
    loop = asyncio.get_running_loop()
    delay, deadline = 0.01, loop.time() + PATIENCE
    while (state := await read_state(context, store, key)) not in allowed and loop.time() < deadline:
        await asyncio.sleep(delay)
        delay *= 2
    return state


def describe(state: State, before: State, after: State) -> str:
    """Describe which parts of a state are those before a write and which are those after it."""
    parts: list[str] = []
    for part, value in state.items():
        if value not in (before[part], after[part]):
            parts.append(f"{part}: {value!r} (before {before[part]!r}, after {after[part]!r})")
        elif before[part] != after[part]:
            parts.append(f"{part}: as {'before' if value == before[part] else 'after'}")
    return "; ".join(parts)


async def cancel_after(steps: int, call: Awaitable[object]) -> bool:
    """Cancel a call after some steps of the event loop, and wait for its end. Return whether it had ended before."""
    task = asyncio.ensure_future(call)
    for _ in range(steps):
        await asyncio.sleep(0)
    finished = task.done()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    return finished


async def assert_atomic(
    context: ContractContext, write: Write, prepare: Write | None = None, *, advance_time: bool = True, **settings: Any
) -> tuple[Store, Sequence[str]]:
    """Assert that a write, cancelled at any step, leaves either the state before it or the state after it.

    Args:
        context: The context of the clause.
        write: The write.
        prepare: Called for each id before the write.
        advance_time: Advance the time before the write, so that a renewed TTL differs from the old one.
        **settings: Settings of the store.

    Returns:
        The store, and the ids that were written.
    """
    store = await context.open(**settings)
    names = {steps: f"after-{steps}" for steps in STEPS}
    ids = ("uncancelled", *names.values())
    for key in ids:
        if prepare is not None:
            await prepare(store, key)
    if advance_time:
        await context.advance(FOUR_HOURS)
    before = await read_state(context, store, "uncancelled")
    await write(store, "uncancelled")
    after = await read_state(context, store, "uncancelled")
    assert before != after
    for steps, key in names.items():
        finished = await cancel_after(steps, write(store, key))
        allowed = (after,) if finished else (before, after)
        state = await settled_state(context, store, key, allowed)
        assert state in allowed, f"cancelled after {steps} steps, the write left {describe(state, before, after)}"
        if finished:
            break
    return store, ids


async def assert_cancellable(calls: Sequence[Call]) -> None:
    """Assert that each call, cancelled at any step, raises CancelledError promptly."""
    for call in calls:
        for steps in STEPS:
            task = asyncio.ensure_future(call())
            for _ in range(steps):
                await asyncio.sleep(0)
            if task.done():
                await asyncio.gather(task, return_exceptions=True)
                break
            task.cancel()
            await asyncio.wait([task], timeout=PATIENCE)
            assert task.cancelled(), f"cancelled after {steps} steps, the call did not raise CancelledError: {task!r}"


class CancellationClauses:
    """Clauses about calls that are cancelled at each step of the event loop."""

    @clause()
    async def test_a_cancelled_create_is_atomic(self, context: ContractContext) -> None:
        """A cancelled create_room either stores and lists the room or has no effect."""
        await assert_atomic(context, create_party)

    @clause(Capability.CHAT)
    async def test_a_cancelled_create_clears_the_chat_atomically(self, context: ContractContext) -> None:
        """A cancelled create_room never deletes the leftover chat without creating the room."""
        await assert_atomic(context, create_party, add_first_message)

    @clause()
    async def test_a_cancelled_update_is_atomic(self, context: ContractContext) -> None:
        """A cancelled update_room either replaces the room and renews its TTL or has no effect."""
        await assert_atomic(
            context, lambda store, key: store.rooms.update_room(key, room(key, "new", "other")), create_party
        )

    @clause()
    async def test_a_cancelled_edit_is_atomic(self, context: ContractContext) -> None:
        """A cancelled edit_room either writes every changed field and renews the TTL or has no effect."""

        def change(before: Room) -> Room:
            return before.model_copy(update={"host_name": "New", "settings": {"theme": "dark"}})

        await assert_atomic(context, lambda store, key: store.rooms.edit_room(key, change), create_party)

    @clause()
    async def test_a_cancelled_delete_is_atomic(self, context: ContractContext) -> None:
        """A cancelled delete_room either removes the room and its listing or has no effect."""
        await assert_atomic(context, lambda store, key: store.rooms.delete_room(key), create_party)

    @clause(Capability.CHAT)
    async def test_a_cancelled_delete_removes_the_chat_atomically(self, context: ContractContext) -> None:
        """A cancelled delete_room removes the chat if and only if it removes the room."""
        await assert_atomic(context, lambda store, key: store.rooms.delete_room(key), create_room_with_chat)

    @clause()
    async def test_a_cancelled_join_is_atomic(self, context: ContractContext) -> None:
        """A cancelled add_user_to_room either adds the user and renews the TTL or has no effect."""
        await assert_atomic(context, lambda store, key: store.rooms.add_user_to_room(key, user("new")), create_party)

    @clause()
    async def test_a_cancelled_leave_is_atomic(self, context: ContractContext) -> None:
        """A cancelled leave of the host either removes the host and promotes a user or has no effect."""
        await assert_atomic(context, lambda store, key: store.rooms.remove_user_from_room(key, "host"), create_party)

    @clause()
    async def test_a_cancelled_last_leave_is_atomic(self, context: ContractContext) -> None:
        """A cancelled leave of the last user either removes the room and its listing or has no effect."""
        await assert_atomic(context, lambda store, key: store.rooms.remove_user_from_room(key, "host"), create_room)

    @clause(Capability.CHAT)
    async def test_a_cancelled_last_leave_removes_the_chat_atomically(self, context: ContractContext) -> None:
        """A cancelled leave of the last user removes the chat if and only if it removes the room."""
        await assert_atomic(
            context, lambda store, key: store.rooms.remove_user_from_room(key, "host"), create_room_with_chat
        )

    @clause()
    async def test_a_cancelled_transfer_is_atomic(self, context: ContractContext) -> None:
        """A cancelled transfer_host either updates the old and the new host or has no effect."""
        await assert_atomic(context, lambda store, key: store.rooms.transfer_host(key, "guest"), create_party)

    @clause()
    async def test_a_cancelled_video_state_is_atomic(self, context: ContractContext) -> None:
        """A cancelled update_video_state either replaces the whole state or has no effect."""
        state = VideoState(is_playing=True, current_time=1, duration=2)
        await assert_atomic(context, lambda store, key: store.rooms.update_video_state(key, state), create_party)

    @clause()
    async def test_a_cancelled_video_url_is_atomic(self, context: ContractContext) -> None:
        """A cancelled set_video_url either sets the video and resets the state or has no effect."""
        await assert_atomic(
            context, lambda store, key: store.rooms.set_video_url(key, "https://video.example/1"), create_party
        )

    @clause(Capability.CHAT)
    async def test_a_cancelled_first_message_is_atomic(self, context: ContractContext) -> None:
        """A cancelled first add_message either creates the chat with a TTL or has no effect."""
        await assert_atomic(context, add_first_message)

    @clause(Capability.CHAT)
    async def test_a_cancelled_message_is_atomic(self, context: ContractContext) -> None:
        """A cancelled add_message either appends, trims and renews the chat or has no effect."""
        await assert_atomic(
            context, lambda store, key: store.chat.add_message(message(3, key)), fill_chat, chat_history_limit=3
        )

    @clause(Capability.CHAT)
    async def test_a_cancelled_clear_is_atomic(self, context: ContractContext) -> None:
        """A cancelled clear_messages either deletes all messages or has no effect."""
        await assert_atomic(context, lambda store, key: store.chat.clear_messages(key), fill_chat, chat_history_limit=3)

    @clause(Capability.CHAT)
    async def test_a_cancelled_edit_of_a_message_is_atomic(self, context: ContractContext) -> None:
        """A cancelled edit_message either replaces the message and renews the chat or has no effect."""

        def change(before: ChatMessage) -> ChatMessage:
            return before.model_copy(update={"message": "new", "timestamp": 1})

        await assert_atomic(
            context, lambda store, key: store.chat.edit_message(key, "m1", change), fill_chat, chat_history_limit=3
        )

    @clause(Capability.CHAT)
    async def test_a_cancelled_removal_is_atomic(self, context: ContractContext) -> None:
        """A cancelled remove_message either removes the message and renews the chat or has no effect."""
        await assert_atomic(
            context, lambda store, key: store.chat.remove_message(key, "m1"), fill_chat, chat_history_limit=3
        )

    @clause(Capability.CONNECTIONS)
    async def test_a_cancelled_acquire_is_atomic(self, context: ContractContext) -> None:
        """A cancelled acquire either creates a lease that expires or has no effect, and other leases are unchanged."""

        async def acquire(store: Store, key: str) -> None:
            await store.connections.acquire(key, "new", limit=2)

        store, ids = await assert_atomic(context, acquire, acquire_lease, advance_time=False)
        await context.advance(FOUR_HOURS)
        assert [key for key in ids if await store.connections.count(key)] == [], "these leases do not expire"

    @clause(Capability.CONNECTIONS)
    async def test_a_cancelled_release_is_atomic(self, context: ContractContext) -> None:
        """A cancelled release either ends its lease or has no effect."""
        await assert_atomic(
            context, lambda store, key: store.connections.release(key, "first"), acquire_lease, advance_time=False
        )

    @clause(Capability.RATE_LIMITS)
    async def test_a_cancelled_first_hit_is_atomic(self, context: ContractContext) -> None:
        """A cancelled first hit either starts a window that ends or has no effect."""
        await assert_atomic(context, add_hit)

    @clause(Capability.RATE_LIMITS)
    async def test_a_cancelled_hit_is_atomic(self, context: ContractContext) -> None:
        """A cancelled hit either counts its full cost or has no effect."""
        await assert_atomic(context, lambda store, key: store.rate_limits.hit(key, cost=5), add_hit, advance_time=False)

    @clause(Capability.RATE_LIMITS)
    async def test_a_cancelled_reset_is_atomic(self, context: ContractContext) -> None:
        """A cancelled reset either removes the count and its window or has no effect."""
        await assert_atomic(context, lambda store, key: store.rate_limits.reset(key), add_hit, advance_time=False)

    @clause()
    async def test_cancelled_room_calls_raise(self, context: ContractContext) -> None:
        """A cancelled call on rooms raises CancelledError promptly, so that asyncio.timeout works."""
        store = await context.open()
        await assert_cancellable(room_calls(store.rooms, ROOM))

    @clause(Capability.CHAT)
    async def test_cancelled_chat_calls_raise(self, context: ContractContext) -> None:
        """A cancelled call on chats raises CancelledError promptly."""
        store = await context.open()
        await assert_cancellable(chat_calls(store.chat, ROOM))

    @clause(Capability.CONNECTIONS)
    async def test_cancelled_connection_calls_raise(self, context: ContractContext) -> None:
        """A cancelled call on connections raises CancelledError promptly."""
        store = await context.open()
        await assert_cancellable(connection_calls(store.connections, "ip", "c1"))

    @clause(Capability.RATE_LIMITS)
    async def test_cancelled_rate_limit_calls_raise(self, context: ContractContext) -> None:
        """A cancelled call on rate limits raises CancelledError promptly."""
        store = await context.open()
        await assert_cancellable(rate_limit_calls(store.rate_limits, "ip"))
