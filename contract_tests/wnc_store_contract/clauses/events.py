"""Events: who hears what, in which order, and what is told of what was lost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from uuid import uuid4

import pytest

from wnc_store import (
    AppEvent,
    InvalidIdError,
    LimitExceededError,
    MessageAdded,
    Resync,
    RoomEvent,
    Store,
    StoreClosedError,
    UserJoined,
    VideoState,
    VideoStateChanged,
)
from wnc_store_contract.calls import all_raise, event_calls
from wnc_store_contract.clause import PATIENCE, ContractContext, clause
from wnc_store_contract.factories import ROOM, message, user
from wnc_store_contract.harness import Capability

RESYNC = Resync(room_id=ROOM)


def numbered(number: int, room_id: str = ROOM) -> AppEvent:
    """Return event number so-and-so of a room."""
    return AppEvent(room_id=room_id, name="number", value=number)


async def publish(store: Store, first: int, last: int, room_id: str = ROOM) -> None:
    """Publish the events first to last."""
    for number in range(first, last + 1):
        await store.events.publish(room_id, numbered(number, room_id))


def numbers(first: int, last: int, room_id: str = ROOM) -> Sequence[RoomEvent]:
    """Return the events first to last."""
    return [numbered(number, room_id) for number in range(first, last + 1)]


async def one(events: AsyncIterator[RoomEvent]) -> RoomEvent:
    """Return the next event."""
    async with asyncio.timeout(PATIENCE):
        return await anext(events)


async def say_and_hear(store: Store, events: AsyncIterator[RoomEvent], first: int, last: int) -> None:
    """Publish the events first to last, each when the one before it was heard."""
    for number in range(first, last + 1):
        await publish(store, number, number)
        assert await one(events) == numbered(number)


async def heard(store: Store, events: AsyncIterator[RoomEvent], room_id: str = ROOM) -> Sequence[RoomEvent]:
    """Publish a last event, and return all that come before it."""
    last = AppEvent(room_id=room_id, name="last", value=str(uuid4()))
    await store.events.publish(room_id, last)
    found: list[RoomEvent] = []
    while (event := await one(events)) != last:
        found.append(event)
    return found


class EventClauses:
    """What is published is heard."""

    @clause(Capability.EVENTS)
    async def test_an_event_is_heard(self, context: ContractContext) -> None:
        """An event is heard as it was published, unknown fields and half emoji included, and needs no live room."""
        store = await context.open()
        published = [
            UserJoined(room_id=ROOM, rev=3, user=user("guest", avatar={"color": "red"})),
            VideoStateChanged(room_id=ROOM, rev=4, video_state=VideoState(current_time=1.25, last_update_time=1)),
            MessageAdded(room_id=ROOM, message=message(1, message="\ud83d", replyTo={"id": "m0"})),
            AppEvent.model_validate({"room_id": ROOM, "name": "typing", "value": [{"by": None}], "since": 1}),
            RESYNC,
        ]
        async with store.events.subscribe(ROOM) as events:
            for event in published:
                await store.events.publish(ROOM, event)
            found = await heard(store, events)
        assert found == published
        assert list(map(type, found)) == list(map(type, published))

    @clause(Capability.EVENTS, Capability.SHARED)
    async def test_another_client_hears(self, context: ContractContext) -> None:
        """What one client publishes after another has subscribed is heard by it."""
        first, second = await context.open(), await context.open()
        async with second.events.subscribe(ROOM) as events:
            await publish(first, 1, 3)
            assert await heard(first, events) == numbers(1, 3)

    @clause(Capability.EVENTS)
    async def test_events_come_in_order(self, context: ContractContext) -> None:
        """Events of one publisher come in the order of its calls, each once."""
        store = await context.open()
        async with store.events.subscribe(ROOM) as events:
            await publish(store, 1, 200)
            assert await heard(store, events) == numbers(1, 200)

    @clause(Capability.EVENTS)
    async def test_each_reader_hears_all(self, context: ContractContext) -> None:
        """Each of several readers of a room hears every event once."""
        store = await context.open()
        async with store.events.subscribe(ROOM) as first, store.events.subscribe(ROOM) as second:
            await publish(store, 1, 3)
            assert await heard(store, first) == numbers(1, 3)
            assert (await heard(store, second))[:3] == numbers(1, 3)

    @clause(Capability.EVENTS)
    async def test_rooms_are_heard_apart(self, context: ContractContext) -> None:
        """A reader hears the events of its own room, whose id may begin as another's, and of no other."""
        store = await context.open()
        rooms = [f"{ROOM}{suffix}" for suffix in ("", "2", ":", ".x")]
        async with AsyncExitStack() as stack:
            readers = [await stack.enter_async_context(store.events.subscribe(room_id)) for room_id in rooms]
            for room_id in rooms:
                await publish(store, 1, 2, room_id)
            for room_id, events in zip(rooms, readers, strict=True):
                assert await heard(store, events, room_id) == numbers(1, 2, room_id)

    @clause(Capability.EVENTS, Capability.SHARED)
    async def test_prefixes_are_heard_apart(self, context: ContractContext) -> None:
        """Stores of different key prefixes hear nothing of one another."""
        app, app2 = await context.open(key_prefix="app:"), await context.open(key_prefix="app:2")
        async with app.events.subscribe(ROOM) as events:
            await publish(app2, 1, 1)
            assert await heard(app, events) == []

    @clause(Capability.EVENTS)
    async def test_nothing_is_heard_from_before(self, context: ContractContext) -> None:
        """A subscription hears nothing that was published before it was entered, also by one of the room before it."""
        store = await context.open()
        await publish(store, 1, 1)
        async with store.events.subscribe(ROOM):
            await publish(store, 2, 2)
        await publish(store, 3, 3)
        async with store.events.subscribe(ROOM) as events:
            assert await heard(store, events) == []

    @clause(Capability.EVENTS)
    async def test_many_subscribe_at_the_same_moment(self, context: ContractContext) -> None:
        """Many may subscribe, to one room and to others, at the same moment, and each hears what follows."""
        store = await context.open()
        rooms = [f"room{number % 30}" for number in range(60)]
        async with AsyncExitStack() as stack:
            entering = [stack.enter_async_context(store.events.subscribe(room_id)) for room_id in rooms]
            readers = await asyncio.gather(*entering)
            for room_id in set(rooms):
                await publish(store, 1, 1, room_id)
            for room_id, events in zip(rooms, readers, strict=True):
                assert await one(events) == numbered(1, room_id)

    @clause(Capability.EVENTS)
    async def test_a_reader_that_left_hears_no_more(self, context: ContractContext) -> None:
        """When the `async with` ends, so does the reading, with what waited; other readers of the room hear on."""
        store = await context.open()
        async with store.events.subscribe(ROOM) as stays:
            async with store.events.subscribe(ROOM) as leaves:
                await publish(store, 1, 2)
                assert await one(leaves) == numbered(1)
            await publish(store, 3, 3)
            with pytest.raises(StopAsyncIteration):
                await one(leaves)
            assert await heard(store, stays) == numbers(1, 3)

    @clause(Capability.EVENTS)
    async def test_a_room_may_be_left_and_entered(self, context: ContractContext) -> None:
        """Who leaves a room and subscribes again at once hears what follows."""
        store = await context.open()
        for number in range(20):
            async with store.events.subscribe(ROOM) as events:
                await say_and_hear(store, events, number, number)

    @clause(Capability.EVENTS)
    async def test_a_cancelled_reading_loses_nothing(self, context: ContractContext) -> None:
        """A call for the next event that is cancelled takes none away, and the iterator may be asked again."""
        store = await context.open()
        async with store.events.subscribe(ROOM) as events:
            waiting = asyncio.ensure_future(anext(events))
            await asyncio.sleep(0)
            waiting.cancel()
            await publish(store, 1, 1)
            await asyncio.wait([waiting])
            assert waiting.cancelled()
            assert await one(events) == numbered(1)
            await publish(store, 2, 4)
            assert await one(events) == numbered(2)  # so the others come now, or wait already
            waiting = asyncio.ensure_future(anext(events))
            await asyncio.sleep(0)
            waiting.cancel()
            await asyncio.wait([waiting])
            found = [] if waiting.cancelled() else [waiting.result()]
            assert [*found, *await heard(store, events)] == numbers(3, 4)

    @clause(Capability.EVENTS)
    async def test_a_slow_reader_is_told_what_it_lost(self, context: ContractContext) -> None:
        """Beyond events_queue_size events that wait, one Resync stands for all that is lost; later ones come again."""
        store = await context.open(events_queue_size=3)
        async with store.events.subscribe(ROOM) as quick, store.events.subscribe(ROOM) as events:
            await say_and_hear(store, quick, 1, 10)  # by now, all ten have come
            assert [await one(events) for _ in range(4)] == [*numbers(1, 3), RESYNC]
            await say_and_hear(store, quick, 11, 13)
            assert [await one(events) for _ in range(3)] == numbers(11, 13)
            assert await heard(store, events) == []

    @clause(Capability.EVENTS)
    async def test_a_slow_reader_harms_no_other(self, context: ContractContext) -> None:
        """Another reader of the same room misses nothing."""
        store = await context.open(events_queue_size=3)
        async with store.events.subscribe(ROOM), store.events.subscribe(ROOM) as quick:
            await say_and_hear(store, quick, 1, 10)

    @clause(Capability.EVENTS)
    async def test_closing_ends_a_reading(self, context: ContractContext) -> None:
        """Closing the store raises StoreClosedError in a reader that waits, and in one that asks later."""
        store = await context.open()
        async with store.events.subscribe(ROOM) as waits, store.events.subscribe(ROOM) as asks:
            waiting = asyncio.ensure_future(one(waits))
            await asyncio.sleep(0)
            await store.aclose()
            with pytest.raises(StoreClosedError):
                await waiting
            with pytest.raises(StoreClosedError):
                await one(asks)

    @clause(Capability.EVENTS)
    async def test_closed_events_refuse_everything(self, context: ContractContext) -> None:
        """Publishing and subscribing on a closed store raise StoreClosedError."""
        store = await context.open()
        events = store.events
        await store.aclose()
        await all_raise(StoreClosedError, event_calls(events, ROOM))

    @clause(Capability.EVENTS, Capability.SHARED)
    async def test_closing_one_client_leaves_the_others_reading(self, context: ContractContext) -> None:
        """A second client hears on when the first is closed."""
        first, second = await context.open(), await context.open()
        async with second.events.subscribe(ROOM) as events:
            async with first.events.subscribe(ROOM):
                await first.aclose()
            await publish(second, 1, 1)
            assert await heard(second, events) == numbers(1, 1)

    @clause(Capability.EVENTS)
    async def test_bad_ids_of_events_are_refused(self, context: ContractContext) -> None:
        """A bad room id is an InvalidIdError from publish and subscribe."""
        store = await context.open()
        for bad in ("", "a b", "a*", "é", "x" * 129, "a\n"):
            await all_raise(InvalidIdError, event_calls(store.events, bad))

    @clause(Capability.EVENTS)
    async def test_what_is_no_event_is_refused(self, context: ContractContext) -> None:
        """Another room's event, and one that JSON can't hold, are a ValueError, no event a TypeError; none is heard."""
        store = await context.open()
        async with store.events.subscribe(ROOM) as events:
            with pytest.raises(ValueError, match="other"):
                await store.events.publish(ROOM, numbered(1, "other"))
            with pytest.raises(ValueError, match="name"):
                await store.events.publish(ROOM, numbered(1).model_copy(update={"name": 5}))
            with pytest.raises(TypeError):
                await store.events.publish(ROOM, message(1))  # pyright: ignore[reportArgumentType]
            assert await heard(store, events) == []

    @clause(Capability.EVENTS)
    async def test_a_large_event_is_refused(self, context: ContractContext) -> None:
        """An event of more than max_event_bytes is a LimitExceededError, and is not heard; one of 900 letters is."""
        store = await context.open(max_event_bytes=1024)
        async with store.events.subscribe(ROOM) as events:
            with pytest.raises(LimitExceededError, match="event"):
                await store.events.publish(ROOM, AppEvent(room_id=ROOM, name="n", value="x" * 1024))
            long = AppEvent(room_id=ROOM, name="n", value="x" * 900)
            await store.events.publish(ROOM, long)
            assert await heard(store, events) == [long]

    @clause(Capability.EVENTS, Capability.DISCONNECT)
    async def test_a_reader_is_told_of_a_cut(self, context: ContractContext) -> None:
        """After connections were lost, every reader gets a Resync, or several, and then hears on."""
        store = await context.open()
        async with store.events.subscribe(ROOM) as events, store.events.subscribe("other") as other:
            await publish(store, 1, 1)
            assert await one(events) == numbered(1)
            await context.harness.disconnect()
            assert await one(events) == RESYNC
            assert await one(other) == Resync(room_id="other")
            await publish(store, 2, 2)
            while (event := await one(events)) != numbered(2):
                assert event == RESYNC  # of another connection, which may be the one that it was lost with
                await publish(store, 2, 2)
            async with store.events.subscribe("new") as new:
                assert all(isinstance(event, Resync) for event in await heard(store, new, "new"))
