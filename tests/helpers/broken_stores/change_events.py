"""Mutants of the events that stores publish for their changes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from broken_stores.mutant import Mutants
from wnc_store import ChatMessage, Clock, Room, RoomChanged, RoomEvent, StoreSettings, to_wire
from wnc_store.base import BaseStore, ChangeEvents, EncodedEvent, Lifecycle, events
from wnc_store.base.diff import diff_rooms
from wnc_store_contract.harness import Capability
from wnc_store_contract.memory import MemoryHarness
from wnc_store_memory import MemoryStore
from wnc_store_memory.chat import MemoryChatStore
from wnc_store_memory.rooms import MemoryRoomStore

MUTANTS = Mutants()

init, for_message, add = ChangeEvents.__init__, ChangeEvents.for_message, MemoryChatStore._add
init_store = BaseStore.__init__


@MUTANTS.breaks(
    (ChangeEvents, "__init__"),
    "changes_are_published_only_if_enabled",
    "edits_are_published_only_if_enabled",
)
def changes_are_always_published(self: ChangeEvents, settings: StoreSettings) -> None:
    """Ignore the setting publish_changes."""
    init(self, settings.model_copy(update={"publish_changes": True}))


@MUTANTS.breaks(
    (ChangeEvents, "_encode_or_resync"),
    "an_oversized_change_is_published_as_resync",
    "an_oversized_message_is_published_as_resync",
    "an_oversized_edit_is_published_as_resync",
)
def change_events_have_no_size_limit(_self: ChangeEvents, event: RoomEvent) -> EncodedEvent:
    """Do not check the size of a change's event."""
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
    "a_rotation_is_published_without_the_token",
)
def change_events_have_the_old_revision(before: Room | None, after: Room | None) -> Sequence[RoomEvent]:
    """Publish changes with the previous revision, so that subscribers skip them."""
    return [
        event.model_copy(update={"rev": event.rev - 1}) if event.rev is not None else event
        for event in diff_rooms(before, after)
    ]


@MUTANTS.breaks((events, "diff_rooms"), "a_new_room_is_published", "expiry_is_not_published")
def new_room_events_have_a_revision(before: Room | None, after: Room | None) -> Sequence[RoomEvent]:
    """Publish a new room with its revision, so that subscribers who knew an older room skip it."""
    return [RoomChanged(room_id=after.id, rev=after.rev)] if after and not before else diff_rooms(before, after)


@MUTANTS.breaks(
    (events, "diff_rooms"),
    "a_leave_is_published",
    "edits_and_updates_are_published",
    "a_rotation_is_published_without_the_token",
)
def only_the_first_event_of_a_commit_is_published(before: Room | None, after: Room | None) -> Sequence[RoomEvent]:
    """Drop the other events of a commit."""
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
    "a_rotation_is_published_without_the_token",
)
def every_change_is_published_as_room_changed(before: Room | None, after: Room | None) -> Sequence[RoomEvent]:
    """Replace every event by RoomChanged."""
    if after is None or before is None or after is before:
        return diff_rooms(before, after)
    return [RoomChanged(room_id=after.id, rev=after.rev)]


@MUTANTS.breaks(
    (events, "diff_rooms"),
    "a_new_room_is_published",
    "expiry_is_not_published",
    "host_tokens_are_not_published",
    "edits_and_updates_are_published",
    "a_rotation_is_published_without_the_token",
)
def room_changed_contains_the_room(before: Room | None, after: Room | None) -> Sequence[RoomEvent]:
    """Add the whole room to every RoomChanged."""
    return [
        event.with_extra({"room": after.to_json()}) if after and isinstance(event, RoomChanged) else event
        for event in diff_rooms(before, after)
    ]


@MUTANTS.breaks((MemoryRoomStore, "_delete"), "expiry_is_not_published", "calls_without_effect_are_not_published")
async def a_delete_without_effect_is_published(self: MemoryRoomStore, room_id: str) -> bool:
    """Publish the deletion of a missing room."""
    self._dispatch(self._change_events.for_delete(room_id))
    return self._remove(room_id)


@MUTANTS.breaks(
    (MemoryRoomStore, "_delete"),
    "a_deleted_room_is_published",
    "a_cancelled_write_of_a_room_publishes_its_event",
    "a_change_can_be_read_when_its_event_arrives",
)
async def a_delete_is_not_published(self: MemoryRoomStore, room_id: str) -> bool:
    """Do not publish deletions."""
    return self._remove(room_id)


@MUTANTS.breaks((MemoryRoomStore, "_prune_index"), "expiry_is_not_published")
async def a_sweep_is_published(self: MemoryRoomStore) -> int:
    """Publish each room that the sweep removes."""
    expired = [room_id for room_id in self._rooms._entries if self._rooms.get(room_id) is None]
    list(self._rooms.purge_expired())
    for room_id in expired:
        self._dispatch(self._change_events.for_delete(room_id))
    return len(expired)


@MUTANTS.breaks((MemoryChatStore, "_add"), "a_message_is_published")
async def a_repeated_message_is_published(self: MemoryChatStore, message: ChatMessage) -> None:
    """Publish a message that is stored already."""
    if any(stored.id == message.id for stored in await self._get_messages(message.room_id)):
        self._dispatch(self._change_events.for_message(message))
    await add(self, message)


@MUTANTS.breaks((ChangeEvents, "for_message"), "a_message_is_published")
def message_events_drop_extra_fields(self: ChangeEvents, message: ChatMessage) -> Sequence[EncodedEvent]:
    """Publish a message without its extra fields."""
    declared = {name: getattr(message, name) for name in ChatMessage.model_fields}
    return for_message(self, ChatMessage(**declared))


@MUTANTS.breaks((MemoryChatStore, "_delete_messages"), "a_cleared_chat_is_published")
async def a_clear_without_effect_is_published(self: MemoryChatStore, room_id: str) -> None:
    """Publish the clearing of an empty chat."""
    self._chats.pop(room_id)
    self._dispatch(self._change_events.for_clear(room_id))


class EventlessStore(MemoryStore):
    """A memory store without events."""

    def __init__(self, settings: StoreSettings, clock: Clock) -> None:
        full = MemoryStore(settings.model_copy(update={"publish_changes": False}), clock=clock)
        self.rooms = full.rooms
        parts: dict[str, Any] = {"chat": full.chat, "connections": full.connections, "rate_limits": full.rate_limits}
        super(MemoryStore, self).__init__(settings, full._lifecycle, **parts)


class EventlessHarness(MemoryHarness):
    """Memory stores without events, each with its own data."""

    capabilities = frozenset({Capability.CHAT, Capability.LISTING, Capability.CONNECTIONS, Capability.RATE_LIMITS})

    def open_store(self, **settings: Any) -> MemoryStore:
        """Return a store with its own data."""
        return EventlessStore(StoreSettings(**settings), self._clock)


UNSUPPORTED = Mutants(EventlessHarness)


@UNSUPPORTED.breaks((BaseStore, "__init__"), "publish_changes_requires_events")
def publish_changes_is_ignored_without_events(
    self: BaseStore, settings: StoreSettings, lifecycle: Lifecycle, **parts: Any
) -> None:
    """Accept publish_changes although no events are published."""
    init_store(self, settings.model_copy(update={"publish_changes": False}), lifecycle, **parts)
