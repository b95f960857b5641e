"""Clauses about the delivery of events."""

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
from wnc_store_contract.factories import MAX_DEPTH, ROOM, message, nested, user
from wnc_store_contract.harness import Capability

RESYNC = Resync(room_id=ROOM)


def event_number(number: int, room_id: str = ROOM) -> AppEvent:
    """Return an event of a room with a number."""
    return AppEvent(room_id=room_id, name="number", value=number)


async def publish(store: Store, first: int, last: int, room_id: str = ROOM) -> None:
    """Publish the events from `first` to `last`."""
    for number in range(first, last + 1):
        await store.events.publish(room_id, event_number(number, room_id))


def event_range(first: int, last: int, room_id: str = ROOM) -> Sequence[RoomEvent]:
    """Return the events from `first` to `last`."""
    return [event_number(number, room_id) for number in range(first, last + 1)]


async def next_event(events: AsyncIterator[RoomEvent]) -> RoomEvent:
    """Return the next event."""
    async with asyncio.timeout(PATIENCE):
        return await anext(events)


async def publish_and_receive(store: Store, events: AsyncIterator[RoomEvent], first: int, last: int) -> None:
    """Publish the events from `first` to `last`, each after the previous one was received."""
    for number in range(first, last + 1):
        await publish(store, number, number)
        assert await next_event(events) == event_number(number)


async def drain(store: Store, events: AsyncIterator[RoomEvent], room_id: str = ROOM) -> Sequence[RoomEvent]:
    """Publish a last event and return all events that are received before it."""
    last = AppEvent(room_id=room_id, name="last", value=str(uuid4()))
    await store.events.publish(room_id, last)
    received: list[RoomEvent] = []
    while (event := await next_event(events)) != last:
        received.append(event)
    return received


class EventClauses:
    """Clauses about publishing and subscribing."""

    @clause(Capability.EVENTS)
    async def test_an_event_is_delivered_unchanged(self, context: ContractContext) -> None:
        """A subscriber receives an event with all its fields, even without a live room."""
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
            received = await drain(store, events)
        assert received == published
        assert list(map(type, received)) == list(map(type, published))

    @clause(Capability.EVENTS, Capability.SHARED)
    async def test_events_reach_other_clients(self, context: ContractContext) -> None:
        """A subscriber receives the events that another client publishes."""
        first, second = await context.open(), await context.open()
        async with second.events.subscribe(ROOM) as events:
            await publish(first, 1, 3)
            assert await drain(first, events) == event_range(1, 3)

    @clause(Capability.EVENTS)
    async def test_events_are_delivered_in_order(self, context: ContractContext) -> None:
        """A subscriber receives the events of one publisher once and in order."""
        store = await context.open()
        async with store.events.subscribe(ROOM) as events:
            await publish(store, 1, 200)
            assert await drain(store, events) == event_range(1, 200)

    @clause(Capability.EVENTS)
    async def test_every_subscriber_receives_every_event(self, context: ContractContext) -> None:
        """Every subscriber of a room receives every event once."""
        store = await context.open()
        async with store.events.subscribe(ROOM) as first, store.events.subscribe(ROOM) as second:
            await publish(store, 1, 3)
            assert await drain(store, first) == event_range(1, 3)
            assert (await drain(store, second))[:3] == event_range(1, 3)

    @clause(Capability.EVENTS)
    async def test_subscribers_receive_only_their_rooms_events(self, context: ContractContext) -> None:
        """A subscriber receives only the events of the room that it subscribed to."""
        store = await context.open()
        rooms = [f"{ROOM}{suffix}" for suffix in ("", "2", ":", ".x")]
        async with AsyncExitStack() as stack:
            subscriptions = [await stack.enter_async_context(store.events.subscribe(room_id)) for room_id in rooms]
            for room_id in rooms:
                await publish(store, 1, 2, room_id)
            for room_id, events in zip(rooms, subscriptions, strict=True):
                assert await drain(store, events, room_id) == event_range(1, 2, room_id)

    @clause(Capability.EVENTS, Capability.SHARED)
    async def test_prefixes_separate_events(self, context: ContractContext) -> None:
        """Stores with different key prefixes do not receive each other's events."""
        app, app2 = await context.open(key_prefix="app:"), await context.open(key_prefix="app:2")
        async with app.events.subscribe(ROOM) as events:
            await publish(app2, 1, 1)
            assert await drain(app, events) == []

    @clause(Capability.EVENTS)
    async def test_new_subscribers_receive_no_earlier_events(self, context: ContractContext) -> None:
        """New subscribers do not receive events published before they subscribed."""
        store = await context.open()
        await publish(store, 1, 1)
        async with store.events.subscribe(ROOM):
            await publish(store, 2, 2)
        await publish(store, 3, 3)
        async with store.events.subscribe(ROOM) as events:
            assert await drain(store, events) == []

    @clause(Capability.EVENTS)
    async def test_concurrent_subscriptions_all_receive(self, context: ContractContext) -> None:
        """Concurrent subscriptions, to one room and to others, all receive later events."""
        store = await context.open()
        rooms = [f"room{number % 30}" for number in range(60)]
        async with AsyncExitStack() as stack:
            entering = [stack.enter_async_context(store.events.subscribe(room_id)) for room_id in rooms]
            subscriptions = await asyncio.gather(*entering)
            for room_id in set(rooms):
                await publish(store, 1, 1, room_id)
            for room_id, events in zip(rooms, subscriptions, strict=True):
                assert await next_event(events) == event_number(1, room_id)

    @clause(Capability.EVENTS)
    async def test_leaving_the_context_ends_the_subscription(self, context: ContractContext) -> None:
        """Leaving `async with` ends the subscription, discards its queue and does not affect other subscribers."""
        store = await context.open()
        async with store.events.subscribe(ROOM) as staying:
            async with store.events.subscribe(ROOM) as leaving:
                await publish(store, 1, 2)
                assert await next_event(leaving) == event_number(1)
            await publish(store, 3, 3)
            with pytest.raises(StopAsyncIteration):
                await next_event(leaving)
            assert await drain(store, staying) == event_range(1, 3)

    @clause(Capability.EVENTS)
    async def test_a_subscriber_may_resubscribe_at_once(self, context: ContractContext) -> None:
        """A subscriber that resubscribes immediately receives later events."""
        store = await context.open()
        for number in range(20):
            async with store.events.subscribe(ROOM) as events:
                await publish_and_receive(store, events, number, number)

    @clause(Capability.EVENTS)
    async def test_a_cancelled_read_loses_no_event(self, context: ContractContext) -> None:
        """Cancelling a read loses no event, and the iterator stays usable."""
        store = await context.open()
        async with store.events.subscribe(ROOM) as events:
            waiting = asyncio.ensure_future(anext(events))
            await asyncio.sleep(0)
            waiting.cancel()
            await publish(store, 1, 1)
            await asyncio.wait([waiting])
            assert waiting.cancelled()
            assert await next_event(events) == event_number(1)
            await publish(store, 2, 4)
            assert await next_event(events) == event_number(
                2
            )  # so the next events are in the queue or arrive during the next read
            waiting = asyncio.ensure_future(anext(events))
            await asyncio.sleep(0)
            waiting.cancel()
            await asyncio.wait([waiting])
            received = [] if waiting.cancelled() else [waiting.result()]
            assert [*received, *await drain(store, events)] == event_range(3, 4)

    @clause(Capability.EVENTS)
    async def test_a_slow_subscriber_receives_a_resync(self, context: ContractContext) -> None:
        """Events beyond events_queue_size are replaced by one Resync; later events are delivered again."""
        store = await context.open(events_queue_size=3)
        async with store.events.subscribe(ROOM) as quick, store.events.subscribe(ROOM) as events:
            await publish_and_receive(store, quick, 1, 10)  # so the slow subscription has received all ten
            assert [await next_event(events) for _ in range(4)] == [*event_range(1, 3), RESYNC]
            await publish_and_receive(store, quick, 11, 13)
            assert [await next_event(events) for _ in range(3)] == event_range(11, 13)
            assert await drain(store, events) == []

    @clause(Capability.EVENTS)
    async def test_a_slow_subscriber_affects_no_other(self, context: ContractContext) -> None:
        """A slow subscriber does not make other subscribers miss events."""
        store = await context.open(events_queue_size=3)
        async with store.events.subscribe(ROOM), store.events.subscribe(ROOM) as quick:
            await publish_and_receive(store, quick, 1, 10)

    @clause(Capability.EVENTS)
    async def test_closing_the_store_ends_its_subscriptions(self, context: ContractContext) -> None:
        """Closing the store makes pending and later reads of its subscriptions raise StoreClosedError."""
        store = await context.open()
        async with store.events.subscribe(ROOM) as pending, store.events.subscribe(ROOM) as idle:
            waiting = asyncio.ensure_future(next_event(pending))
            await asyncio.sleep(0)
            await store.aclose()
            with pytest.raises(StoreClosedError):
                await waiting
            with pytest.raises(StoreClosedError):
                await next_event(idle)

    @clause(Capability.EVENTS)
    async def test_closed_events_raise(self, context: ContractContext) -> None:
        """Publishing and subscribing on a closed store raise StoreClosedError."""
        store = await context.open()
        events = store.events
        await store.aclose()
        await all_raise(StoreClosedError, event_calls(events, ROOM))

    @clause(Capability.EVENTS, Capability.SHARED)
    async def test_closing_one_client_keeps_other_subscriptions(self, context: ContractContext) -> None:
        """Closing one client does not end the subscriptions of another client."""
        first, second = await context.open(), await context.open()
        async with second.events.subscribe(ROOM) as events:
            async with first.events.subscribe(ROOM):
                await first.aclose()
            await publish(second, 1, 1)
            assert await drain(second, events) == event_range(1, 1)

    @clause(Capability.EVENTS)
    async def test_invalid_event_room_ids_are_rejected(self, context: ContractContext) -> None:
        """Publishing and subscribing raise InvalidIdError for an invalid room id."""
        store = await context.open()
        for invalid in ("", "a b", "a*", "é", "x" * 129, "a\n"):
            await all_raise(InvalidIdError, event_calls(store.events, invalid))

    @clause(Capability.EVENTS)
    async def test_invalid_events_are_rejected(self, context: ContractContext) -> None:
        """Publishing another room's event, an invalid event or a non-event raises an error and delivers nothing."""
        store = await context.open()
        async with store.events.subscribe(ROOM) as events:
            with pytest.raises(ValueError, match="other"):
                await store.events.publish(ROOM, event_number(1, "other"))
            with pytest.raises(ValueError, match="name"):
                await store.events.publish(ROOM, event_number(1).model_copy(update={"name": 5}))
            with pytest.raises(TypeError):
                await store.events.publish(ROOM, message(1))  # pyright: ignore[reportArgumentType]
            assert await drain(store, events) == []

    @clause(Capability.EVENTS)
    async def test_an_oversized_event_is_rejected(self, context: ContractContext) -> None:
        """An event larger than max_event_bytes raises LimitExceededError and is not delivered."""
        store = await context.open(max_event_bytes=1024)
        async with store.events.subscribe(ROOM) as events:
            with pytest.raises(LimitExceededError, match="event"):
                await store.events.publish(ROOM, AppEvent(room_id=ROOM, name="n", value="x" * 1024))
            long = AppEvent(room_id=ROOM, name="n", value="x" * 900)
            await store.events.publish(ROOM, long)
            assert await drain(store, events) == [long]

    @clause(Capability.EVENTS)
    async def test_deep_values_of_an_event_are_limited(self, context: ContractContext) -> None:
        """The value of an event may be nested 64 levels deep. A deeper one raises ValueError and is not delivered."""
        store = await context.open()
        async with store.events.subscribe(ROOM) as events:
            sent = [AppEvent(room_id=ROOM, name="n", value=value) for value in nested(MAX_DEPTH)]
            for event in sent:
                await store.events.publish(ROOM, event)
            for value in nested(MAX_DEPTH + 1):
                for deep in (AppEvent(room_id=ROOM, name="n", value=value), event_number(1).with_extra({"x": value})):
                    with pytest.raises(ValueError, match="64 levels deep"):
                        await store.events.publish(ROOM, deep)
            assert await drain(store, events) == sent

    @clause(Capability.EVENTS, Capability.DISCONNECT)
    async def test_a_lost_connection_produces_a_resync(self, context: ContractContext) -> None:
        """After lost connections, each subscriber receives at least one Resync and then later events."""
        store = await context.open()
        async with store.events.subscribe(ROOM) as events, store.events.subscribe("other") as other:
            await publish(store, 1, 1)
            assert await next_event(events) == event_number(1)
            await context.harness.disconnect()
            assert await next_event(events) == RESYNC
            assert await next_event(other) == Resync(room_id="other")
            await publish(store, 2, 2)
            while (event := await next_event(events)) != event_number(2):
                assert event == RESYNC  # several connections may have been lost
                await publish(store, 2, 2)
            async with store.events.subscribe("new") as new:
                assert all(isinstance(event, Resync) for event in await drain(store, new, "new"))
