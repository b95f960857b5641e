"""Mistakes in who hears what, and in what is told."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from typing import Any

from broken_stores.mutant import Mistakes
from wnc_store import (
    BaseRoomEvents,
    ChatMessage,
    Clock,
    EventReader,
    OwnChanges,
    Readers,
    Resync,
    Room,
    RoomChanged,
    RoomEvent,
    StoreSettings,
    Telling,
    to_wire,
)
from wnc_store.base import events
from wnc_store.base.diff import changes
from wnc_store_contract.harness import Capability
from wnc_store_contract.memory import MemoryHarness
from wnc_store_memory import MemoryStore
from wnc_store_memory.events import MemoryRoomEvents
from wnc_store_memory.rooms import MemoryChatStore, MemoryRoomStore

MISTAKES = Mistakes()

give, lose, end, deliver = EventReader.give, EventReader.lose, EventReader.end, Readers.deliver
own_init, of_message, append = OwnChanges.__init__, OwnChanges.of_message, MemoryChatStore._append


@MISTAKES.breaks(
    (Readers, "deliver"),
    "each_reader_hears_all",
    "a_reader_that_left_hears_no_more",
    "many_subscribe_at_the_same_moment",
    "a_slow_reader_harms_no_other",
    "a_slow_reader_is_told_what_it_lost",
)
def one_reader_of_a_room_hears(self: Readers, told: Iterable[RoomEvent]) -> None:
    """Only one of a room's readers gets an event."""
    for event in told:
        for reader in tuple(self._of.get(event.room_id, ()))[:1]:
            reader.give(event)


@MISTAKES.breaks(
    (Readers, "deliver"),
    "many_subscribe_at_the_same_moment",
    "rooms_are_heard_apart",
    "what_changes_nothing_is_not_told",
)
def every_reader_hears_everything(self: Readers, told: Iterable[RoomEvent]) -> None:
    """Rooms are not told apart."""
    for event in told:
        for readers in self._of.values():
            for reader in readers:
                reader.give(event)


@MISTAKES.breaks(
    (Readers, "deliver"),
    "a_reader_that_left_hears_no_more",
    "a_slow_reader_harms_no_other",
    "a_slow_reader_is_told_what_it_lost",
    "each_reader_hears_all",
)
def an_event_is_told_twice(self: Readers, told: Iterable[RoomEvent]) -> None:
    """Where a room has two readers, each hears everything two times."""
    for event in told:
        deliver(self, (event,) * len(self._of.get(event.room_id, ())))


@MISTAKES.breaks((EventReader, "give"), "a_slow_reader_is_told_what_it_lost")
def a_queue_has_no_end(self: EventReader, event: RoomEvent) -> None:
    """As many events wait as there are."""
    self._waiting.append(event)
    self._news.set()


@MISTAKES.breaks((EventReader, "give"), "events_come_in_order", "joins_at_the_same_moment_are_all_told")
def the_newest_is_told_first(self: EventReader, event: RoomEvent) -> None:
    """When many events wait, others overtake them."""
    give(self, event)
    if len(self._waiting) > 40:
        self._waiting.appendleft(self._waiting.pop())


@MISTAKES.breaks((EventReader, "lose"), "a_slow_reader_is_told_what_it_lost")
def a_loss_is_silent(_self: EventReader) -> None:
    """What a slow reader misses is not told."""


@MISTAKES.breaks((EventReader, "lose"), "a_slow_reader_is_told_what_it_lost")
def every_loss_is_told(self: EventReader) -> None:
    """Each lost event puts a marker into the queue."""
    self._waiting.append(Resync(room_id=self.room_id))


@MISTAKES.breaks((EventReader, "lose"), "a_slow_reader_is_told_what_it_lost")
def a_loss_is_the_last_that_is_told(self: EventReader) -> None:
    """After a loss nothing comes again."""
    lose(self)
    self._size = 0


@MISTAKES.breaks((EventReader, "__anext__"), "a_cancelled_reading_loses_nothing")
async def a_cancelled_reading_takes_an_event(self: EventReader) -> RoomEvent:
    """The event is taken before the call is sure to return it."""
    while not self._waiting:
        if self._end is not None:
            raise self._end
        await asyncio.sleep(0)
    if self._end is not None:
        raise self._end
    event = self._waiting.popleft()
    await asyncio.sleep(0)
    return event


@MISTAKES.breaks((EventReader, "end"), "a_reader_that_left_hears_no_more", "closing_ends_a_reading")
def a_reading_never_ends(_self: EventReader, _reason: type[Exception]) -> None:
    """Readers are left waiting."""


@MISTAKES.breaks((EventReader, "end"), "closing_ends_a_reading")
def a_closed_store_ends_readings_quietly(self: EventReader, _reason: type[Exception]) -> None:
    """Readers can't tell that the store was closed."""
    end(self, StopAsyncIteration)


@MISTAKES.breaks((MemoryRoomEvents, "_detach"), "nothing_is_heard_from_before", "the_end_of_a_room_is_told")
def what_came_before_is_told(self: MemoryRoomEvents, reader: EventReader) -> None:
    """What comes when nobody listens any more is kept for the next reader of the room."""
    self._readers.discard(reader)
    if reader.room_id in self._readers.rooms():
        return
    attach = self._attach

    async def attach_with_history(late: EventReader) -> None:
        if late.room_id == reader.room_id:
            late._waiting = reader._waiting
            self._readers.discard(reader)
        await attach(late)

    self._readers.add(reader)
    vars(self)["_attach"] = attach_with_history


@MISTAKES.breaks(
    (MemoryRoomEvents, "_attach"),
    "a_reader_that_left_hears_no_more",
    "a_slow_reader_harms_no_other",
    "a_slow_reader_is_told_what_it_lost",
    "each_reader_hears_all",
    "many_subscribe_at_the_same_moment",
)
async def a_subscription_begins_late(self: MemoryRoomEvents, reader: EventReader) -> None:
    """Who is not the first reader of a room is entered before the subscription stands."""
    if reader.room_id in self._readers.rooms():
        asyncio.get_running_loop().call_later(0.01, self._readers.add, reader)
    else:
        self._readers.add(reader)


@MISTAKES.breaks(
    (MemoryRoomEvents, "_detach"), "a_reader_that_left_hears_no_more", "closing_one_client_leaves_the_others_reading"
)
def who_leaves_takes_the_others_along(self: MemoryRoomEvents, reader: EventReader) -> None:
    """The room's channel is given up while others read it."""
    self._readers._of.pop(reader.room_id, None)


@MISTAKES.breaks((events, "checked"), "what_is_no_event_is_refused")
def an_event_is_not_checked(event: RoomEvent, _kind: type[RoomEvent]) -> RoomEvent:
    """Whatever a caller passes is published."""
    return event


@MISTAKES.breaks((BaseRoomEvents, "publish"), "a_large_event_is_refused", "what_is_no_event_is_refused")
async def any_size_goes(self: BaseRoomEvents, room_id: str, event: RoomEvent) -> None:
    """Nobody looks how large an event is, or whose."""
    self._check(room_id)
    event = events.checked(event, RoomEvent)
    await self._publish(Telling(event, to_wire(event)))


@MISTAKES.breaks((OwnChanges, "__init__"), "changes_are_told_only_when_asked_for")
def changes_are_told_unasked(self: OwnChanges, settings: StoreSettings) -> None:
    """The setting is not heeded."""
    own_init(self, settings.model_copy(update={"publish_changes": True}))


@MISTAKES.breaks(
    (OwnChanges, "_fitting"), "a_change_too_large_for_an_event_is_told", "a_message_too_large_for_an_event_is_told"
)
def a_change_is_as_large_as_it_likes(_self: OwnChanges, event: RoomEvent) -> Telling:
    """Nobody looks how large an event is."""
    return Telling(event, to_wire(event))


@MISTAKES.breaks(
    (events, "changes"),
    "a_handover_is_told",
    "a_join_is_told",
    "a_leave_is_told",
    "changes_of_two_clients_come_in_order",
    "joins_at_the_same_moment_are_all_told",
    "the_end_of_a_room_is_told",
    "the_video_is_told",
    "whole_rooms_are_told",
)
def changes_have_the_revision_before(before: Room | None, after: Room | None) -> Sequence[RoomEvent]:
    """A reader takes every event for one that the room holds already."""
    found = changes(before, after)
    return [one.model_copy(update={"rev": one.rev - 1}) if one.rev is not None else one for one in found]


@MISTAKES.breaks((events, "changes"), "a_new_room_is_told", "an_end_of_time_is_not_told")
def a_new_room_has_a_revision(before: Room | None, after: Room | None) -> Sequence[RoomEvent]:
    """Who knew an older room of that id takes the new one for late."""
    return [RoomChanged(room_id=after.id, rev=after.rev)] if after and not before else changes(before, after)


@MISTAKES.breaks((events, "changes"), "a_leave_is_told", "whole_rooms_are_told")
def only_the_first_event_of_a_commit_is_told(before: Room | None, after: Room | None) -> Sequence[RoomEvent]:
    """What else a commit does is not told."""
    return changes(before, after)[:1]


@MISTAKES.breaks(
    (events, "changes"),
    "a_change_too_large_for_an_event_is_told",
    "a_handover_is_told",
    "a_join_is_told",
    "a_leave_is_told",
    "joins_at_the_same_moment_are_all_told",
    "the_video_is_told",
    "whole_rooms_are_told",
)
def whole_rooms_are_all_that_is_told(before: Room | None, after: Room | None) -> Sequence[RoomEvent]:
    """Every change is a RoomChanged."""
    if after is None or before is None or after is before:
        return changes(before, after)
    return [RoomChanged(room_id=after.id, rev=after.rev)]


@MISTAKES.breaks(
    (events, "changes"),
    "a_new_room_is_told",
    "an_end_of_time_is_not_told",
    "no_host_token_is_told",
    "whole_rooms_are_told",
)
def a_change_tells_the_room(before: Room | None, after: Room | None) -> Sequence[RoomEvent]:
    """The whole room goes with every RoomChanged."""
    found = changes(before, after)
    return [
        one.with_unknown({"room": after.to_json()}) if after and isinstance(one, RoomChanged) else one for one in found
    ]


@MISTAKES.breaks((MemoryRoomStore, "_remove"), "an_end_of_time_is_not_told", "what_changes_nothing_is_not_told")
async def a_deletion_is_always_told(self: MemoryRoomStore, room_id: str) -> bool:
    """The deletion of a room that is not there is told."""
    self._tell(self._own_changes.of_removal(room_id))
    return self._forget(room_id)


@MISTAKES.breaks((MemoryRoomStore, "_remove"), "the_end_of_a_room_is_told")
async def a_deletion_is_not_told(self: MemoryRoomStore, room_id: str) -> bool:
    """A room ends in silence."""
    return self._forget(room_id)


@MISTAKES.breaks((MemoryRoomStore, "_sweep"), "an_end_of_time_is_not_told")
async def a_sweep_is_told(self: MemoryRoomStore) -> int:
    """Each room that has expired is told by the next sweep."""
    gone = [room_id for room_id in self._rooms._entries if self._rooms.get(room_id) is None]
    list(self._rooms.free())
    for room_id in gone:
        self._tell(self._own_changes.of_removal(room_id))
    return len(gone)


@MISTAKES.breaks((MemoryChatStore, "_append"), "a_message_is_told")
async def a_repeated_message_is_told(self: MemoryChatStore, message: ChatMessage) -> None:
    """Every call is told, whether it adds a message or not."""
    if any(one.id == message.id for one in await self._read(message.room_id)):
        self._tell(self._own_changes.of_message(message))
    await append(self, message)


@MISTAKES.breaks((OwnChanges, "of_message"), "a_message_is_told")
def a_message_is_told_without_its_unknown_fields(self: OwnChanges, message: ChatMessage) -> Sequence[Telling]:
    """What the library does not know is left out."""
    known = {name: getattr(message, name) for name in ChatMessage.model_fields}
    return of_message(self, ChatMessage(**known))


@MISTAKES.breaks((MemoryChatStore, "_clear"), "cleared_messages_are_told")
async def a_clearing_is_always_told(self: MemoryChatStore, room_id: str) -> None:
    """The clearing of an empty chat is told."""
    self._chats.pop(room_id)
    self._tell(self._own_changes.of_upheaval(room_id))


class CutHarness(MemoryHarness):
    """Memory with a connection that can be lost: what `cut` does is what a store does that notices it."""

    capabilities = MemoryHarness.capabilities | {Capability.CUT}

    async def cut(self) -> None:
        """Lose."""
        self._database.namespace("").readers.lose()


CUTS = Mistakes(CutHarness)


@CUTS.breaks((Readers, "lose"), "a_reader_is_told_of_a_cut")
def a_cut_is_silent(_self: Readers) -> None:
    """What was published meanwhile is missing, and nobody is told."""


@CUTS.breaks((Readers, "lose"), "a_reader_is_told_of_a_cut")
def a_cut_is_told_to_one(self: Readers) -> None:
    """Only the readers of one room are told."""
    for readers in tuple(self._of.values())[:1]:
        for reader in readers:
            reader.lose()


@CUTS.breaks((Readers, "lose"), "a_reader_is_told_of_a_cut")
def a_cut_ends_the_reading(self: Readers) -> None:
    """Readers are told, and hear nothing any more."""
    for readers in self._of.values():
        for reader in readers:
            reader.lose()
    self._of.clear()


class SilentStore(MemoryStore):
    """A store in memory that tells no events."""

    def __init__(self, settings: StoreSettings, clock: Clock) -> None:
        super().__init__(settings, clock=clock)
        self.events = events.NoEvents()
        self._check_events(settings)


class SilentHarness(MemoryHarness):
    """Such stores, which share nothing."""

    capabilities = MemoryHarness.capabilities - {Capability.EVENTS, Capability.SHARED}

    def open_store(self, **settings: Any) -> MemoryStore:
        """Return a new one."""
        return SilentStore(StoreSettings(**settings), self._clock)


SILENT = Mistakes(SilentHarness)


@SILENT.breaks((SilentStore, "_check_events"), "changes_are_not_silently_untold")
def changes_are_silently_untold(_self: SilentStore, _settings: StoreSettings) -> None:
    """Who asks for changes to be told never learns that nobody tells them."""
