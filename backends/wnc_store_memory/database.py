"""The data of memory stores."""

from __future__ import annotations

from collections.abc import Sequence

from wnc_store import Clock, Room, SystemClock
from wnc_store.base import EncodedEvent, SubscriberRegistry
from wnc_store_memory.chat_history import ChatHistory
from wnc_store_memory.ttl_map import TTLMap


class Namespace:
    """The data and the subscribers of one key prefix."""

    def __init__(self, clock: Clock) -> None:
        self.rooms: TTLMap[Room] = TTLMap(clock.monotonic_ms)
        self.chats: TTLMap[ChatHistory] = TTLMap(clock.monotonic_ms)
        self.leases: TTLMap[dict[str, int]] = TTLMap(clock.monotonic_ms)
        self.hits: TTLMap[int] = TTLMap(clock.monotonic_ms)
        self.subscribers = SubscriberRegistry()

    def dispatch(self, encoded_events: Sequence[EncodedEvent]) -> None:
        """Dispatch events to the subscribers of their rooms."""
        if encoded_events:  # empty unless publish_changes is on
            self.subscribers.dispatch(encoded_event.event for encoded_event in encoded_events)


class MemoryDatabase:
    """The data of memory stores. Several stores can share a database, as clients share a server.

    Args:
        clock: Clock for TTLs. By default `SystemClock()`.
    """

    def __init__(self, clock: Clock | None = None) -> None:
        self.clock = clock or SystemClock()
        self._namespaces: dict[str, Namespace] = {}

    def namespace(self, key_prefix: str) -> Namespace:
        """Return the data of a key prefix."""
        return self._namespaces.setdefault(key_prefix, Namespace(self.clock))
