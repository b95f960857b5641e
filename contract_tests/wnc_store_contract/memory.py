"""The harness of the memory backend."""

from __future__ import annotations

from typing import Any

from wnc_store import ConfigurationError, ManualClock, StoreSettings
from wnc_store_contract.harness import Capability, Harness
from wnc_store_memory import MemoryDatabase, MemoryStore


class MemoryHarness(Harness):
    """Memory stores on one database, with a manual clock."""

    capabilities = frozenset(
        {
            Capability.CHAT,
            Capability.LISTING,
            Capability.CONNECTIONS,
            Capability.RATE_LIMITS,
            Capability.EVENTS,
            Capability.SHARED,
        }
    )

    def __init__(self, url: str = "memory://", *, key_prefix: str = "") -> None:
        if url != "memory://":
            message = "the memory backend's URL is memory:// and nothing more"
            raise ConfigurationError(message)
        self._key_prefix = key_prefix
        self._clock = ManualClock()
        self._database = MemoryDatabase(self._clock)

    def open_store(self, **settings: Any) -> MemoryStore:
        """Return a new client of the database."""
        key_prefix = f"{self._key_prefix}{settings.pop('key_prefix', '')}"
        return MemoryStore(StoreSettings(key_prefix=key_prefix, **settings), clock=self._clock, database=self._database)

    async def advance(self, seconds: float) -> None:
        """Advance the clock."""
        self._clock.advance(seconds)
