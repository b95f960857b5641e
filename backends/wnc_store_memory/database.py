"""What memory stores keep."""

from __future__ import annotations

from collections.abc import Sequence

from wnc_store import Clock, Readers, Room, SystemClock, Telling
from wnc_store_memory.chat_history import KeptMessages
from wnc_store_memory.ttl_map import ExpiringMap


class Namespace:
    """What is kept under one key prefix."""

    def __init__(self, clock: Clock) -> None:
        self.rooms: ExpiringMap[Room] = ExpiringMap(clock.monotonic_ms)
        self.chats: ExpiringMap[KeptMessages] = ExpiringMap(clock.monotonic_ms)
        self.leases: ExpiringMap[dict[str, int]] = ExpiringMap(clock.monotonic_ms)
        self.hits: ExpiringMap[int] = ExpiringMap(clock.monotonic_ms)
        self.readers = Readers()

    def tell(self, tellings: Sequence[Telling]) -> None:
        """Tell events to all who listen."""
        if tellings:  # there are none unless the store publishes its changes
            self.readers.deliver(telling.event for telling in tellings)


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
