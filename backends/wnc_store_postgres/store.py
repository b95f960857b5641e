"""The store on Postgres."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, Self

from wnc_store import (
    Clock,
    HealthCheck,
    ServerActivity,
    ServerInfo,
    Snapshot,
    StoreSettings,
    SystemClock,
    open_store,
)
from wnc_store.base import BaseStore, Lifecycle
from wnc_store_postgres import queries
from wnc_store_postgres.activity import read_activity
from wnc_store_postgres.chat import PostgresChatStore
from wnc_store_postgres.diagnostics import run_checks
from wnc_store_postgres.events import PostgresRoomEvents
from wnc_store_postgres.keys import Keys
from wnc_store_postgres.limiters import PostgresConnectionCounter, PostgresRateLimiter
from wnc_store_postgres.purge import Purger
from wnc_store_postgres.restore import restore
from wnc_store_postgres.rooms import PostgresRoomStore
from wnc_store_postgres.schema import Schema
from wnc_store_postgres.transport.executor import StatementExecutor, session_options
from wnc_store_postgres.transport.pool import CallersPool, OwnPool, Pool
from wnc_store_postgres.transport.statistics import Statistics
from wnc_store_postgres.transport.url import Target, parse_url


class PostgresStore(BaseStore):
    """A store on PostgreSQL.

    Args:
        pool: an `asyncpg.Pool`, which the store does not close, or a URL.
        settings: the settings; the defaults if omitted.
        clock: the clock for the times in records; the system's clock if omitted. TTLs use the server's clock.
        listen_url: with a pool, the URL at which the store listens for events. Without it, `events.subscribe` raises
            `ConfigurationError`.

    Raises:
        ConfigurationError: a URL is invalid, or the pool is not one.
    """

    def __init__(
        self,
        pool: Any,
        settings: StoreSettings | None = None,
        *,
        clock: Clock | None = None,
        listen_url: str | None = None,
    ) -> None:
        settings, clock, lifecycle = settings or StoreSettings(), clock or SystemClock(), Lifecycle()
        self._statistics = Statistics()
        target = parse_url(pool, settings) if isinstance(pool, str) else None
        listening = parse_url(listen_url, settings) if listen_url is not None else target
        self._keys = keys = Keys(settings.key_prefix)
        self._executor = executor = StatementExecutor(
            self._make_pool(target, pool, settings),
            Schema(),
            settings.key_prefix,
            settings.operation_timeout,
            self._statistics,
        )
        self._events = PostgresRoomEvents(executor, listening, keys, settings, lifecycle)
        self.rooms = rooms = PostgresRoomStore(executor, keys, settings, clock, lifecycle)
        executor.after_writes(Purger(executor, rooms.purge).on_write)
        super().__init__(
            settings,
            lifecycle,
            chat=PostgresChatStore(executor, keys, settings, lifecycle),
            connections=PostgresConnectionCounter(executor, keys, settings, lifecycle),
            rate_limits=PostgresRateLimiter(executor, keys, settings, lifecycle),
            events=self._events,
            open_fallback=lambda: open_store("memory://", settings=settings, clock=clock),
        )

    def _make_pool(self, target: Target | None, pool: Any, settings: StoreSettings) -> Pool:
        options = session_options(settings)
        if target is None:
            return CallersPool(pool, options)
        return OwnPool(target, options, self._statistics)

    @classmethod
    def from_url(cls, url: str, settings: StoreSettings | None = None, *, clock: Clock | None = None) -> Self:
        """Return a store for a URL.

        Raises:
            ConfigurationError: the URL is invalid.
        """
        return cls(url, settings, clock=clock)

    async def restore(self, snapshot: Snapshot, *, replace: bool = False) -> None:
        """See `SupportsRestore.restore`."""
        self._lifecycle.ensure_open()
        await restore(self._executor, self._keys, self._settings, snapshot, replace=replace)

    def statistics(self) -> Mapping[str, int]:
        """See `SupportsStatistics.statistics`."""
        return asdict(self._statistics)

    async def activity(self) -> ServerActivity:
        """See `SupportsServerActivity.activity`."""
        self._lifecycle.ensure_open()
        return await read_activity(self._executor)

    async def _ping(self) -> None:
        await self._executor.fetch(queries.PING)

    async def _inspect(self) -> tuple[ServerInfo | None, Sequence[HealthCheck]]:
        return await run_checks(self._executor)

    def _check_close(self) -> None:
        if not self._executor.forked:
            self._executor.running_loop()

    async def _close(self) -> None:
        await self._events.aclose()
        await self._executor.aclose()


def open_postgres(url: str, settings: StoreSettings, clock: Clock) -> PostgresStore:
    """Return a store for a URL (see `wnc_store.Backend`)."""
    return PostgresStore.from_url(url, settings, clock=clock)
