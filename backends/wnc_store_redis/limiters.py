"""Connection counter and rate limiter on Redis. Both use the server's clock."""

from __future__ import annotations

import re
from datetime import timedelta

from wnc_store import CorruptRecordError, StoreSettings
from wnc_store.base import BaseConnectionCounter, BaseRateLimiter, Lifecycle
from wnc_store_redis.codec import parse_pttl, to_millis
from wnc_store_redis.keys import Keys
from wnc_store_redis.scripts import ACQUIRE, COUNT, HIT, PEEK, RELEASE
from wnc_store_redis.transport.executor import CommandExecutor

_COUNT = re.compile(rb"0|[1-9]\d{0,14}")
"""A valid count: the same check as in `hit.lua`."""


class RedisConnectionCounter(BaseConnectionCounter):
    """`ConnectionCounter` on Redis: one sorted set of leases for each key."""

    def __init__(self, commands: CommandExecutor, keys: Keys, settings: StoreSettings, lifecycle: Lifecycle) -> None:
        super().__init__(settings, lifecycle)
        self._commands = commands
        self._keys = keys
        self._ttl_ms = to_millis(settings.connection_ttl)

    async def _acquire(self, key: str, connection_id: str, limit: int | None) -> tuple[bool, int]:
        max_leases = b"" if limit is None else str(limit).encode()
        leases = self._keys.connections(key)
        is_acquired, count = await self._commands.run_script(
            ACQUIRE, [leases], connection_id.encode(), self._ttl_ms, max_leases
        )
        return bool(is_acquired), count

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

    async def _hit(self, key: str, cost: int) -> tuple[int, timedelta]:
        count, remaining_ms = await self._commands.run_script(
            HIT, [self._keys.rate_limit(key)], str(cost).encode(), self._window_ms
        )
        return count, timedelta(milliseconds=remaining_ms)

    async def _peek(self, key: str) -> tuple[int, timedelta]:
        name = self._keys.rate_limit(key)
        pttl, stored = await self._commands.run_script(PEEK, [name])
        remaining = parse_pttl(pttl)
        if stored is None or remaining is None:
            return 0, timedelta(0)
        if not _COUNT.fullmatch(stored):
            raise CorruptRecordError(name.decode(), "expected an integer from 0 to 999999999999999")
        # The next hit gives a count that never expires a full window.
        return int(stored), self._settings.rate_limit_window if remaining == timedelta.max else remaining

    async def _reset(self, key: str) -> None:
        await self._commands.write(b"DEL", self._keys.rate_limit(key))
