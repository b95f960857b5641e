"""Protocols of connection counts and rate limits."""

from __future__ import annotations

from datetime import timedelta
from typing import Protocol

from wnc_store.rate_limit import RateLimitDecision


class ConnectionCounter(Protocol):
    """The number of open connections per client, for example per IP address, across all processes.

    A connection is a lease, which ends by itself unless it is acquired again. The leases of a crashed process therefore
    end, too.
    """

    async def acquire(
        self, key: str, connection_id: str, *, limit: int | None = None, ttl: timedelta | None = None
    ) -> int:
        """Start or renew a lease. Renewing an existing lease never fails because of `limit`.

        Args:
            key: Id of the client whose connections are counted.
            connection_id: Id of the connection, unique for this key.
            limit: Largest number of leases of this key. It is checked atomically with the count. None means no limit.
            ttl: Time from this call until the lease ends: 1 ms to 36500 days, truncated to whole milliseconds. A
                renewal may end the lease earlier than before. The other leases of the key keep their ends. None means
                `connection_ttl`.

        Returns:
            Number of active leases of the key, including this one.

        Raises:
            LimitExceededError: The lease is new and the key already has `limit` leases. Nothing changed.
            TypeError: `ttl` is not a `timedelta`. Nothing changed.
            ValueError: `limit` is not an integer (booleans are rejected) or is below 1. Or `ttl` is below 1 ms or above
                36500 days. Nothing changed.
        """
        ...

    async def release(self, key: str, connection_id: str) -> int:
        """End a lease. Nothing changes if the lease does not exist.

        Returns:
            Number of remaining leases of the key.
        """
        ...

    async def count(self, key: str) -> int:
        """Return the number of active leases of a key, without renewing them."""
        ...


class RateLimiter(Protocol):
    """Fixed-window rate limits. The first hit of a key starts a window of `rate_limit_window`.

    Rejected hits count, too. When the window ends, its count is deleted. If another client stored a count without a
    TTL, the next hit adds to this count and starts a full window for it.
    """

    async def hit(self, key: str, cost: int = 1) -> RateLimitDecision:
        """Add a hit to the count of a key and return whether the count is within `rate_limit_max`, atomically.

        Args:
            key: Id of the client whose hits are counted.
            cost: Number of hits to add.

        Raises:
            ValueError: `cost` is not an integer (booleans are rejected), is below 1 or is above 10^9. Nothing was
                counted.
            CorruptRecordError: The stored value is not a count.
        """
        ...

    async def peek(self, key: str) -> RateLimitDecision:
        """Return whether one more hit would be allowed, without counting it."""
        ...

    async def reset(self, key: str) -> None:
        """Delete the count of a key."""
        ...
