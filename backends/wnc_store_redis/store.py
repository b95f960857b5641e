"""The store on Redis."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Self

from wnc_store import Clock, HealthCheck, ServerActivity, ServerInfo, Snapshot, StoreSettings, SystemClock, open_store
from wnc_store.base import BaseStore, Lifecycle
from wnc_store_redis.chat import RedisChatStore
from wnc_store_redis.diagnostics import ActivityReader, run_checks
from wnc_store_redis.events import RedisRoomEvents
from wnc_store_redis.keys import Keys
from wnc_store_redis.limiters import RedisConnectionCounter, RedisRateLimiter
from wnc_store_redis.restore import restore
from wnc_store_redis.rooms import RedisRoomStore
from wnc_store_redis.transport.cluster import ClusterRouter
from wnc_store_redis.transport.executor import CommandExecutor
from wnc_store_redis.transport.statistics import Statistics
from wnc_store_redis.transport.url import Client, connect, database, product_of, router_for


class RedisStore(BaseStore):
    """A store on Redis or Valkey.

    Args:
        client: an asyncio client of redis-py, with any `decode_responses`: a `Redis`, which may come from
            `Sentinel.master_for`, or a `RedisCluster`. The store does not close it. The store opens its own
            connections with the client's options, at most three to each server, whatever `max_connections` is. It
            ignores the client's retries, because they could run a write twice.
        settings: the settings; the defaults if omitted.
        clock: the clock for the times in records; the system's clock if omitted. TTLs use the server's clock.

    Raises:
        ConfigurationError: the client is synchronous, or was made by `Sentinel.slave_for`.
    """

    def __init__(self, client: Client, settings: StoreSettings | None = None, *, clock: Clock | None = None) -> None:
        settings, clock, lifecycle = settings or StoreSettings(), clock or SystemClock(), Lifecycle()
        self._statistics = Statistics()
        router = router_for(client, settings, self._statistics)
        self._keys = keys = Keys(settings.key_prefix, database(client), is_bucketed=isinstance(router, ClusterRouter))
        self._commands = commands = CommandExecutor(router, settings.operation_timeout, self._statistics)
        self._activity = ActivityReader(commands, keys)
        self._events = RedisRoomEvents(router, commands, keys, settings, lifecycle)
        self.rooms = RedisRoomStore(commands, keys, settings, clock, lifecycle)
        super().__init__(
            settings,
            lifecycle,
            chat=RedisChatStore(commands, keys, settings, lifecycle),
            connections=RedisConnectionCounter(commands, keys, settings, lifecycle),
            rate_limits=RedisRateLimiter(commands, keys, settings, lifecycle),
            events=self._events,
            open_fallback=lambda: open_store("memory://", settings=settings, clock=clock),
        )

    @classmethod
    def from_url(cls, url: str, settings: StoreSettings | None = None, *, clock: Clock | None = None) -> Self:
        """Return a store for a URL of any supported scheme.

        Raises:
            ConfigurationError: the URL is invalid.
        """
        store = cls(connect(url, settings or StoreSettings()), settings, clock=clock)
        store._commands.product = product_of(url)
        return store

    async def restore(self, snapshot: Snapshot, *, replace: bool = False) -> None:
        """See `SupportsRestore.restore`."""
        self._lifecycle.ensure_open()
        await restore(self._commands, self._keys, self._settings, snapshot, replace=replace)

    def statistics(self) -> Mapping[str, int]:
        """See `SupportsStatistics.statistics`; `cache_hits` and `cache_misses` count reads of rooms and chats."""
        return asdict(self._statistics)

    async def activity(self) -> ServerActivity:
        """See `SupportsServerActivity.activity`."""
        self._lifecycle.ensure_open()
        return await self._activity.read()

    async def _ping(self) -> None:
        await self._commands.read(b"PING")

    async def _inspect(self) -> tuple[ServerInfo | None, Sequence[HealthCheck]]:
        return await run_checks(self._commands, self._keys, self._settings)

    def _check_close(self) -> None:
        if not self._commands.forked:
            self._commands.running_loop()

    async def _close(self) -> None:
        await self._events.aclose()
        await self._commands.aclose()


def open_redis(url: str, settings: StoreSettings, clock: Clock) -> RedisStore:
    """Return a store for a URL of any supported scheme (see `wnc_store.Backend`)."""
    return RedisStore.from_url(url, settings, clock=clock)
