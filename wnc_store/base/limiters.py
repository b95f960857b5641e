"""Connection counter and rate limiter with three primitives each."""

from __future__ import annotations

from abc import ABC, abstractmethod
from datetime import timedelta

from wnc_store.base.lifecycle import Lifecycle
from wnc_store.errors import LimitExceededError
from wnc_store.rate_limit import RateLimitDecision
from wnc_store.settings import StoreSettings, check_duration

_MAX_COST = 1_000_000_000


class BaseConnectionCounter(ABC):
    """`ConnectionCounter` with three primitives. The contract of the public methods is in `ConnectionCounter`."""

    def __init__(self, settings: StoreSettings, lifecycle: Lifecycle) -> None:
        self._settings = settings
        self._lifecycle = lifecycle

    @abstractmethod
    async def _acquire(self, key: str, connection_id: str, limit: int | None, ttl: timedelta) -> tuple[bool, int]:
        """Atomically start or renew a lease. If it is new and the key has at least `limit` leases, change nothing.

        The lease ends after `ttl`, which is in whole milliseconds. Other leases of the key keep their remaining times.

        Returns:
            Whether the lease exists now, and the number of active leases of the key.
        """

    @abstractmethod
    async def _release(self, key: str, connection_id: str) -> int:
        """Atomically end a lease if it exists. Return the number of remaining leases of the key."""

    @abstractmethod
    async def _count(self, key: str) -> int:
        """Return the number of active leases of the key."""

    async def acquire(
        self, key: str, connection_id: str, *, limit: int | None = None, ttl: timedelta | None = None
    ) -> int:
        """See `ConnectionCounter.acquire`."""
        self._lifecycle.check(("connection key", key), ("connection id", connection_id))
        if limit is not None and not (_is_int(limit) and limit >= 1):
            raise ValueError(f"limit must be None or an integer of at least 1, got {limit!r}")
        ttl = self._settings.connection_ttl if ttl is None else check_duration("ttl", ttl)
        acquired, count = await self._acquire(key, connection_id, limit, ttl)
        if not acquired:
            raise LimitExceededError(f"number of connections of {key!r}", limit=limit or 0, actual=count + 1)
        return count

    async def release(self, key: str, connection_id: str) -> int:
        """See `ConnectionCounter.release`."""
        self._lifecycle.check(("connection key", key), ("connection id", connection_id))
        return await self._release(key, connection_id)

    async def count(self, key: str) -> int:
        """See `ConnectionCounter.count`."""
        self._lifecycle.check(("connection key", key))
        return await self._count(key)


class BaseRateLimiter(ABC):
    """`RateLimiter` with three primitives. The contract of the public methods is in `RateLimiter`."""

    def __init__(self, settings: StoreSettings, lifecycle: Lifecycle) -> None:
        self._settings = settings
        self._lifecycle = lifecycle

    @abstractmethod
    async def _hit(self, key: str, cost: int) -> tuple[int, timedelta]:
        """Atomically add `cost` to the count. Start a window if none is running, or if the count has no TTL.

        Returns:
            The new count, and the remaining time of the window.
        """

    @abstractmethod
    async def _peek(self, key: str) -> tuple[int, timedelta]:
        """Return the count and the remaining time of the window. Both are zero outside a window."""

    @abstractmethod
    async def _reset(self, key: str) -> None:
        """Delete the count and its window."""

    async def hit(self, key: str, cost: int = 1) -> RateLimitDecision:
        """See `RateLimiter.hit`."""
        self._lifecycle.check(("rate limit key", key))
        if not (_is_int(cost) and 1 <= cost <= _MAX_COST):
            raise ValueError(f"cost must be an integer from 1 to {_MAX_COST}, got {cost!r}")
        count, remaining = await self._hit(key, cost)
        limit = self._settings.rate_limit_max
        return RateLimitDecision.of(count, limit, remaining, allowed=count <= limit)

    async def peek(self, key: str) -> RateLimitDecision:
        """See `RateLimiter.peek`."""
        self._lifecycle.check(("rate limit key", key))
        count, remaining = await self._peek(key)
        limit = self._settings.rate_limit_max
        return RateLimitDecision.of(count, limit, remaining, allowed=count < limit)

    async def reset(self, key: str) -> None:
        """See `RateLimiter.reset`."""
        self._lifecycle.check(("rate limit key", key))
        await self._reset(key)


def _is_int(number: object) -> bool:
    """Return whether a value is exactly an `int`. Some subclasses have text forms that a server can't parse."""
    return type(number) is int
