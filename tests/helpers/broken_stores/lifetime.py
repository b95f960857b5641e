"""Mutants of TTL renewal."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from typing import Any

from broken_stores.mutant import Mutants
from wnc_store import ChatMessage, Room, StoreSettings
from wnc_store.base import Lifecycle
from wnc_store_memory.chat import MemoryChatStore
from wnc_store_memory.database import Namespace
from wnc_store_memory.rooms import MemoryRoomStore
from wnc_store_memory.ttl_map import Entry, TTLMap

MUTANTS = Mutants()

DAY_MS = 86_400_000
replace, add, get_messages = MemoryRoomStore._replace, MemoryChatStore._add, MemoryChatStore._get_messages
init_chat, get_room = MemoryChatStore.__init__, MemoryRoomStore.get_room


def renew(entries: TTLMap[Any], key: str, ttl_ms: int | None) -> None:
    """Set the TTL of a live entry; None changes nothing."""
    entry = entries.get(key)
    if entry is not None and ttl_ms is not None:
        entries.set(key, entry.value, ttl_ms)


def without_renewal(method: str) -> Callable[..., Awaitable[object]]:
    """Return a method that does not renew the TTL of the room."""
    original: Callable[..., Awaitable[object]] = getattr(MemoryRoomStore, method)

    async def broken(self: MemoryRoomStore, room_id: str, *args: Any, **options: Any) -> object:
        remaining = self._rooms.remaining_ms(room_id)
        result = await original(self, room_id, *args, **options)
        renew(self._rooms, room_id, remaining)
        return result

    return broken


for method, *others in (
    ("update_room",),
    ("edit_room",),
    ("add_user_to_room", "clients_may_differ_in_settings", "ttl_reads_see_writes_of_other_clients"),
    ("remove_user_from_room",),
    ("transfer_host",),
    ("rotate_host_token",),
    ("update_video_state",),
    ("set_video_url",),
):
    breaks = MUTANTS.breaks((MemoryRoomStore, method), f"{method}_renews", *others, name=f"{method} does not renew")
    breaks(without_renewal(method))


@MUTANTS.breaks((MemoryRoomStore, "get_room"), "reading_a_room_does_not_renew", "a_room_expires_after_24_hours")
async def reading_a_room_renews_it(self: MemoryRoomStore, room_id: str) -> Room | None:
    """Renew the TTL of a room that is read."""
    room = await get_room(self, room_id)
    renew(self._rooms, room_id, self._room_ttl_ms)
    return room


@MUTANTS.breaks((MemoryRoomStore, "_get_ttl"), "room_ttl_has_millisecond_precision")
async def room_ttl_is_in_whole_seconds(self: MemoryRoomStore, room_id: str) -> timedelta | None:
    """Round the TTL down to seconds."""
    remaining = self._rooms.remaining_ms(room_id)
    return None if remaining is None else timedelta(seconds=remaining // 1000)


@MUTANTS.breaks((MemoryRoomStore, "_replace"), "writing_a_room_does_not_renew_the_chat")
def writing_a_room_renews_the_chat(
    self: MemoryRoomStore, room_id: str, before: Entry[Room], after: Room | None
) -> bool:
    """Renew the TTL of the chat with that of the room."""
    renew(self._chats, room_id, DAY_MS)
    return replace(self, room_id, before, after)


@MUTANTS.breaks((MemoryChatStore, "__init__"), "a_message_does_not_renew_the_room", "a_sweep_keeps_chats")
def a_message_renews_the_room(
    self: MemoryChatStore, namespace: Namespace, settings: StoreSettings, lifecycle: Lifecycle
) -> None:
    """Renew the TTL of the room with that of the chat."""

    async def add_and_renew(message: ChatMessage) -> None:
        await add(self, message)
        renew(namespace.rooms, message.room_id, DAY_MS)

    init_chat(self, namespace, settings, lifecycle)
    self._add = add_and_renew


@MUTANTS.breaks((MemoryChatStore, "_add"), "each_message_renews_the_chat")
async def a_message_does_not_renew_the_chat(self: MemoryChatStore, message: ChatMessage) -> None:
    """Keep the TTL of the first message."""
    remaining = self._chats.remaining_ms(message.room_id)
    await add(self, message)
    renew(self._chats, message.room_id, remaining)


@MUTANTS.breaks(
    (MemoryChatStore, "_get_messages"),
    "reading_a_chat_does_not_renew",
    "a_chat_expires_after_24_hours",
    "the_chat_ttl_is_configurable",
    "each_message_renews_the_chat",
)
async def reading_a_chat_renews_it(self: MemoryChatStore, room_id: str) -> Sequence[ChatMessage]:
    """Renew the TTL of a chat that is read."""
    renew(self._chats, room_id, self._chat_ttl_ms)
    return await get_messages(self, room_id)
