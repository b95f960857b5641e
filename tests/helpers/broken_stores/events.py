"""Mistakes in who hears what, and in what is told."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from typing import Any

from broken_stores.mutant import Mistakes
from wnc_store import ChatMessage, Clock, Resync, Room, RoomChanged, RoomEvent, StoreSettings, to_wire
from wnc_store.base import BaseRoomEvents, ChangeEvents, EncodedEvent, EventQueue, SubscriberRegistry, events
from wnc_store.base.diff import diff_rooms
from wnc_store_contract.harness import Capability
from wnc_store_contract.memory import MemoryHarness
from wnc_store_memory import MemoryStore
from wnc_store_memory.events import MemoryRoomEvents
from wnc_store_memory.rooms import MemoryChatStore, MemoryRoomStore

MUTANTS = Mistakes()

give, lose, end, deliver = EventQueue.put, EventQueue.mark_gap, EventQueue.close, SubscriberRegistry.dispatch
own_init, of_message, append = ChangeEvents.__init__, ChangeEvents.for_message, MemoryChatStore._add


@MUTANTS.breaks(
    (SubscriberRegistry, "dispatch"),
    "every_subscriber_receives_every_event",
    "leaving_the_context_ends_the_subscription",
    "concurrent_subscriptions_all_receive",
    "a_slow_subscriber_affects_no_other",
    "a_slow_subscriber_receives_a_resync",
)
def one_reader_of_a_room_hears(self: SubscriberRegistry, told: Iterable[RoomEvent]) -> None:
    """Only one of a room's readers gets an event."""
    for event in told:
        for reader in tuple(self._queues.get(event.room_id, ()))[:1]:
            reader.put(event)


@MUTANTS.breaks(
    (SubscriberRegistry, "dispatch"),
    "concurrent_subscriptions_all_receive",
    "subscribers_receive_only_their_rooms_events",
    "calls_without_effect_are_not_published",
)
def every_reader_hears_everything(self: SubscriberRegistry, told: Iterable[RoomEvent]) -> None:
    """Rooms are not told apart."""
    for event in told:
        for readers in self._queues.values():
            for reader in readers:
                reader.put(event)


@MUTANTS.breaks(
    (SubscriberRegistry, "dispatch"),
    "leaving_the_context_ends_the_subscription",
    "a_slow_subscriber_affects_no_other",
    "a_slow_subscriber_receives_a_resync",
    "every_subscriber_receives_every_event",
)
def an_event_is_told_twice(self: SubscriberRegistry, told: Iterable[RoomEvent]) -> None:
    """Where a room has two readers, each hears everything two times."""
    for event in told:
        deliver(self, (event,) * len(self._queues.get(event.room_id, ())))


@MUTANTS.breaks((EventQueue, "put"), "a_slow_subscriber_receives_a_resync")
def a_queue_has_no_end(self: EventQueue, event: RoomEvent) -> None:
    """As many events wait as there are."""
    self._events.append(event)
    self._changed.set()


@MUTANTS.breaks((EventQueue, "put"), "events_are_delivered_in_order", "concurrent_joins_are_all_published")
def the_newest_is_told_first(self: EventQueue, event: RoomEvent) -> None:
    """When many events wait, others overtake them."""
    give(self, event)
    if len(self._events) > 40:
        self._events.appendleft(self._events.pop())


@MUTANTS.breaks((EventQueue, "mark_gap"), "a_slow_subscriber_receives_a_resync")
def a_loss_is_silent(_self: EventQueue) -> None:
    """What a slow reader misses is not told."""


@MUTANTS.breaks((EventQueue, "mark_gap"), "a_slow_subscriber_receives_a_resync")
def every_loss_is_told(self: EventQueue) -> None:
    """Each lost event puts a marker into the queue."""
    self._events.append(Resync(room_id=self.room_id))


@MUTANTS.breaks((EventQueue, "mark_gap"), "a_slow_subscriber_receives_a_resync")
def a_loss_is_the_last_that_is_told(self: EventQueue) -> None:
    """After a loss nothing comes again."""
    lose(self)
    self._size = 0


@MUTANTS.breaks((EventQueue, "__anext__"), "a_cancelled_read_loses_no_event")
async def a_cancelled_reading_takes_an_event(self: EventQueue) -> RoomEvent:
    """The event is taken before the call is sure to return it."""
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
def a_reading_never_ends(_self: EventQueue, _reason: type[Exception]) -> None:
    """Readers are left waiting."""


@MUTANTS.breaks((EventQueue, "close"), "closing_the_store_ends_its_subscriptions")
def a_closed_store_ends_readings_quietly(self: EventQueue, _reason: type[Exception]) -> None:
    """Readers can't tell that the store was closed."""
    end(self, StopAsyncIteration)


@MUTANTS.breaks(
    (MemoryRoomEvents, "_unsubscribe"), "new_subscribers_receive_no_earlier_events", "a_deleted_room_is_published"
)
def what_came_before_is_told(self: MemoryRoomEvents, reader: EventQueue) -> None:
    """What comes when nobody listens any more is kept for the next reader of the room."""
    self._subscribers.discard(reader)
    if reader.room_id in self._subscribers.rooms():
        return
    attach = self._subscribe

    async def attach_with_history(late: EventQueue) -> None:
        if late.room_id == reader.room_id:
            late._events = reader._events
            self._subscribers.discard(reader)
        await attach(late)

    self._subscribers.add(reader)
    vars(self)["_subscribe"] = attach_with_history


@MUTANTS.breaks(
    (MemoryRoomEvents, "_subscribe"),
    "leaving_the_context_ends_the_subscription",
    "a_slow_subscriber_affects_no_other",
    "a_slow_subscriber_receives_a_resync",
    "every_subscriber_receives_every_event",
    "concurrent_subscriptions_all_receive",
)
async def a_subscription_begins_late(self: MemoryRoomEvents, reader: EventQueue) -> None:
    """Who is not the first reader of a room is entered before the subscription stands."""
    if reader.room_id in self._subscribers.rooms():
        asyncio.get_running_loop().call_later(0.01, self._subscribers.add, reader)
    else:
        self._subscribers.add(reader)


@MUTANTS.breaks(
    (MemoryRoomEvents, "_unsubscribe"),
    "leaving_the_context_ends_the_subscription",
    "closing_one_client_keeps_other_subscriptions",
)
def who_leaves_takes_the_others_along(self: MemoryRoomEvents, reader: EventQueue) -> None:
    """The room's channel is given up while others read it."""
    self._subscribers._queues.pop(reader.room_id, None)


@MUTANTS.breaks((events, "validated"), "invalid_events_are_rejected")
def an_event_is_not_checked(event: RoomEvent, _kind: type[RoomEvent]) -> RoomEvent:
    """Whatever a caller passes is published."""
    return event


@MUTANTS.breaks((BaseRoomEvents, "publish"), "an_oversized_event_is_rejected", "invalid_events_are_rejected")
async def any_size_goes(self: BaseRoomEvents, room_id: str, event: RoomEvent) -> None:
    """Nobody looks how large an event is, or whose."""
    self._check(room_id)
    event = events.validated(event, RoomEvent)
    await self._publish(EncodedEvent(event, to_wire(event)))


@MUTANTS.breaks((ChangeEvents, "__init__"), "changes_are_published_only_if_enabled")
def changes_are_told_unasked(self: ChangeEvents, settings: StoreSettings) -> None:
    """The setting is not heeded."""
    own_init(self, settings.model_copy(update={"publish_changes": True}))


@MUTANTS.breaks(
    (ChangeEvents, "_encode_or_resync"),
    "an_oversized_change_is_published_as_resync",
    "an_oversized_message_is_published_as_resync",
)
def a_change_is_as_large_as_it_likes(_self: ChangeEvents, event: RoomEvent) -> EncodedEvent:
    """Nobody looks how large an event is."""
    return EncodedEvent(event, to_wire(event))


@MUTANTS.breaks(
    (events, "diff_rooms"),
    "a_host_transfer_is_published",
    "a_join_is_published",
    "a_leave_is_published",
    "concurrent_changes_of_two_clients_are_ordered",
    "concurrent_joins_are_all_published",
    "a_deleted_room_is_published",
    "video_changes_are_published",
    "edits_and_updates_are_published",
)
def changes_have_the_revision_before(before: Room | None, after: Room | None) -> Sequence[RoomEvent]:
    """A reader takes every event for one that the room holds already."""
    found = diff_rooms(before, after)
    return [one.model_copy(update={"rev": one.rev - 1}) if one.rev is not None else one for one in found]


@MUTANTS.breaks((events, "diff_rooms"), "a_new_room_is_published", "expiry_is_not_published")
def a_new_room_has_a_revision(before: Room | None, after: Room | None) -> Sequence[RoomEvent]:
    """Who knew an older room of that id takes the new one for late."""
    return [RoomChanged(room_id=after.id, rev=after.rev)] if after and not before else diff_rooms(before, after)


@MUTANTS.breaks((events, "diff_rooms"), "a_leave_is_published", "edits_and_updates_are_published")
def only_the_first_event_of_a_commit_is_told(before: Room | None, after: Room | None) -> Sequence[RoomEvent]:
    """What else a commit does is not told."""
    return diff_rooms(before, after)[:1]


@MUTANTS.breaks(
    (events, "diff_rooms"),
    "an_oversized_change_is_published_as_resync",
    "a_host_transfer_is_published",
    "a_join_is_published",
    "a_leave_is_published",
    "concurrent_joins_are_all_published",
    "video_changes_are_published",
    "edits_and_updates_are_published",
)
def whole_rooms_are_all_that_is_told(before: Room | None, after: Room | None) -> Sequence[RoomEvent]:
    """Every change is a RoomChanged."""
    if after is None or before is None or after is before:
        return diff_rooms(before, after)
    return [RoomChanged(room_id=after.id, rev=after.rev)]


@MUTANTS.breaks(
    (events, "diff_rooms"),
    "a_new_room_is_published",
    "expiry_is_not_published",
    "host_tokens_are_not_published",
    "edits_and_updates_are_published",
)
def a_change_tells_the_room(before: Room | None, after: Room | None) -> Sequence[RoomEvent]:
    """The whole room goes with every RoomChanged."""
    found = diff_rooms(before, after)
    return [
        one.with_extra({"room": after.to_json()}) if after and isinstance(one, RoomChanged) else one for one in found
    ]


@MUTANTS.breaks((MemoryRoomStore, "_delete"), "expiry_is_not_published", "calls_without_effect_are_not_published")
async def a_deletion_is_always_told(self: MemoryRoomStore, room_id: str) -> bool:
    """The deletion of a room that is not there is told."""
    self._dispatch(self._change_events.for_delete(room_id))
    return self._remove(room_id)


@MUTANTS.breaks((MemoryRoomStore, "_delete"), "a_deleted_room_is_published")
async def a_deletion_is_not_told(self: MemoryRoomStore, room_id: str) -> bool:
    """A room ends in silence."""
    return self._remove(room_id)


@MUTANTS.breaks((MemoryRoomStore, "_prune_index"), "expiry_is_not_published")
async def a_sweep_is_told(self: MemoryRoomStore) -> int:
    """Each room that has expired is told by the next sweep."""
    gone = [room_id for room_id in self._rooms._entries if self._rooms.get(room_id) is None]
    list(self._rooms.purge_expired())
    for room_id in gone:
        self._dispatch(self._change_events.for_delete(room_id))
    return len(gone)


@MUTANTS.breaks((MemoryChatStore, "_add"), "a_message_is_published")
async def a_repeated_message_is_told(self: MemoryChatStore, message: ChatMessage) -> None:
    """Every call is told, whether it adds a message or not."""
    if any(one.id == message.id for one in await self._get_messages(message.room_id)):
        self._dispatch(self._change_events.for_message(message))
    await append(self, message)


@MUTANTS.breaks((ChangeEvents, "for_message"), "a_message_is_published")
def a_message_is_told_without_its_unknown_fields(self: ChangeEvents, message: ChatMessage) -> Sequence[EncodedEvent]:
    """What the library does not know is left out."""
    known = {name: getattr(message, name) for name in ChatMessage.model_fields}
    return of_message(self, ChatMessage(**known))


@MUTANTS.breaks((MemoryChatStore, "_delete_messages"), "a_cleared_chat_is_published")
async def a_clearing_is_always_told(self: MemoryChatStore, room_id: str) -> None:
    """The clearing of an empty chat is told."""
    self._chats.pop(room_id)
    self._dispatch(self._change_events.for_reset(room_id))


class CutHarness(MemoryHarness):
    """Memory with a connection that can be lost: what `cut` does is what a store does that notices it."""

    capabilities = MemoryHarness.capabilities | {Capability.DISCONNECT}

    async def disconnect(self) -> None:
        """Lose."""
        self._database.namespace("").subscribers.mark_gap()


CUTS = Mistakes(CutHarness)


@CUTS.breaks((SubscriberRegistry, "mark_gap"), "a_lost_connection_produces_a_resync")
def a_cut_is_silent(_self: SubscriberRegistry) -> None:
    """What was published meanwhile is missing, and nobody is told."""


@CUTS.breaks((SubscriberRegistry, "mark_gap"), "a_lost_connection_produces_a_resync")
def a_cut_is_told_to_one(self: SubscriberRegistry) -> None:
    """Only the readers of one room are told."""
    for readers in tuple(self._queues.values())[:1]:
        for reader in readers:
            reader.mark_gap()


@CUTS.breaks((SubscriberRegistry, "mark_gap"), "a_lost_connection_produces_a_resync")
def a_cut_ends_the_reading(self: SubscriberRegistry) -> None:
    """Readers are told, and hear nothing any more."""
    for readers in self._queues.values():
        for reader in readers:
            reader.mark_gap()
    self._queues.clear()


class SilentStore(MemoryStore):
    """A store in memory that tells no events."""

    _supports_events = False

    def __init__(self, settings: StoreSettings, clock: Clock) -> None:
        super().__init__(settings, clock=clock)
        self.events = events.UnsupportedEvents()


class SilentHarness(MemoryHarness):
    """Such stores, which share nothing."""

    capabilities = MemoryHarness.capabilities - {Capability.EVENTS, Capability.SHARED}

    def open_store(self, **settings: Any) -> MemoryStore:
        """Return a new one."""
        return SilentStore(StoreSettings(**settings), self._clock)


SILENT = Mistakes(SilentHarness)


@SILENT.breaks((SilentStore, "_check_events"), "publish_changes_requires_events")
def changes_are_silently_untold(_self: SilentStore) -> None:
    """Who asks for changes to be told never learns that nobody tells them."""
