"""Connection counter and rate limiter on Redis. Both use the server's clock."""

from __future__ import annotations

from datetime import timedelta

from wnc_store import StoreSettings
from wnc_store.base import BaseConnectionCounter, BaseRateLimiter, Lifecycle
from wnc_store_redis.codec import to_millis
from wnc_store_redis.keys import Keys
from wnc_store_redis.script_results import Lease, Window, window_of
from wnc_store_redis.scripts import ACQUIRE, COUNT, HIT, PEEK, RELEASE, RESET
from wnc_store_redis.transport.executor import CommandExecutor


class RedisConnectionCounter(BaseConnectionCounter):
    """`ConnectionCounter` on Redis: one sorted set of leases for each key."""

    def __init__(self, commands: CommandExecutor, keys: Keys, settings: StoreSettings, lifecycle: Lifecycle) -> None:
        super().__init__(settings, lifecycle)
        self._commands = commands
        self._keys = keys

    async def _acquire(self, key: str, connection_id: str, limit: int | None, ttl: timedelta) -> Lease:
        max_leases = b"" if limit is None else str(limit).encode()
        leases = self._keys.connections(key)
        return await self._commands.run_script(ACQUIRE, [leases], connection_id.encode(), to_millis(ttl), max_leases)

    async def _release(self, key: str, connection_id: str) -> int:
        return await self._commands.run_script(RELEASE, [self._keys.connections(key)], connection_id.encode())

    async def _count(self, key: str) -> int:
        return await self._commands.run_script(COUNT, [self._keys.connections(key)])


class RedisRateLimiter(BaseRateLimiter):
    """`RateLimiter` on Redis: one integer for each key, shared with the Node app."""

    def __init__(self, commands: CommandExecutor, keys: Keys, settings: StoreSettings, lifecycle: Lifecycle) -> None:
        super().__init__(settings, lifecycle)
        self._commands = commands
        self._keys = keys
        self._window_ms = to_millis(settings.rate_limit_window)

    async def _hit(self, key: str, cost: int) -> Window:
        name = self._keys.rate_limit(key)
        return await self._commands.run_script(HIT, [name], str(cost).encode(), self._window_ms)

    async def _peek(self, key: str) -> Window:
        name = self._keys.rate_limit(key)
        return window_of(await self._commands.run_script(PEEK, [name]), name, self._settings.rate_limit_window)

    async def _reset(self, key: str) -> None:
        await self._commands.run_script(RESET, [self._keys.rate_limit(key)])
