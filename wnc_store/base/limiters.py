"""Connections and rate limits, over three primitives each."""

from __future__ import annotations

from abc import ABC, abstractmethod
from datetime import timedelta

from wnc_store.base.ids import check_id
from wnc_store.base.lifecycle import Lifecycle
from wnc_store.errors import LimitExceededError, NotSupportedError
from wnc_store.rate_limit import RateLimitDecision
from wnc_store.settings import StoreSettings

_MAX_COST = 1_000_000_000


class UnsupportedConnections:
    """The `ConnectionCounter` of a backend that has none."""

    async def acquire(self, key: str, connection_id: str, *, limit: int | None = None) -> int:
        """Raise `NotSupportedError`."""
        raise NotSupportedError("this backend counts no connections")

    async def release(self, key: str, connection_id: str) -> int:
        """Raise `NotSupportedError`."""
        raise NotSupportedError("this backend counts no connections")

    async def count(self, key: str) -> int:
        """Raise `NotSupportedError`."""
        raise NotSupportedError("this backend counts no connections")


class UnsupportedRateLimits:
    """The `RateLimiter` of a backend that has none."""

    async def hit(self, key: str, cost: int = 1) -> RateLimitDecision:
        """Raise `NotSupportedError`."""
        raise NotSupportedError("this backend counts no hits")

    async def peek(self, key: str) -> RateLimitDecision:
        """Raise `NotSupportedError`."""
        raise NotSupportedError("this backend counts no hits")

    async def reset(self, key: str) -> None:
        """Raise `NotSupportedError`."""
        raise NotSupportedError("this backend counts no hits")


class BaseConnectionCounter(ABC):
    """`ConnectionCounter` over three primitives. The law is in `ConnectionCounter`."""

    def __init__(self, settings: StoreSettings, lifecycle: Lifecycle) -> None:
        self._settings = settings
        self._lifecycle = lifecycle

    @abstractmethod
    async def _acquire(self, key: str, connection_id: str, limit: int | None) -> tuple[bool, int]:
        """Atomically begin or renew a lease, unless it is new and `limit` others are held.

        Returns:
            Whether it is held by now, and how many are.
        """

    @abstractmethod
    async def _release(self, key: str, connection_id: str) -> int:
        """Atomically end a lease, if it is held; return how many are held by now."""

    @abstractmethod
    async def _count(self, key: str) -> int:
        """Return how many leases are held."""

    async def acquire(self, key: str, connection_id: str, *, limit: int | None = None) -> int:
        """See `ConnectionCounter.acquire`."""
        self._check(key)
        check_id("connection id", connection_id)
        if limit is not None and not (_is_int(limit) and limit >= 1):
            message = f"limit is how many connections are allowed, an int of 1 or more, not {limit!r}"
            raise ValueError(message)
        held, count = await self._acquire(key, connection_id, limit)
        if not held:
            raise LimitExceededError(f"the number of connections of {key!r}", limit=limit or 0, found=count + 1)
        return count

    async def release(self, key: str, connection_id: str) -> int:
        """See `ConnectionCounter.release`."""
        self._check(key)
        check_id("connection id", connection_id)
        return await self._release(key, connection_id)

    async def count(self, key: str) -> int:
        """See `ConnectionCounter.count`."""
        self._check(key)
        return await self._count(key)

    def _check(self, key: str) -> None:
        self._lifecycle.ensure_open()
        check_id("connection key", key)


class BaseRateLimiter(ABC):
    """`RateLimiter` over three primitives. The law is in `RateLimiter`."""

    def __init__(self, settings: StoreSettings, lifecycle: Lifecycle) -> None:
        self._settings = settings
        self._lifecycle = lifecycle

    @abstractmethod
    async def _hit(self, key: str, cost: int) -> tuple[int, timedelta]:
        """Atomically add to the count, and begin a window if none has begun or it has no end.

        Returns:
            The count by now, and what is left of the window.
        """

    @abstractmethod
    async def _peek(self, key: str) -> tuple[int, timedelta]:
        """Return the count and what is left of the window; zeros if none has begun."""

    @abstractmethod
    async def _reset(self, key: str) -> None:
        """Forget the count."""

    async def hit(self, key: str, cost: int = 1) -> RateLimitDecision:
        """See `RateLimiter.hit`."""
        self._check(key)
        if not (_is_int(cost) and 1 <= cost <= _MAX_COST):
            message = f"cost is how many hits this one counts for, an int from 1 to {_MAX_COST}, not {cost!r}"
            raise ValueError(message)
        count, left = await self._hit(key, cost)
        limit = self._settings.rate_limit_max
        return RateLimitDecision.of(count, limit, left, allowed=count <= limit)

    async def peek(self, key: str) -> RateLimitDecision:
        """See `RateLimiter.peek`."""
        self._check(key)
        count, left = await self._peek(key)
        limit = self._settings.rate_limit_max
        return RateLimitDecision.of(count, limit, left, allowed=count < limit)

    async def reset(self, key: str) -> None:
        """See `RateLimiter.reset`."""
        self._check(key)
        await self._reset(key)

    def _check(self, key: str) -> None:
        self._lifecycle.ensure_open()
        check_id("rate limit key", key)


def _is_int(number: object) -> bool:
    """Tell whether a number can be sent as it is: other types are written in ways that a server can't count with."""
    return type(number) is int
