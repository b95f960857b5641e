"""Mutants of ids, text and numbers, as drivers and databases may alter them."""

from __future__ import annotations

import json
import re
import unicodedata
from datetime import timedelta
from typing import Any

from broken_stores.mutant import Mutants
from wnc_store import ChatMessage, Room, User
from wnc_store.base import rooms
from wnc_store.records.codec import validated
from wnc_store.records.record import RecordT
from wnc_store_memory.chat import MemoryChatStore
from wnc_store_memory.limiters import MemoryConnectionCounter, MemoryRateLimiter
from wnc_store_memory.rooms import MemoryRoomStore
from wnc_store_memory.ttl_map import Entry, TTLMap

MUTANTS = Mutants()

pop, release = TTLMap[Any].pop, MemoryConnectionCounter._release
acquire, hit = MemoryConnectionCounter._acquire, MemoryRateLimiter._hit
create, add = MemoryRoomStore._create, MemoryChatStore._add


def like(pattern: str, text: str) -> bool:
    """Return whether text matches a pattern of SQL's LIKE."""
    return re.fullmatch(re.escape(pattern).replace("_", "."), text) is not None


@MUTANTS.breaks(
    (TTLMap, "pop"),
    "rooms_with_similar_ids_are_distinct",
    "chats_with_similar_ids_are_distinct",
    "rate_limits_with_similar_keys_are_distinct",
)
def a_key_is_deleted_as_a_pattern(self: TTLMap[Any], key: str) -> Entry[Any] | None:
    """Delete keys that match as a LIKE pattern, where `_` matches any character."""
    for other in [stored for stored in self._entries if stored != key and like(key, stored)]:
        pop(self, other)
    return pop(self, key)


@MUTANTS.breaks((MemoryConnectionCounter, "_release"), "connections_with_similar_keys_are_distinct")
async def a_connection_is_released_as_a_pattern(self: MemoryConnectionCounter, key: str, connection_id: str) -> int:
    """Release connection ids that match as a LIKE pattern."""
    for other in self._live(key):
        if like(connection_id, other):
            await release(self, key, other)
    return await release(self, key, connection_id)


@MUTANTS.breaks((MemoryRoomStore, "_create"), "text_is_stored_unchanged")
async def names_are_truncated_at_nul(self: MemoryRoomStore, room: Room) -> bool:
    """Treat NUL as the end of the text, as a C driver may do."""
    return await create(self, room.model_copy(update={"host_name": room.host_name.partition("\x00")[0]}))


@MUTANTS.breaks((MemoryChatStore, "_add"), "message_text_is_stored_unchanged")
async def messages_are_normalized(self: MemoryChatStore, message: ChatMessage) -> None:
    """Normalize the text to NFC, for example for a search index."""
    await add(self, message.model_copy(update={"message": unicodedata.normalize("NFC", message.message)}))


@MUTANTS.breaks((rooms, "validated"), "any_user_id_is_accepted")
def user_ids_are_normalized(record: RecordT, kind: type[RecordT]) -> RecordT:
    """Normalize the ids of users to NFC, for example in a column with a collation."""
    valid = validated(record, kind)
    if not isinstance(valid, User):
        return valid
    return valid.model_copy(update={"id": unicodedata.normalize("NFC", valid.id)})


@MUTANTS.breaks((MemoryChatStore, "_add"), "any_message_id_is_accepted")
async def message_ids_ignore_case(self: MemoryChatStore, message: ChatMessage) -> None:
    """Compare the ids of messages without case, as some databases do."""
    stored = [entry.id for entry in await self._get_messages(message.room_id)]
    if message.id.casefold() not in [message_id.casefold() for message_id in stored]:
        await add(self, message)


@MUTANTS.breaks((MemoryConnectionCounter, "_acquire"), "connections_of_any_address_are_counted")
async def zones_are_dropped(
    self: MemoryConnectionCounter, key: str, connection_id: str, limit: int | None, ttl: timedelta
) -> tuple[bool, int]:
    """Count an IPv6 address without its zone."""
    return await acquire(self, key.partition("%")[0], connection_id, limit, ttl)


@MUTANTS.breaks((MemoryRateLimiter, "_hit"), "hits_of_any_address_are_counted")
async def hits_ignore_zones(self: MemoryRateLimiter, key: str, cost: int) -> tuple[int, timedelta]:
    """Count hits of an IPv6 address without its zone."""
    return await hit(self, key.partition("%")[0], cost)


@MUTANTS.breaks((MemoryRoomStore, "_create"), "integers_are_stored_unchanged")
async def numbers_are_doubles(self: MemoryRoomStore, room: Room) -> bool:
    """Parse integers as doubles."""
    counts = room.model_extra.get("counts")
    return await create(self, room.with_extra({"counts": rounded(counts)} if counts else {}))


def rounded(value: Any) -> Any:
    """Return JSON values with integers rounded to doubles."""
    return json.loads(json.dumps(value), parse_int=lambda digits: int(float(digits)))
