"""Decoding of stored values for backends, and the log of values that are skipped because they are invalid."""

from __future__ import annotations

import hashlib
import logging
import threading
from collections.abc import Iterable

from cachetools import LRUCache

from wnc_store.errors import CorruptRecordError
from wnc_store.records.codec import from_wire
from wnc_store.records.models import ChatMessage, Room

_logger = logging.getLogger("wnc_store")


def decode_room(key: str, room_id: str, data: bytes) -> Room:
    """Decode the stored JSON of a room.

    Raises:
        CorruptRecordError: The value is not a valid room, or the room has another id. The error names `key`.
    """
    room = from_wire(Room, data, key=key)
    if room.id != room_id:
        raise CorruptRecordError(key, f"expected room {room_id!r}, got room {room.id!r}")
    return room


class SkippedValueLog:
    """Logs one warning per invalid value, in any thread. It remembers the last 1,024 values."""

    def __init__(self) -> None:
        self._logged: LRUCache[bytes, None] = LRUCache(maxsize=1024)
        self._lock = threading.Lock()

    def warn(self, kind: str, key: str, data: bytes, error: CorruptRecordError) -> None:
        """Log that a value of this kind was skipped, unless it was logged before. The log does not contain `data`."""
        digest = hashlib.blake2b(data, key=key.encode()[:64], digest_size=16).digest()
        with self._lock:
            is_new = digest not in self._logged
            self._logged[digest] = None
        if is_new:
            _logger.warning("skipped an invalid %s: %s", kind, error)


class ChatDecoder:
    """Decoder of stored chat entries. It skips invalid entries and logs each of them once."""

    def __init__(self) -> None:
        self._skipped = SkippedValueLog()

    def decode(self, key: str, entry: bytes) -> ChatMessage | None:
        """Return the message of a stored entry, or None if the entry is invalid. The log names `key`."""
        try:
            return from_wire(ChatMessage, entry, key=key)
        except CorruptRecordError as error:
            self._skipped.warn("chat entry", key, entry, error)
            return None

    def decode_all(self, key: str, entries: Iterable[bytes]) -> list[ChatMessage]:
        """Return the messages of the valid entries, in the same order."""
        return [message for entry in entries if (message := self.decode(key, entry)) is not None]
