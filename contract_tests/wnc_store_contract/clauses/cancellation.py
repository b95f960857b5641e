"""Cancelled callers: they are told, and wherever a write is cut off, it happened as a whole or not at all."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from typing import Any

from wnc_store import Room, Store, VideoState
from wnc_store_contract.calls import Call, chat_calls, connection_calls, rate_limit_calls, room_calls
from wnc_store_contract.clause import PATIENCE, ContractContext, clause
from wnc_store_contract.factories import ROOM, message, room, user
from wnc_store_contract.harness import Capability

Act = Callable[[Store, str], Awaitable[object]]
"""What is done to the room, or the key, of an id."""

Told = dict[str, Any]
"""What a store tells of an id, by its name in words."""

STEPS = (*range(1, 11), *(round(10 * 1.3**power) for power in range(1, 18)))
"""After how many steps of the event loop a caller is cancelled: each of the first ones, then ever later for servers."""

FOUR_HOURS = 4 * 3600


async def a_room(store: Store, room_id: str) -> None:
    """Create a room of a host and a guest."""
    await store.rooms.create_room(room(room_id, "host", "guest"))


async def a_room_of_one(store: Store, room_id: str) -> None:
    """Create a room of a host."""
    await store.rooms.create_room(room(room_id))


async def a_message(store: Store, room_id: str) -> None:
    """Begin a chat."""
    await store.chat.add_message(message(1, room_id))


async def a_room_with_chat(store: Store, room_id: str) -> None:
    """Create a room of a host, and begin its chat."""
    await a_room_of_one(store, room_id)
    await a_message(store, room_id)


async def a_full_chat(store: Store, room_id: str) -> None:
    """Say as much as is kept."""
    for number in range(20):
        await store.chat.add_message(message(number, room_id))


async def a_lease(store: Store, key: str) -> None:
    """Acquire a connection."""
    await store.connections.acquire(key, "first")


async def a_hit(store: Store, key: str) -> None:
    """Begin a window."""
    await store.rate_limits.hit(key)


def hours(ttl: timedelta | None) -> int | None:
    """Return a TTL in hours, as no machine takes half of one for a clause."""
    return None if ttl is None else round(ttl / timedelta(hours=1))


async def seen(context: ContractContext, store: Store, one: str) -> Told:
    """Return all that the store tells of the room, the chat and the key of an id, but for id and time of day."""
    has, told = context.harness.capabilities, Told()
    found = await store.rooms.get_room(one)
    if found is not None:
        state = found.video_state.model_copy(update={"last_update_time": 0})
        found = found.model_copy(update={"id": "any", "video_state": state})
    told["the room"] = found
    told["the hours of the room"] = hours(await store.rooms.room_ttl(one))
    if Capability.LISTING in has:
        told["its listing"] = one in [room_id async for room_id in store.rooms.active_room_ids()]
    if Capability.CHAT in has:
        told["the chat"] = [kept.id for kept in await store.chat.get_messages(one)]
        told["the hours of the chat"] = hours(await store.chat.chat_ttl(one))
    if Capability.CONNECTIONS in has:
        told["the connections"] = await store.connections.count(one)
    if Capability.RATE_LIMITS in has:
        decision = await store.rate_limits.peek(one)
        told["the hits that are left"] = decision.remaining
        told["the minutes of the window"] = round(decision.reset_after / timedelta(minutes=1))
    return told


async def settled(context: ContractContext, store: Store, one: str, allowed: Sequence[Told]) -> Told:
    """Return what is seen as soon as it is allowed; else what it is when all that the caller left behind has ended."""
    pause, end = 0.01, asyncio.get_running_loop().time() + PATIENCE
    while (found := await seen(context, store, one)) not in allowed and asyncio.get_running_loop().time() < end:
        await asyncio.sleep(pause)
        pause *= 2
    return found


def mixture(found: Told, before: Told, after: Told) -> str:
    """Say which parts are as before a write, and which as after it."""
    parts: list[str] = []
    for part, value in found.items():
        if value not in (before[part], after[part]):
            parts.append(f"{part}: {value!r} (before {before[part]!r}, after {after[part]!r})")
        elif before[part] != after[part]:
            parts.append(f"{part} as {'before' if value == before[part] else 'after'}")
    return "; ".join(parts)


async def is_whole(
    context: ContractContext, write: Act, prepare: Act | None = None, *, ages: bool = True
) -> tuple[Store, Sequence[str]]:
    """Check that a write, wherever it is cancelled, leaves what was there before it, or what is there after it.

    Returns:
        The store, and the ids that were written to.
    """
    store = await context.open()
    names = {steps: f"after-{steps}" for steps in STEPS}
    ids = ("whole", *names.values())
    for one in ids:
        if prepare is not None:
            await prepare(store, one)
    if ages:
        await context.advance(FOUR_HOURS)  # a TTL that is given again is told from one that is not
    before = await seen(context, store, "whole")
    await write(store, "whole")
    after = await seen(context, store, "whole")
    assert before != after
    for steps, one in names.items():
        writing = asyncio.ensure_future(write(store, one))
        for _ in range(steps):
            await asyncio.sleep(0)
        ended = writing.done()
        writing.cancel()
        await asyncio.gather(writing, return_exceptions=True)
        allowed = (after,) if ended else (before, after)
        found = await settled(context, store, one, allowed)
        assert found in allowed, f"cancelled after {steps} steps it left {mixture(found, before, after)}"
        if ended:
            break
    return store, ids


async def are_told(calls: Sequence[Call]) -> None:
    """Check that each call, wherever it is cancelled before it has ended, raises CancelledError soon."""
    for call in calls:
        for steps in STEPS:
            calling = asyncio.ensure_future(call())
            for _ in range(steps):
                await asyncio.sleep(0)
            if calling.done():
                await asyncio.gather(calling, return_exceptions=True)
                break
            calling.cancel()
            await asyncio.wait([calling], timeout=PATIENCE)
            assert calling.cancelled(), f"cancelled after {steps} steps it went on: {calling!r}"


class CancellationClauses:
    """A caller that is cancelled after the first, second, third, ... step of the event loop."""

    @clause()
    async def test_a_cancelled_create_is_atomic(self, context: ContractContext) -> None:
        """A cancelled create_room either stores and lists the room or has no effect."""
        await is_whole(context, a_room)

    @clause(Capability.CHAT)
    async def test_a_cancelled_create_clears_the_chat_atomically(self, context: ContractContext) -> None:
        """A cancelled create_room never deletes the leftover chat without creating the room."""
        await is_whole(context, a_room, a_message)

    @clause()
    async def test_a_cancelled_update_is_atomic(self, context: ContractContext) -> None:
        """A cancelled update_room either replaces the room and renews its TTL or has no effect."""
        await is_whole(context, lambda store, one: store.rooms.update_room(one, room(one, "new", "other")), a_room)

    @clause()
    async def test_a_cancelled_edit_is_atomic(self, context: ContractContext) -> None:
        """A cancelled edit_room either writes every changed field and renews the TTL or has no effect."""

        def change(before: Room) -> Room:
            return before.model_copy(update={"host_name": "New", "settings": {"theme": "dark"}})

        await is_whole(context, lambda store, one: store.rooms.edit_room(one, change), a_room)

    @clause()
    async def test_a_cancelled_delete_is_atomic(self, context: ContractContext) -> None:
        """A cancelled delete_room either removes the room and its listing or has no effect."""
        await is_whole(context, lambda store, one: store.rooms.delete_room(one), a_room)

    @clause(Capability.CHAT)
    async def test_a_cancelled_delete_removes_the_chat_atomically(self, context: ContractContext) -> None:
        """A cancelled delete_room removes the chat if and only if it removes the room."""
        await is_whole(context, lambda store, one: store.rooms.delete_room(one), a_room_with_chat)

    @clause()
    async def test_a_cancelled_join_is_atomic(self, context: ContractContext) -> None:
        """A cancelled add_user_to_room either adds the user and renews the TTL or has no effect."""
        await is_whole(context, lambda store, one: store.rooms.add_user_to_room(one, user("new")), a_room)

    @clause()
    async def test_a_cancelled_leave_is_atomic(self, context: ContractContext) -> None:
        """A cancelled leave of the host either removes the host and promotes a user or has no effect."""
        await is_whole(context, lambda store, one: store.rooms.remove_user_from_room(one, "host"), a_room)

    @clause()
    async def test_a_cancelled_last_leave_is_atomic(self, context: ContractContext) -> None:
        """A cancelled leave of the last user either removes the room and its listing or has no effect."""
        await is_whole(context, lambda store, one: store.rooms.remove_user_from_room(one, "host"), a_room_of_one)

    @clause(Capability.CHAT)
    async def test_a_cancelled_last_leave_removes_the_chat_atomically(self, context: ContractContext) -> None:
        """A cancelled leave of the last user removes the chat if and only if it removes the room."""
        await is_whole(context, lambda store, one: store.rooms.remove_user_from_room(one, "host"), a_room_with_chat)

    @clause()
    async def test_a_cancelled_transfer_is_atomic(self, context: ContractContext) -> None:
        """A cancelled transfer_host either updates the old and the new host or has no effect."""
        await is_whole(context, lambda store, one: store.rooms.transfer_host(one, "guest"), a_room)

    @clause()
    async def test_a_cancelled_video_state_is_atomic(self, context: ContractContext) -> None:
        """A cancelled update_video_state either replaces the whole state or has no effect."""
        state = VideoState(is_playing=True, current_time=1, duration=2)
        await is_whole(context, lambda store, one: store.rooms.update_video_state(one, state), a_room)

    @clause()
    async def test_a_cancelled_video_url_is_atomic(self, context: ContractContext) -> None:
        """A cancelled set_video_url either sets the video and resets the state or has no effect."""
        await is_whole(context, lambda store, one: store.rooms.set_video_url(one, "https://video.example/1"), a_room)

    @clause(Capability.CHAT)
    async def test_a_cancelled_first_message_is_atomic(self, context: ContractContext) -> None:
        """A cancelled first add_message either creates the chat with a TTL or has no effect."""
        await is_whole(context, a_message)

    @clause(Capability.CHAT)
    async def test_a_cancelled_message_is_atomic(self, context: ContractContext) -> None:
        """A cancelled add_message either appends, trims and renews the chat or has no effect."""
        await is_whole(context, lambda store, one: store.chat.add_message(message(20, one)), a_full_chat)

    @clause(Capability.CHAT)
    async def test_a_cancelled_clear_is_atomic(self, context: ContractContext) -> None:
        """A cancelled clear_messages either deletes all messages or has no effect."""
        await is_whole(context, lambda store, one: store.chat.clear_messages(one), a_full_chat)

    @clause(Capability.CONNECTIONS)
    async def test_a_cancelled_acquire_is_atomic(self, context: ContractContext) -> None:
        """A cancelled acquire either creates a lease that expires or has no effect, and other leases are unchanged."""

        async def acquire(store: Store, one: str) -> None:
            await store.connections.acquire(one, "new", limit=2)

        store, ids = await is_whole(context, acquire, a_lease, ages=False)
        await context.advance(FOUR_HOURS)
        assert [one for one in ids if await store.connections.count(one)] == [], "these leases never end"

    @clause(Capability.CONNECTIONS)
    async def test_a_cancelled_release_is_atomic(self, context: ContractContext) -> None:
        """A cancelled release either ends its lease or has no effect."""
        await is_whole(context, lambda store, one: store.connections.release(one, "first"), a_lease, ages=False)

    @clause(Capability.RATE_LIMITS)
    async def test_a_cancelled_first_hit_is_atomic(self, context: ContractContext) -> None:
        """A cancelled first hit either starts a window that ends or has no effect."""
        await is_whole(context, a_hit)

    @clause(Capability.RATE_LIMITS)
    async def test_a_cancelled_hit_is_atomic(self, context: ContractContext) -> None:
        """A cancelled hit either counts its full cost or has no effect."""
        await is_whole(context, lambda store, one: store.rate_limits.hit(one, cost=5), a_hit, ages=False)

    @clause(Capability.RATE_LIMITS)
    async def test_a_cancelled_reset_is_atomic(self, context: ContractContext) -> None:
        """A cancelled reset either removes the count and its window or has no effect."""
        await is_whole(context, lambda store, one: store.rate_limits.reset(one), a_hit, ages=False)

    @clause()
    async def test_cancelled_room_calls_raise(self, context: ContractContext) -> None:
        """A cancelled call on rooms raises CancelledError promptly, so that asyncio.timeout works."""
        store = await context.open()
        await are_told(room_calls(store.rooms, ROOM))

    @clause(Capability.CHAT)
    async def test_cancelled_chat_calls_raise(self, context: ContractContext) -> None:
        """A cancelled call on chats raises CancelledError promptly."""
        store = await context.open()
        await are_told(chat_calls(store.chat, ROOM))

    @clause(Capability.CONNECTIONS)
    async def test_cancelled_connection_calls_raise(self, context: ContractContext) -> None:
        """A cancelled call on connections raises CancelledError promptly."""
        store = await context.open()
        await are_told(connection_calls(store.connections, "ip", "c1"))

    @clause(Capability.RATE_LIMITS)
    async def test_cancelled_rate_limit_calls_raise(self, context: ContractContext) -> None:
        """A cancelled call on rate limits raises CancelledError promptly."""
        store = await context.open()
        await are_told(rate_limit_calls(store.rate_limits, "ip"))
