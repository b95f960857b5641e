"""What was last seen of rooms and chats: the stored bytes, and what they were read as.

It spares the parsing of bytes that are still the same, and lets a change start from a room without reading it first.
Nothing is taken on trust: the server's bytes are compared with those remembered here before anything is made of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from cachetools import LRUCache

from wnc_store import ChatMessage, Room
from wnc_store.base import VersionedRoom
from wnc_store_redis.transport.statistics import Statistics


class RoomCache:
    """The rooms that were seen last, up to so many stored bytes.

    Args:
        most_bytes: of all rooms together; 0 remembers nothing.
        counts: of the store.
    """

    def __init__(self, most_bytes: int, counts: Statistics) -> None:
        self._counts = counts
        self._rooms: LRUCache[str, VersionedRoom[bytes]] = LRUCache(most_bytes, lambda stored: len(stored.version))

    def get(self, room_id: str) -> VersionedRoom[bytes] | None:
        """Return a room as it was seen last; it may be another by now, or gone."""
        return self._rooms.get(room_id)

    def put(self, stored: VersionedRoom[bytes]) -> None:
        """Remember a room; one that is too large is forgotten instead."""
        try:
            self._rooms[stored.room.id] = stored
        except ValueError:  # larger than all that may be remembered
            self._rooms.pop(stored.room.id, None)

    def forget(self, room_id: str) -> None:
        """Forget a room that is gone."""
        self._rooms.pop(room_id, None)

    def read(self, room_id: str, data: bytes, decode: Callable[[str, bytes], Room]) -> VersionedRoom[bytes]:
        """Return the room that stored bytes hold, parsed only if they are not those seen last."""
        seen = self._rooms.get(room_id)
        if seen is not None and seen.version == data:
            self._counts.cache_hits += 1
            return seen
        self._counts.cache_misses += 1
        seen = VersionedRoom(decode(room_id, data), data)
        self.put(seen)
        return seen


@dataclass(frozen=True, slots=True)
class _CachedChat:
    entries: Sequence[bytes]
    messages: Sequence[ChatMessage]
    by_entry: Mapping[bytes, ChatMessage]


class ChatCache:
    """The chats that were seen last, up to so many stored bytes.

    Args:
        most_bytes: of all chats together; 0 remembers nothing.
        counts: of the store.
    """

    def __init__(self, most_bytes: int, counts: Statistics) -> None:
        self._counts = counts
        self._chats: LRUCache[str, _CachedChat] = LRUCache(
            most_bytes, lambda chat: sum(map(len, chat.entries), len(chat.entries))
        )

    def read(
        self, room_id: str, entries: Sequence[bytes], decode: Callable[[Sequence[bytes]], Sequence[ChatMessage]]
    ) -> Sequence[ChatMessage]:
        """Return the messages that stored entries hold; `decode` parses what was not seen, without the unreadable."""
        if not entries:  # which would weigh nothing, so there would be no end of them
            self._chats.pop(room_id, None)
            return ()
        seen = self._chats.get(room_id)
        if seen is not None and seen.entries == entries:
            self._counts.cache_hits += 1
            return seen.messages
        self._counts.cache_misses += 1
        known: Mapping[bytes, ChatMessage] = {} if seen is None else seen.by_entry
        by_entry: dict[bytes, ChatMessage] = {}
        messages: list[ChatMessage] = []
        for entry in entries:
            message = known.get(entry) or next(iter(decode([entry])), None)
            if message is not None:
                by_entry[entry] = message
                messages.append(message)
        try:
            self._chats[room_id] = _CachedChat(entries, messages, by_entry)
        except ValueError:  # larger than all that may be remembered
            self._chats.pop(room_id, None)
        return messages
