"""Connections and rate limits on Redis, by the server's clock."""

from __future__ import annotations

import re
from datetime import timedelta

from wnc_store import CorruptRecordError, StoreSettings
from wnc_store.base import BaseConnectionCounter, BaseRateLimiter, Lifecycle
from wnc_store_redis.durations import parse_pttl, to_millis
from wnc_store_redis.keys import Keys
from wnc_store_redis.scripts import ACQUIRE, COUNT, HIT, PEEK, RELEASE
from wnc_store_redis.transport.executor import CommandExecutor

_COUNT = re.compile(rb"0|[1-9]\d{0,14}")
"""What the script takes for a count, too."""


class RedisConnectionCounter(BaseConnectionCounter):
    """`ConnectionCounter` on Redis: one sorted set for each key."""

    def __init__(self, commands: CommandExecutor, keys: Keys, settings: StoreSettings, lifecycle: Lifecycle) -> None:
        super().__init__(settings, lifecycle)
        self._commands = commands
        self._keys = keys
        self._ttl_ms = to_millis(settings.connection_ttl)

    async def _acquire(self, key: str, connection_id: str, limit: int | None) -> tuple[bool, int]:
        limited = b"" if limit is None else str(limit).encode()
        leases = self._keys.connections(key)
        held, count = await self._commands.run_script(ACQUIRE, [leases], connection_id.encode(), self._ttl_ms, limited)
        return bool(held), count

    async def _release(self, key: str, connection_id: str) -> int:
        return await self._commands.run_script(RELEASE, [self._keys.connections(key)], connection_id.encode())

    async def _count(self, key: str) -> int:
        return await self._commands.run_script(COUNT, [self._keys.connections(key)])


class RedisRateLimiter(BaseRateLimiter):
    """`RateLimiter` on Redis: one integer for each key, which the Node app may count on, too."""

    def __init__(self, commands: CommandExecutor, keys: Keys, settings: StoreSettings, lifecycle: Lifecycle) -> None:
        super().__init__(settings, lifecycle)
        self._commands = commands
        self._keys = keys
        self._window_ms = to_millis(settings.rate_limit_window)

    async def _hit(self, key: str, cost: int) -> tuple[int, timedelta]:
        count, left_ms = await self._commands.run_script(
            HIT, [self._keys.rate_limit(key)], str(cost).encode(), self._window_ms
        )
        return count, timedelta(milliseconds=left_ms)

    async def _peek(self, key: str) -> tuple[int, timedelta]:
        name = self._keys.rate_limit(key)
        pttl, stored = await self._commands.run_script(PEEK, [name])
        left = parse_pttl(pttl)
        if stored is None or left is None:
            return 0, timedelta(0)
        if not _COUNT.fullmatch(stored):
            raise CorruptRecordError(name.decode(), "it holds no count")
        # A count without an end is given a whole window by the next hit.
        return int(stored), self._settings.rate_limit_window if left == timedelta.max else left

    async def _reset(self, key: str) -> None:
        await self._commands.write(b"DEL", self._keys.rate_limit(key))
