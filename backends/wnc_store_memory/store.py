"""Store in memory."""

from __future__ import annotations

from wnc_store import Clock, ConfigurationError, Snapshot, StoreSettings
from wnc_store.base import BaseStore, Lifecycle
from wnc_store_memory.chat import MemoryChatStore
from wnc_store_memory.database import MemoryDatabase
from wnc_store_memory.events import MemoryRoomEvents
from wnc_store_memory.limiters import MemoryConnectionCounter, MemoryRateLimiter
from wnc_store_memory.restore import restore
from wnc_store_memory.rooms import MemoryRoomStore


class MemoryStore(BaseStore):
    """Store in the memory of this process.

    Args:
        settings: Settings of the store. By default `StoreSettings()`.
        clock: Clock for timestamps and, without `database`, for TTLs. By default the clock of `database` or
            `SystemClock()`.
        database: Database to share with other stores. By default a new one.
    """

    def __init__(
        self,
        settings: StoreSettings | None = None,
        *,
        clock: Clock | None = None,
        database: MemoryDatabase | None = None,
    ) -> None:
        settings, lifecycle = settings or StoreSettings(), Lifecycle()
        database = database or MemoryDatabase(clock)
        self._namespace = namespace = database.namespace(settings.key_prefix)
        self.rooms = MemoryRoomStore(namespace, settings, clock or database.clock, lifecycle)
        super().__init__(
            settings,
            lifecycle,
            chat=MemoryChatStore(namespace, settings, lifecycle),
            connections=MemoryConnectionCounter(namespace, settings, database.clock, lifecycle),
            rate_limits=MemoryRateLimiter(namespace, settings, lifecycle),
            events=MemoryRoomEvents(namespace, settings, lifecycle),
        )

    async def restore(self, snapshot: Snapshot, *, replace: bool = False) -> None:
        """See `SupportsRestore.restore`."""
        self._lifecycle.ensure_open()
        restore(self._namespace, self._settings, snapshot, replace=replace)

    async def _ping(self) -> None:
        """Memory is always available."""

    async def _close(self) -> None:
        """Nothing to release. The database is freed with the last reference to it."""


def open_memory(url: str, settings: StoreSettings, clock: Clock) -> MemoryStore:
    """Open an empty store for `memory://` (see `wnc_store.Backend`).

    Raises:
        ConfigurationError: The URL contains more than `memory://`.
    """
    if url != "memory://":
        message = "the URL of the memory backend must be exactly memory://"
        raise ConfigurationError(message)
    return MemoryStore(settings, clock=clock)
