"""Mutants of the delivery of events to subscribers."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from broken_stores.mutant import Mutants
from wnc_store import Resync, RoomEvent, to_wire
from wnc_store.base import BaseRoomEvents, EncodedEvent, EventQueue, SubscriberRegistry, events
from wnc_store_contract.harness import Capability
from wnc_store_contract.memory import MemoryHarness
from wnc_store_memory.events import MemoryRoomEvents

MUTANTS = Mutants()

put, mark_gap, close, dispatch = EventQueue.put, EventQueue.mark_gap, EventQueue.close, SubscriberRegistry.dispatch


@MUTANTS.breaks(
    (SubscriberRegistry, "dispatch"),
    "every_subscriber_receives_every_event",
    "leaving_the_context_ends_the_subscription",
    "concurrent_subscriptions_all_receive",
    "a_slow_subscriber_affects_no_other",
    "a_slow_subscriber_receives_a_resync",
)
def one_subscriber_receives_an_event(self: SubscriberRegistry, published: Iterable[RoomEvent]) -> None:
    """Deliver an event to only one of a room's subscribers."""
    for event in published:
        for queue in tuple(self._queues.get(event.room_id, ()))[:1]:
            queue.put(event)


@MUTANTS.breaks(
    (SubscriberRegistry, "dispatch"),
    "concurrent_subscriptions_all_receive",
    "subscribers_receive_only_their_rooms_events",
    "calls_without_effect_are_not_published",
)
def every_subscriber_receives_every_room(self: SubscriberRegistry, published: Iterable[RoomEvent]) -> None:
    """Deliver an event to the subscribers of all rooms."""
    for event in published:
        for queues in self._queues.values():
            for queue in queues:
                queue.put(event)


@MUTANTS.breaks(
    (SubscriberRegistry, "dispatch"),
    "leaving_the_context_ends_the_subscription",
    "a_slow_subscriber_affects_no_other",
    "a_slow_subscriber_receives_a_resync",
    "every_subscriber_receives_every_event",
)
def an_event_is_delivered_twice(self: SubscriberRegistry, published: Iterable[RoomEvent]) -> None:
    """Deliver an event once per subscriber to every subscriber."""
    for event in published:
        dispatch(self, (event,) * len(self._queues.get(event.room_id, ())))


@MUTANTS.breaks((EventQueue, "put"), "a_slow_subscriber_receives_a_resync")
def a_queue_is_unbounded(self: EventQueue, event: RoomEvent) -> None:
    """Queue any number of events."""
    self._events.append(event)
    self._changed.set()


@MUTANTS.breaks((EventQueue, "put"), "events_are_delivered_in_order", "concurrent_joins_are_all_published")
def a_long_queue_is_reordered(self: EventQueue, event: RoomEvent) -> None:
    """Let new events overtake the others in a long queue."""
    put(self, event)
    if len(self._events) > 40:
        self._events.appendleft(self._events.pop())


@MUTANTS.breaks((EventQueue, "mark_gap"), "a_slow_subscriber_receives_a_resync")
def lost_events_produce_no_resync(_self: EventQueue) -> None:
    """Queue no Resync for lost events."""


@MUTANTS.breaks((EventQueue, "mark_gap"), "a_slow_subscriber_receives_a_resync")
def every_lost_event_produces_a_resync(self: EventQueue) -> None:
    """Queue a Resync for each lost event."""
    self._events.append(Resync(room_id=self.room_id))


@MUTANTS.breaks((EventQueue, "mark_gap"), "a_slow_subscriber_receives_a_resync")
def a_gap_ends_the_delivery(self: EventQueue) -> None:
    """Deliver nothing after the first gap."""
    mark_gap(self)
    self._size = 0


@MUTANTS.breaks((EventQueue, "__anext__"), "a_cancelled_read_loses_no_event")
async def a_cancelled_read_removes_an_event(self: EventQueue) -> RoomEvent:
    """Remove the event from the queue before the call is certain to return it."""
    while not self._events:
        if self._closed_with is not None:
            raise self._closed_with
        await asyncio.sleep(0)
    if self._closed_with is not None:
        raise self._closed_with
    event = self._events.popleft()
    await asyncio.sleep(0)
    return event


@MUTANTS.breaks(
    (EventQueue, "close"), "leaving_the_context_ends_the_subscription", "closing_the_store_ends_its_subscriptions"
)
def a_closed_subscription_hangs(_self: EventQueue, _reason: type[Exception]) -> None:
    """Leave readers of a closed subscription waiting."""


@MUTANTS.breaks((EventQueue, "close"), "closing_the_store_ends_its_subscriptions")
def closing_the_store_ends_iteration_silently(self: EventQueue, _reason: type[Exception]) -> None:
    """End the iteration without StoreClosedError."""
    close(self, StopAsyncIteration)


@MUTANTS.breaks(
    (MemoryRoomEvents, "_unsubscribe"), "new_subscribers_receive_no_earlier_events", "a_deleted_room_is_published"
)
def earlier_events_are_replayed(self: MemoryRoomEvents, queue: EventQueue) -> None:
    """Queue events while nobody is subscribed, and deliver them to the next subscriber."""
    self._subscribers.discard(queue)
    if queue.room_id in self._subscribers.rooms():
        return
    subscribe = self._subscribe

    async def subscribe_with_history(late: EventQueue) -> None:
        if late.room_id == queue.room_id:
            late._events = queue._events
            self._subscribers.discard(queue)
        await subscribe(late)

    self._subscribers.add(queue)
    vars(self)["_subscribe"] = subscribe_with_history


@MUTANTS.breaks(
    (MemoryRoomEvents, "_subscribe"),
    "leaving_the_context_ends_the_subscription",
    "a_slow_subscriber_affects_no_other",
    "a_slow_subscriber_receives_a_resync",
    "every_subscriber_receives_every_event",
    "concurrent_subscriptions_all_receive",
)
async def a_subscription_starts_late(self: MemoryRoomEvents, queue: EventQueue) -> None:
    """Return from subscribe before the subscription is active, except for the first of a room."""
    if queue.room_id in self._subscribers.rooms():
        asyncio.get_running_loop().call_later(0.01, self._subscribers.add, queue)
    else:
        self._subscribers.add(queue)


@MUTANTS.breaks(
    (MemoryRoomEvents, "_unsubscribe"),
    "leaving_the_context_ends_the_subscription",
    "closing_one_client_keeps_other_subscriptions",
)
def unsubscribing_ends_other_subscriptions(self: MemoryRoomEvents, queue: EventQueue) -> None:
    """Close the room's channel while others are subscribed."""
    self._subscribers._queues.pop(queue.room_id, None)


@MUTANTS.breaks((events, "validated"), "invalid_events_are_rejected")
def an_event_is_not_validated(event: RoomEvent, _kind: type[RoomEvent]) -> RoomEvent:
    """Publish whatever the caller passes."""
    return event


@MUTANTS.breaks(
    (BaseRoomEvents, "publish"),
    "an_oversized_event_is_rejected",
    "invalid_events_are_rejected",
    "deep_values_of_an_event_are_limited",
)
async def events_have_no_size_limit(self: BaseRoomEvents, room_id: str, event: RoomEvent) -> None:
    """Check neither the size nor the room of an event."""
    self._lifecycle.check(("room id", room_id))
    event = events.validated(event, RoomEvent)
    await self._publish(EncodedEvent(event, to_wire(event)))


class DisconnectHarness(MemoryHarness):
    """Memory stores that behave as if they had lost a connection when `disconnect` is called."""

    capabilities = MemoryHarness.capabilities | {Capability.DISCONNECT}

    async def disconnect(self) -> None:
        """Mark a gap in every subscription."""
        self._database.namespace("").subscribers.mark_gap()


DISCONNECTS = Mutants(DisconnectHarness)


@DISCONNECTS.breaks((SubscriberRegistry, "mark_gap"), "a_lost_connection_produces_a_resync")
def a_disconnect_produces_no_resync(_self: SubscriberRegistry) -> None:
    """Queue no Resync after a disconnect."""


@DISCONNECTS.breaks((SubscriberRegistry, "mark_gap"), "a_lost_connection_produces_a_resync")
def a_disconnect_reaches_one_room(self: SubscriberRegistry) -> None:
    """Queue a Resync only for the subscribers of one room."""
    for queues in tuple(self._queues.values())[:1]:
        for queue in queues:
            queue.mark_gap()


@DISCONNECTS.breaks((SubscriberRegistry, "mark_gap"), "a_lost_connection_produces_a_resync")
def a_disconnect_ends_the_delivery(self: SubscriberRegistry) -> None:
    """Queue a Resync, then deliver nothing more."""
    for queues in self._queues.values():
        for queue in queues:
            queue.mark_gap()
    self._queues.clear()
