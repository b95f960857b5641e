"""Mutants that renew a TTL wrongly, or are wrong shortly before its end."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from typing import Any, cast

from broken_stores.mutant import Mutants
from wnc_store import ChatMessage, Room, UserNotFoundError
from wnc_store_memory.chat import MemoryChatStore
from wnc_store_memory.limiters import MemoryConnectionCounter, MemoryRateLimiter
from wnc_store_memory.rooms import MemoryRoomStore
from wnc_store_memory.ttl_map import TTLMap

MUTANTS = Mutants()

transfer_host, get_room_ttl, iter_ids = (
    MemoryRoomStore.transfer_host,
    MemoryRoomStore._get_ttl,
    MemoryRoomStore._iter_ids,
)
get_messages, get_chat_ttl = MemoryChatStore._get_messages, MemoryChatStore._get_ttl
acquire, peek = MemoryConnectionCounter._acquire, MemoryRateLimiter._peek
add, hit, set_entry = MemoryChatStore._add, MemoryRateLimiter._hit, cast("Any", TTLMap)._set

MILLISECOND = timedelta(milliseconds=1)
DAY_MS = 86_400_000


@MUTANTS.breaks(
    (MemoryRoomStore, "transfer_host"),
    "the_expiry_of_a_room_after_every_operation",
    "the_listing_of_a_room_after_every_operation",
    "ttls_are_exact_after_every_operation",
    "an_operation_touches_only_its_part",
)
async def a_refused_transfer_renews(self: MemoryRoomStore, room_id: str, user_id: str, **options: bool) -> Room:
    """Renew the room before checking the user."""
    try:
        return await transfer_host(self, room_id, user_id, **options)
    except UserNotFoundError:
        if (entry := self._rooms.get(room_id)) is not None:
            self._rooms.set(room_id, entry.value, self._room_ttl_ms)
        raise


@MUTANTS.breaks((MemoryRoomStore, "_get_ttl"), "the_expiry_of_a_room_after_every_operation")
async def a_room_is_missed_before_it_expires(self: MemoryRoomStore, room_id: str) -> timedelta | None:
    """Return no TTL in the last 10 ms, as a rounded comparison may do."""
    ttl = await get_room_ttl(self, room_id)
    return None if ttl is None or ttl < 10 * MILLISECOND else ttl


@MUTANTS.breaks((MemoryRoomStore, "_iter_ids"), "the_listing_of_a_room_after_every_operation")
async def a_room_is_unlisted_before_it_expires(self: MemoryRoomStore) -> AsyncIterator[str]:
    """Do not list rooms in their last second, as an index in whole seconds does."""
    async for room_id in iter_ids(self):
        if (self._rooms.remaining_ms(room_id) or 0) >= 1000:
            yield room_id


@MUTANTS.breaks((MemoryChatStore, "_get_messages"), "the_expiry_of_a_chat_after_every_operation")
async def a_chat_is_empty_before_it_expires(self: MemoryChatStore, room_id: str) -> Sequence[ChatMessage]:
    """Return no messages in the last second."""
    return await get_messages(self, room_id) if (self._chats.remaining_ms(room_id) or 0) >= 1000 else []


@MUTANTS.breaks((MemoryConnectionCounter, "_acquire"), "the_expiry_of_a_lease_after_every_operation")
async def a_refused_acquire_renews_the_others(
    self: MemoryConnectionCounter, key: str, connection_id: str, limit: int | None, ttl: timedelta
) -> tuple[bool, int]:
    """Renew the leases of the key, also if the new one is refused."""
    accepted, count = await acquire(self, key, connection_id, limit, ttl)
    if not accepted:
        for other in self._live(key):
            await acquire(self, key, other, None, ttl)
    return accepted, count


@MUTANTS.breaks((MemoryRateLimiter, "_peek"), "the_expiry_of_a_window_after_every_operation")
async def a_window_ends_early(self: MemoryRateLimiter, key: str) -> tuple[int, timedelta]:
    """Ignore hits in the last second of their window."""
    count, rest = await peek(self, key)
    return (count, rest) if rest >= timedelta(seconds=1) else (0, timedelta(0))


@MUTANTS.breaks((MemoryChatStore, "_get_ttl"), "ttls_are_exact_after_every_operation")
async def a_chats_ttl_is_too_short(self: MemoryChatStore, room_id: str) -> timedelta | None:
    """Return a TTL that is one millisecond shorter than the setting directly after a write."""
    ttl = await get_chat_ttl(self, room_id)
    return None if ttl is None else ttl - MILLISECOND


@MUTANTS.breaks((TTLMap, "_set"), "the_longest_ttls_are_kept", "the_ttl_of_a_lease_has_millisecond_precision")
def a_ttl_has_30_days_at_most(self: TTLMap[Any], *entry: Any) -> None:
    """Shorten TTLs to 30 days, as some caches do."""
    *others, ttl_ms = entry
    set_entry(self, *others, min(ttl_ms, 30 * DAY_MS))


@MUTANTS.breaks((TTLMap, "_set"), "short_ttls_are_not_rounded_up")
def a_ttl_has_a_second_at_least(self: TTLMap[Any], *entry: Any) -> None:
    """Extend TTLs to a second, the unit of many servers."""
    *others, ttl_ms = entry
    set_entry(self, *others, max(ttl_ms, 1000))


@MUTANTS.breaks((MemoryChatStore, "_add"), "the_last_writer_sets_the_ttl")
async def a_message_never_shortens_a_ttl(self: MemoryChatStore, message: ChatMessage) -> None:
    """Keep the TTL of the chat if it is longer than chat_ttl."""
    former = self._chats.get(message.room_id)
    await add(self, message)
    current = self._chats.get(message.room_id)
    if former and current and former.expires_ms > current.expires_ms:
        self._chats.change(message.room_id, former, current.value)


@MUTANTS.breaks((MemoryRateLimiter, "_hit"), "the_last_writer_sets_the_ttl")
async def a_hit_shortens_the_window(self: MemoryRateLimiter, key: str, cost: int) -> tuple[int, timedelta]:
    """End the window rate_limit_window after a hit, if it would end later."""
    count, rest = await hit(self, key, cost)
    if rest > self._window_ms * MILLISECOND:
        self._hits.set(key, count, self._window_ms)
    return await peek(self, key)
