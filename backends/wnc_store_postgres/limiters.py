"""Connection counter and rate limiter on Postgres. Both use the server's clock."""

from __future__ import annotations

import re
from datetime import timedelta

from wnc_store import CorruptRecordError, StoreSettings
from wnc_store.base import BaseConnectionCounter, BaseRateLimiter, Lifecycle
from wnc_store_postgres import queries
from wnc_store_postgres.keys import Keys, to_millis
from wnc_store_postgres.transport.executor import StatementExecutor

_is_count = re.compile(r"0|[1-9][0-9]{0,14}").fullmatch


class PostgresConnectionCounter(BaseConnectionCounter):
    """`ConnectionCounter` on Postgres: one row for each lease."""

    def __init__(self, executor: StatementExecutor, keys: Keys, settings: StoreSettings, lifecycle: Lifecycle) -> None:
        super().__init__(settings, lifecycle)
        self._executor = executor
        self._keys = keys

    async def _acquire(self, key: str, connection_id: str, limit: int | None, ttl: timedelta) -> tuple[bool, int]:
        arguments = (key, connection_id, to_millis(ttl), None if limit is None else min(limit, 2**62))
        result = await self._executor.write("acquire", *arguments, key=self._keys.connections(key))
        return result.applied, result.numbers[0]

    async def _release(self, key: str, connection_id: str) -> int:
        result = await self._executor.write("release", key, connection_id, key=self._keys.connections(key))
        return result.numbers[0]

    async def _count(self, key: str) -> int:
        rows = await self._executor.fetch(queries.COUNT_LEASES, key, key=self._keys.connections(key))
        return rows[0][0]


class PostgresRateLimiter(BaseRateLimiter):
    """`RateLimiter` on Postgres: one row for each key."""

    def __init__(self, executor: StatementExecutor, keys: Keys, settings: StoreSettings, lifecycle: Lifecycle) -> None:
        super().__init__(settings, lifecycle)
        self._executor = executor
        self._keys = keys

    async def _hit(self, key: str, cost: int) -> tuple[int, timedelta]:
        name, window = self._keys.rate_limit(key), to_millis(self._settings.rate_limit_window)
        result = await self._executor.write("hit", key, cost, window, key=name)
        if not result.applied:
            raise _not_a_count(name)
        count, remaining = result.numbers
        return count, timedelta(milliseconds=remaining)

    async def _peek(self, key: str) -> tuple[int, timedelta]:
        name = self._keys.rate_limit(key)
        rows = await self._executor.fetch(queries.PEEK, key, key=name)
        if not rows:
            return 0, timedelta(0)
        count, remaining = rows[0]
        if not _is_count(count):
            raise _not_a_count(name)
        window = self._settings.rate_limit_window
        return int(count), window if remaining is None else timedelta(milliseconds=remaining)

    async def _reset(self, key: str) -> None:
        await self._executor.write("reset", key, key=self._keys.rate_limit(key))


def _not_a_count(name: str) -> CorruptRecordError:
    return CorruptRecordError(name, "the stored value is not a count: expected at most 15 decimal digits")
