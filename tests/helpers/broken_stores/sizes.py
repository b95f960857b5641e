"""Mutants that truncate, drop or refuse what is large but within the limits."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta

from broken_stores.mutant import Mutants
from wnc_store import ChatMessage, Room, RoomEvent, StoreUnavailableError, to_wire
from wnc_store.base import EventQueue, SubscriberRegistry
from wnc_store_memory.chat import MemoryChatStore
from wnc_store_memory.chat_history import ChatHistory
from wnc_store_memory.limiters import MemoryConnectionCounter, MemoryRateLimiter
from wnc_store_memory.rooms import MemoryRoomStore

MUTANTS = Mutants()

create, add, dispatch = MemoryRoomStore._create, MemoryChatStore._add, SubscriberRegistry.dispatch
acquire, hit = MemoryConnectionCounter._acquire, MemoryRateLimiter._hit
append, init_queue = ChatHistory.append, EventQueue.__init__


@MUTANTS.breaks((MemoryRoomStore, "_create"), "the_longest_texts_of_a_room_are_stored")
async def names_have_255_characters(self: MemoryRoomStore, room: Room) -> bool:
    """Truncate the name of the host, as VARCHAR(255) does."""
    return await create(self, room.model_copy(update={"host_name": room.host_name[:255]}))


@MUTANTS.breaks((MemoryRoomStore, "_create"), "the_most_users_are_stored")
async def rooms_have_4096_users(self: MemoryRoomStore, room: Room) -> bool:
    """Store the first 4,096 users, as a batch of limited size does."""
    return await create(self, room.model_copy(update={"users": room.users[:4096]}))


@MUTANTS.breaks((MemoryRoomStore, "_create"), "the_largest_room_is_stored")
async def rooms_have_one_megabyte(self: MemoryRoomStore, room: Room) -> bool:
    """Refuse a room of more than 1 MB, as some servers do."""
    if len(to_wire(room)) > 2**20 and len(room.users) < 100:
        raise StoreUnavailableError("the value is too large")
    return await create(self, room)


@MUTANTS.breaks((MemoryChatStore, "_add"), "the_longest_messages_are_stored")
async def messages_have_32767_bytes(self: MemoryChatStore, message: ChatMessage) -> None:
    """Truncate the text of a message to 32,767 bytes, as a column of bytes does."""
    text = message.message.encode("utf-8", "surrogatepass")[:32767].decode("utf-8", "ignore")
    is_long = len(message.message.encode("utf-8", "surrogatepass")) > 32767
    await add(self, message.model_copy(update={"message": text}) if is_long else message)


@MUTANTS.breaks((SubscriberRegistry, "dispatch"), "the_largest_event_is_delivered")
def large_events_are_dropped(self: SubscriberRegistry, events: Iterable[RoomEvent]) -> None:
    """Drop events of 64 KiB or more."""
    dispatch(self, [event for event in events if len(to_wire(event)) < 2**16])


@MUTANTS.breaks((MemoryConnectionCounter, "_acquire"), "many_leases_are_counted")
async def a_key_has_128_leases(
    self: MemoryConnectionCounter, key: str, connection_id: str, limit: int | None, ttl: timedelta
) -> tuple[bool, int]:
    """Drop the oldest of more than 128 leases."""
    result = await acquire(self, key, connection_id, limit, ttl)
    for oldest in [*self._live(key)][:-128]:
        await self._release(key, oldest)
    return result


@MUTANTS.breaks((MemoryRateLimiter, "_hit"), "large_costs_are_counted")
async def counts_have_32_bits(self: MemoryRateLimiter, key: str, cost: int) -> tuple[int, timedelta]:
    """Return a count in 32 bits."""
    count, rest = await hit(self, key, cost)
    return count % 2**32, rest


@MUTANTS.breaks((ChatHistory, "append"), "a_long_history_is_stored")
def histories_have_256_messages(self: ChatHistory, message: ChatMessage, limit: int) -> bool:
    """Keep at most 256 messages."""
    return append(self, message, min(limit, 256))


@MUTANTS.breaks((EventQueue, "__init__"), "the_most_waiting_events_are_delivered")
def queues_have_256_events(self: EventQueue, room_id: str, size: int) -> None:
    """Keep at most 256 waiting events."""
    init_queue(self, room_id, min(size, 256))
