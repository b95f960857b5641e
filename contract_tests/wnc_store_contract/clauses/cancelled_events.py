"""Events of cancelled writes: one for each effect."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from wnc_store import RoomEvent, Store
from wnc_store_contract.calls import like
from wnc_store_contract.clause import ContractContext, clause
from wnc_store_contract.clauses.cancellation import STEPS, Write, add_first_message, cancel_after, create_room
from wnc_store_contract.clauses.events import drain
from wnc_store_contract.factories import user
from wnc_store_contract.harness import Capability


async def assert_event_of_effect(
    context: ContractContext, name: str, prepare: Write, write: Write, count: Callable[[Store, str], Awaitable[int]]
) -> None:
    """Assert that a write, cancelled at any step, publishes one event if it takes effect, otherwise none.

    Args:
        context: The context of the clause.
        name: The name of the write, with which the ids begin.
        prepare: Called for each id before the write.
        write: The write.
        count: Returns how many effects of the write an id shows: 0 or 1.
    """
    store = await context.open(publish_changes=True)
    for steps in STEPS:
        key = f"{name}-after-{steps}"
        await prepare(store, key)
        async with store.events.subscribe(key) as events:
            finished = await cancel_after(steps, write(store, key))
            received: list[RoomEvent] = []
            effects = -1
            while effects != (effects := await count(store, key)):  # a cancelled write may still be on its way
                received += await drain(store, events, key)
            assert len(received) == effects, f"cancelled after {steps} steps, with {effects} effects: {received}"
        if finished:
            break


class CancelledEventClauses:
    """Clauses about the events of writes that are cancelled at each step of the event loop."""

    @clause(Capability.EVENTS)
    async def test_a_cancelled_write_of_a_room_publishes_its_event(self, context: ContractContext) -> None:
        """A cancelled write of a room publishes its event if and only if it takes effect."""

        async def count_joins(store: Store, key: str) -> int:
            stored = await store.rooms.get_room(key)
            return 0 if stored is None else stored.rev - 1

        async def count_deletions(store: Store, key: str) -> int:
            return int(not await store.rooms.room_exists(key))

        def join(store: Store, key: str) -> Awaitable[object]:
            return store.rooms.add_user_to_room(key, user("new"))

        def delete(store: Store, key: str) -> Awaitable[object]:
            return store.rooms.delete_room(key)

        def leave(store: Store, key: str) -> Awaitable[object]:
            return store.rooms.remove_user_from_room(key, "host")

        await assert_event_of_effect(context, "join", create_room, join, count_joins)
        for write in (delete, leave):
            await assert_event_of_effect(context, write.__name__, create_room, write, count_deletions)

    @clause(Capability.EVENTS, Capability.CHAT)
    async def test_a_cancelled_message_publishes_its_event(self, context: ContractContext) -> None:
        """A cancelled add_message publishes its event if and only if it takes effect."""

        async def count_messages(store: Store, key: str) -> int:
            return len(await store.chat.get_messages(key))

        await assert_event_of_effect(context, "message", create_room, add_first_message, count_messages)

    @clause(Capability.EVENTS, Capability.CHAT)
    async def test_a_cancelled_edit_publishes_its_event(self, context: ContractContext) -> None:
        """A cancelled edit, removal or clearing of messages publishes its event if and only if it takes effect."""

        async def count_edits(store: Store, key: str) -> int:
            return sum(entry.model_extra.get("likes", 0) for entry in await store.chat.get_messages(key))

        async def count_removals(store: Store, key: str) -> int:
            return int(not await store.chat.get_messages(key))

        def edit(store: Store, key: str) -> Awaitable[object]:
            return store.chat.edit_message(key, "m1", like)

        def remove(store: Store, key: str) -> Awaitable[object]:
            return store.chat.remove_message(key, "m1")

        def clear(store: Store, key: str) -> Awaitable[object]:
            return store.chat.clear_messages(key)

        await assert_event_of_effect(context, "edit", add_first_message, edit, count_edits)
        for write in (remove, clear):
            await assert_event_of_effect(context, write.__name__, add_first_message, write, count_removals)
