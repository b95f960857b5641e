"""What memory stores keep."""

from __future__ import annotations

from collections.abc import Sequence

from wnc_store import Clock, Room, SystemClock
from wnc_store.base import EncodedEvent, SubscriberRegistry
from wnc_store_memory.chat_history import ChatHistory
from wnc_store_memory.ttl_map import TTLMap


class Namespace:
    """What is kept under one key prefix."""

    def __init__(self, clock: Clock) -> None:
        self.rooms: TTLMap[Room] = TTLMap(clock.monotonic_ms)
        self.chats: TTLMap[ChatHistory] = TTLMap(clock.monotonic_ms)
        self.leases: TTLMap[dict[str, int]] = TTLMap(clock.monotonic_ms)
        self.hits: TTLMap[int] = TTLMap(clock.monotonic_ms)
        self.subscribers = SubscriberRegistry()

    def dispatch(self, encoded_events: Sequence[EncodedEvent]) -> None:
        """Tell events to all who listen."""
        if encoded_events:  # there are none unless the store publishes its changes
            self.subscribers.dispatch(encoded_event.event for encoded_event in encoded_events)


class MemoryDatabase:
    """What memory stores keep. Several stores may share one, as several clients share a server.

    Args:
        clock: counts the TTLs; the machine's if left out.
    """

    def __init__(self, clock: Clock | None = None) -> None:
        self.clock = clock or SystemClock()
        self._namespaces: dict[str, Namespace] = {}

    def namespace(self, key_prefix: str) -> Namespace:
        """Return what is kept under a key prefix."""
        return self._namespaces.setdefault(key_prefix, Namespace(self.clock))
