"""Connection counter and rate limiter in memory.

Primitives contain no `await`, so they are atomic on their event loop.
"""

from __future__ import annotations

from datetime import timedelta

from wnc_store import Clock, StoreSettings
from wnc_store.base import BaseConnectionCounter, BaseRateLimiter, Lifecycle
from wnc_store_memory.database import Namespace

_MILLISECOND = timedelta(milliseconds=1)


class MemoryConnectionCounter(BaseConnectionCounter):
    """Leases in memory. Each key has a dict from connection ids to expiry times in monotonic milliseconds."""

    def __init__(self, namespace: Namespace, settings: StoreSettings, clock: Clock, lifecycle: Lifecycle) -> None:
        super().__init__(settings, lifecycle)
        self._leases = namespace.leases
        self._now_ms = clock.monotonic_ms

    async def _acquire(self, key: str, connection_id: str, limit: int | None, ttl: timedelta) -> tuple[bool, int]:
        leases = self._live(key)
        if connection_id not in leases and limit is not None and len(leases) >= limit:
            return False, len(leases)
        leases[connection_id] = self._now_ms() + ttl // _MILLISECOND
        self._set_leases(key, leases)
        return True, len(leases)

    async def _release(self, key: str, connection_id: str) -> int:
        leases = self._live(key)
        if leases.pop(connection_id, None) is not None:
            self._set_leases(key, leases)
        return len(leases)

    async def _count(self, key: str) -> int:
        return len(self._live(key))

    def _live(self, key: str) -> dict[str, int]:
        entry = self._leases.get(key)
        now = self._now_ms()
        return {} if entry is None else {lease: expiry for lease, expiry in entry.value.items() if expiry > now}

    def _set_leases(self, key: str, leases: dict[str, int]) -> None:
        if leases:
            self._leases.set(key, leases, max(leases.values()) - self._now_ms())
        else:
            self._leases.pop(key)


class MemoryRateLimiter(BaseRateLimiter):
    """Hit counts in memory. The TTL of a count is the remaining time of its window."""

    def __init__(self, namespace: Namespace, settings: StoreSettings, lifecycle: Lifecycle) -> None:
        super().__init__(settings, lifecycle)
        self._hits = namespace.hits
        self._window_ms = settings.rate_limit_window // _MILLISECOND

    async def _hit(self, key: str, cost: int) -> tuple[int, timedelta]:
        current = self._hits.get_with_ttl(key)
        if current is None:
            self._hits.set(key, cost, self._window_ms)
            return cost, self._window_ms * _MILLISECOND
        entry, remaining_ms = current
        self._hits.change(key, entry, entry.value + cost)
        return entry.value + cost, remaining_ms * _MILLISECOND

    async def _peek(self, key: str) -> tuple[int, timedelta]:
        current = self._hits.get_with_ttl(key)
        if current is None:
            return 0, timedelta(0)
        entry, remaining_ms = current
        return entry.value, remaining_ms * _MILLISECOND

    async def _reset(self, key: str) -> None:
        self._hits.pop(key)
