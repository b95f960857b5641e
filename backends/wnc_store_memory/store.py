"""A store in memory."""

from __future__ import annotations

from wnc_store import Clock, ConfigurationError, Snapshot, StoreSettings
from wnc_store.base import BaseStore
from wnc_store_memory.database import MemoryDatabase
from wnc_store_memory.events import MemoryRoomEvents
from wnc_store_memory.limiters import MemoryConnectionCounter, MemoryRateLimiter
from wnc_store_memory.restore import restore
from wnc_store_memory.rooms import MemoryChatStore, MemoryRoomStore


class MemoryStore(BaseStore):
    """A store in this process's memory.

    Args:
        settings: as everywhere; the defaults if left out.
        clock: writes the times and, without a `database`, counts the TTLs; the machine's if left out.
        database: shared with other stores; one of its own if left out.
    """

    _supports_events = True

    def __init__(
        self,
        settings: StoreSettings | None = None,
        *,
        clock: Clock | None = None,
        database: MemoryDatabase | None = None,
    ) -> None:
        settings = settings or StoreSettings()
        super().__init__(settings)
        database = database or MemoryDatabase(clock)
        self._namespace = namespace = database.namespace(settings.key_prefix)
        self.rooms = MemoryRoomStore(namespace, settings, clock or database.clock, self._lifecycle)
        self.chat = MemoryChatStore(namespace, settings, self._lifecycle)
        self.connections = MemoryConnectionCounter(namespace, settings, database.clock, self._lifecycle)
        self.events = MemoryRoomEvents(namespace, settings, self._lifecycle)
        self.rate_limits = MemoryRateLimiter(namespace, settings, self._lifecycle)

    async def restore(self, snapshot: Snapshot, *, replace: bool = False) -> None:
        """See `SupportsRestore.restore`."""
        self._lifecycle.ensure_open()
        restore(self._namespace, self._settings, snapshot, replace=replace)

    async def _ping(self) -> None:
        """Memory always serves."""

    async def _close(self) -> None:
        """There is nothing to release: the database goes with its last store."""


def open_memory(url: str, settings: StoreSettings, clock: Clock) -> MemoryStore:
    """Return an empty store for `memory://` (see `wnc_store.Backend`).

    Raises:
        ConfigurationError: something follows the `memory://`.
    """
    if url != "memory://":
        message = "the memory backend's URL is memory:// and nothing more"
        raise ConfigurationError(message)
    return MemoryStore(settings, clock=clock)
