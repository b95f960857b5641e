"""Connection counter and rate limiter on a key-value database."""

from __future__ import annotations

from datetime import timedelta

from wnc_store.base.key_value.records import CONNECTIONS, HITS, MILLISECOND, Records, RecordStorage
from wnc_store.base.lifecycle import Lifecycle
from wnc_store.base.limiters import BaseConnectionCounter, BaseRateLimiter
from wnc_store.errors import CorruptRecordError
from wnc_store.settings import StoreSettings

_MAX_DIGITS = 4000
"""Digits of a count; Python converts no longer texts."""


class KeyValueConnectionCounter(BaseConnectionCounter):
    """Leases in a key-value database. Each lease is a record without a value."""

    def __init__(self, storage: RecordStorage, settings: StoreSettings, lifecycle: Lifecycle) -> None:
        super().__init__(settings, lifecycle)
        self._storage = storage

    async def _acquire(self, key: str, connection_id: str, limit: int | None, ttl: timedelta) -> tuple[bool, int]:
        def acquire(records: Records) -> tuple[bool, int]:
            records.purge(CONNECTIONS, f"{key} ")
            leases = {*records.keys(CONNECTIONS, f"{key} ")}
            lease = f"{key} {connection_id}"
            if lease not in leases and limit is not None and len(leases) >= limit:
                return False, len(leases)
            records.put(CONNECTIONS, lease, b"", ttl)
            return True, len({*leases, lease})

        return await self._storage.write(acquire)

    async def _release(self, key: str, connection_id: str) -> int:
        def release(records: Records) -> int:
            records.delete(CONNECTIONS, f"{key} {connection_id}")
            return _count(records, key)

        return await self._storage.write(release)

    async def _count(self, key: str) -> int:
        return await self._storage.read(lambda records: _count(records, key))


class KeyValueRateLimiter(BaseRateLimiter):
    """Hit counts in a key-value database, in decimal digits. The TTL of a count is the remaining time of its window."""

    def __init__(self, storage: RecordStorage, settings: StoreSettings, lifecycle: Lifecycle) -> None:
        super().__init__(settings, lifecycle)
        self._storage = storage

    async def _hit(self, key: str, cost: int) -> tuple[int, timedelta]:
        def hit(records: Records) -> tuple[int, timedelta]:
            count, remaining = self._read(records, key)
            if remaining in {timedelta(0), timedelta.max}:
                remaining = self._settings.rate_limit_window // MILLISECOND * MILLISECOND
            records.put(HITS, key, b"%d" % (count + cost), remaining)
            return count + cost, remaining

        return await self._storage.write(hit)

    async def _peek(self, key: str) -> tuple[int, timedelta]:
        return await self._storage.read(lambda records: self._read(records, key))

    async def _reset(self, key: str) -> None:
        await self._storage.write(lambda records: records.delete(HITS, key))

    def _read(self, records: Records, key: str) -> tuple[int, timedelta]:
        value, remaining = records.get(HITS, key), records.get_ttl(HITS, key)
        if value is None or remaining is None:
            return 0, timedelta(0)
        if not value.isdigit() or len(value) > _MAX_DIGITS:
            raise CorruptRecordError(f"{HITS}/{self._settings.key_prefix}{key}", "the value is not a decimal integer")
        return int(value), remaining


def _count(records: Records, key: str) -> int:
    return len([*records.keys(CONNECTIONS, f"{key} ")])
