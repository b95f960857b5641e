"""Mutants whose operations touch other ids, parts, prefixes or clients."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from weakref import WeakKeyDictionary

from broken_stores.mutant import Mutants
from wnc_store import Clock, Room, StoreSettings
from wnc_store.base import ChangeEvents, EncodedEvent, Lifecycle
from wnc_store_memory import MemoryDatabase, MemoryStore
from wnc_store_memory.chat import MemoryChatStore
from wnc_store_memory.database import Namespace
from wnc_store_memory.rooms import MemoryRoomStore
from wnc_store_memory.ttl_map import Entry, TTLMap

MUTANTS = Mutants()

delete, clear = MemoryRoomStore._delete, MemoryChatStore._delete_messages
get, create_room, init_store = MemoryRoomStore._get, MemoryRoomStore.create_room, MemoryStore.__init__
CLIENTS: WeakKeyDictionary[Namespace, list[MemoryStore]] = WeakKeyDictionary()
namespace, replace = MemoryDatabase.namespace, TTLMap[Any].replace
init_room_store, init_chat_store = MemoryRoomStore.__init__, MemoryChatStore.__init__


@MUTANTS.breaks((MemoryRoomStore, "_delete"), "an_operation_touches_only_its_id")
async def a_deletion_deletes_chats_by_pattern(self: MemoryRoomStore, room_id: str) -> bool:
    """Delete the chats whose keys end with the id of the room."""
    for other in [*self._chats.live_keys()]:
        if other.endswith(f":{room_id}"):
            self._chats.pop(other)
    return await delete(self, room_id)


def clears_with_a_hit(self: MemoryChatStore, found: Namespace, settings: StoreSettings, lifecycle: Lifecycle) -> None:
    """Count a hit of the key that equals the id of a chat when the chat is deleted."""
    init_chat_store(self, found, settings, lifecycle)
    chats_pop = found.chats.pop

    def popped(key: str) -> Entry[Any] | None:
        if (hits := found.hits.get(key)) is not None:
            found.hits.change(key, hits, hits.value + 1)
        return chats_pop(key)

    self._chats = _WithPop(found.chats, popped)  # type: ignore[assignment]


class _WithPop:
    """A map with another `pop`."""

    def __init__(self, original: TTLMap[Any], popped: Callable[[str], Entry[Any] | None]) -> None:
        self._original = original
        self.pop = popped

    def __getattr__(self, name: str) -> Any:
        return getattr(self._original, name)


MUTANTS.breaks(
    (MemoryChatStore, "__init__"), "an_operation_touches_only_its_part", name="clearing a chat counts a hit of its id"
)(clears_with_a_hit)


@MUTANTS.breaks((MemoryDatabase, "namespace"), "an_operation_touches_only_its_prefix")
def a_new_video_ignores_the_prefix(self: MemoryDatabase, prefix: str) -> Namespace:
    """Delete the chats of the room's id under all other prefixes when its video changes."""
    found = namespace(self, prefix)

    def replaced(key: str, former: Entry[Room], value: Room, ttl_ms: int) -> bool:
        if former.value.video_url != value.video_url:
            for other in self._namespaces.values():
                if other is not found:
                    other.chats.pop(key)
        return replace(found.rooms, key, former, value, ttl_ms)

    found.rooms.replace = replaced  # type: ignore[method-assign]
    return found


@MUTANTS.breaks((MemoryChatStore, "_delete_messages"), "an_operation_publishes_only_to_its_room")
async def a_cleared_chat_is_published_to_many_rooms(self: MemoryChatStore, room_id: str) -> None:
    """Publish the reset of a chat to the rooms whose ids begin with its id, as a pattern does."""
    registry: Any = self._dispatch.__self__  # type: ignore[attr-defined]
    for other in registry.subscribers.rooms():
        if other.startswith(room_id) and other != room_id:
            self._dispatch(self._change_events.for_reset(other))
    await clear(self, room_id)


@MUTANTS.breaks((MemoryDatabase, "namespace"), "an_operation_publishes_only_to_its_prefix")
def a_deletion_is_published_to_all_prefixes(self: MemoryDatabase, prefix: str) -> Namespace:
    """Publish what a commit of a store publishes to the subscribers of the room under any prefix."""
    found = namespace(self, prefix)

    def dispatch(encoded_events: list[EncodedEvent]) -> None:
        for other in self._namespaces.values():
            other.subscribers.dispatch(encoded.event for encoded in encoded_events)

    found.dispatch = dispatch  # type: ignore[method-assign,assignment]
    return found


@MUTANTS.breaks(
    (MemoryChatStore, "__init__"),
    "settings_affect_only_their_client",
    "edits_keep_the_clients_history_limit",
)
def the_last_clients_history_limit_applies(
    self: MemoryChatStore, found: Namespace, settings: StoreSettings, lifecycle: Lifecycle
) -> None:
    """Share the settings of chats, so that the next client replaces them."""
    init_chat_store(self, found, settings, lifecycle)
    shared: Any = found
    shared.chat_stores = [*getattr(shared, "chat_stores", ()), self]
    for store in shared.chat_stores:
        store._settings = settings


@MUTANTS.breaks((MemoryRoomStore, "__init__"), "settings_affect_only_their_client", "clients_may_differ_in_settings")
def the_first_clients_room_ttl_applies(
    self: MemoryRoomStore, found: Namespace, settings: StoreSettings, clock: Clock, lifecycle: Lifecycle
) -> None:
    """Give rooms the longest TTL that any client of the data has set."""
    init_room_store(self, found, settings, clock, lifecycle)
    shared: Any = found
    shared.longest = max(getattr(shared, "longest", 0), self._room_ttl_ms)
    self._room_ttl_ms = shared.longest


@MUTANTS.breaks(
    (MemoryRoomStore, "_get"),
    "the_chat_of_a_missing_room_is_kept",
    "a_cancelled_first_message_is_atomic",
    "a_cancelled_message_is_atomic",
    "a_cancelled_clear_is_atomic",
    "a_cancelled_edit_of_a_message_is_atomic",
    "a_cancelled_removal_is_atomic",
)
async def a_read_deletes_the_chat_of_a_missing_room(self: MemoryRoomStore, room_id: str) -> Room | None:
    """Delete the chat of a room that does not exist, as a lazy clean-up does."""
    room = await get(self, room_id)
    if room is None:
        self._chats.pop(room_id)
    return room


@MUTANTS.breaks((MemoryRoomStore, "create_room"), "the_chat_of_a_missing_room_is_kept")
async def a_refused_create_deletes_the_chat(self: MemoryRoomStore, room: Room) -> None:
    """Delete the leftover chat before validating the room."""
    if self._rooms.get(room.id) is None:
        self._chats.pop(room.id)
    await create_room(self, room)


@MUTANTS.breaks((MemoryStore, "_close"), "data_outlives_its_client")
async def closing_releases_leases(self: MemoryStore) -> None:
    """End the leases when a client closes."""
    for key in [*self._namespace.leases.live_keys()]:
        self._namespace.leases.pop(key)


@MUTANTS.breaks(
    (MemoryStore, "__init__"),
    "event_settings_affect_only_their_client",
    "edits_are_published_only_if_enabled",
)
def the_last_client_sets_publish_changes(
    self: MemoryStore,
    settings: StoreSettings | None = None,
    *,
    clock: Clock | None = None,
    database: MemoryDatabase | None = None,
) -> None:
    """Apply publish_changes of the client that was opened last to all clients of the data."""
    init_store(self, settings, clock=clock, database=database)
    clients = CLIENTS.setdefault(self._namespace, [])
    clients.append(self)
    for client in clients:
        for part in (client.rooms, client.chat):
            vars(part)["_change_events"] = ChangeEvents(settings or StoreSettings())
