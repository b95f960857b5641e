"""Mistakes in how ids, text and numbers are stored: those of drivers and databases."""

from __future__ import annotations

import json
import re
import unicodedata
from typing import Any

from broken_stores.mutant import Mistakes
from wnc_store import ChatMessage, Room
from wnc_store_memory.limiters import MemoryConnectionCounter
from wnc_store_memory.rooms import MemoryChatStore, MemoryRoomStore
from wnc_store_memory.ttl_map import Entry, TTLMap

MUTANTS = Mistakes()

pop, release = TTLMap[Any].pop, MemoryConnectionCounter._release
insert, append = MemoryRoomStore._create, MemoryChatStore._add


def like(pattern: str, text: str) -> bool:
    """Compare as SQL's LIKE does."""
    return re.fullmatch(re.escape(pattern).replace("_", "."), text) is not None


@MUTANTS.breaks(
    (TTLMap, "pop"),
    "rooms_with_similar_ids_are_distinct",
    "chats_with_similar_ids_are_distinct",
    "rate_limits_with_similar_keys_are_distinct",
)
def a_key_is_deleted_as_a_pattern(self: TTLMap[Any], key: str) -> Entry[Any] | None:
    """DELETE ... WHERE key LIKE: an underscore stands for any character."""
    for other in [one for one in self._entries if one != key and like(key, one)]:
        pop(self, other)
    return pop(self, key)


@MUTANTS.breaks((MemoryConnectionCounter, "_release"), "connections_with_similar_keys_are_distinct")
async def a_connection_is_released_as_a_pattern(self: MemoryConnectionCounter, key: str, connection_id: str) -> int:
    """Likewise."""
    for other in self._live(key):
        if like(connection_id, other):
            await release(self, key, other)
    return await release(self, key, connection_id)


@MUTANTS.breaks((MemoryRoomStore, "_create"), "text_is_stored_unchanged")
async def names_are_cut_at_a_nul(self: MemoryRoomStore, room: Room) -> bool:
    """A driver in C takes a NUL for the end of the text."""
    return await insert(self, room.model_copy(update={"host_name": room.host_name.partition("\x00")[0]}))


@MUTANTS.breaks((MemoryChatStore, "_add"), "message_text_is_stored_unchanged")
async def messages_are_normalized(self: MemoryChatStore, message: ChatMessage) -> None:
    """Someone thought it better for searching."""
    await append(self, message.model_copy(update={"message": unicodedata.normalize("NFC", message.message)}))


@MUTANTS.breaks((MemoryRoomStore, "_create"), "integers_are_stored_unchanged")
async def numbers_are_doubles(self: MemoryRoomStore, room: Room) -> bool:
    """JSON is parsed by something that knows no integers."""
    counts = room.model_extra.get("counts")
    return await insert(self, room.with_extra({"counts": rounded(counts)} if counts else {}))


def rounded(value: Any) -> Any:
    """Return JSON values as doubles hold them."""
    return json.loads(json.dumps(value), parse_int=lambda digits: int(float(digits)))
