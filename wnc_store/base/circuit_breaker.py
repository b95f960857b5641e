"""In-memory fallback of the limiters while the server is unavailable.

The fallback starts with empty counts and is local to this process. It is discarded when the server is available again.
The server then continues with its own counts. As in the Node app, clients may exceed their limits during an outage, but
the app stays available. Leases that were released during the outage are released on the server afterwards. Otherwise
they would count against their clients until they expire.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import timedelta
from itertools import islice
from typing import TypeVar

from cachetools import LRUCache

from wnc_store.errors import LimitExceededError, StoreUnavailableError
from wnc_store.protocols import ConnectionCounter, RateLimiter, Store
from wnc_store.rate_limit import RateLimitDecision

T = TypeVar("T")
_logger = logging.getLogger("wnc_store")

_MAX_PENDING = 10_000
"""Largest number of pending releases. If there are more, the oldest are dropped; their leases expire on the server."""
_RELEASE_BATCH = 100


class LimiterCircuitBreaker:
    """Switches limiters between the server and a store in memory, and replays releases when the server is back.

    The breaker opens when a call to the server raises `StoreUnavailableError`. While the breaker is open, calls use the
    store in memory. Once per `pause`, one call tries the server. If the server executes it, the breaker closes. Other
    calls do not wait for this attempt.

    Attributes:
        active: Whether the breaker is open, so that the store in memory is used.
        memory: The store in memory.

    Args:
        release: Release a lease on the server.
        open_memory: Open an empty store in memory. Called by the constructor and after each outage.
        pause: Time between two attempts to reach the server.
    """

    def __init__(
        self, release: Callable[[str, str], Awaitable[int]], open_memory: Callable[[], Store], pause: timedelta
    ) -> None:
        self.active = False
        self.memory = open_memory()
        self._open_memory = open_memory
        self._release = release
        self._pause = pause.total_seconds()
        self._retry_at = 0.0
        self._probing = False
        self._pending_releases: LRUCache[tuple[str, str], None] = LRUCache(_MAX_PENDING)

    async def call(self, server: Callable[[], Awaitable[T]], memory: Callable[[], Awaitable[T]]) -> T:
        """Call `server`, or `memory` if the server is unavailable."""
        if not self.active:
            return await self._try_server(server, memory)
        if self._probing or asyncio.get_running_loop().time() < self._retry_at:
            return await memory()
        self._probing = True
        try:
            return await self._try_server(server, memory)
        finally:
            self._probing = False

    def add_pending(self, key: str, connection_id: str) -> None:
        """Record a lease to release on the server when it is available again."""
        self._pending_releases[key, connection_id] = None

    def drop_pending(self, key: str, connection_id: str) -> None:
        """Discard a pending release, because the lease was acquired again."""
        self._pending_releases.pop((key, connection_id), None)

    async def _try_server(self, server: Callable[[], Awaitable[T]], memory: Callable[[], Awaitable[T]]) -> T:
        try:
            await self._replay_releases()
            result = await server()
        except StoreUnavailableError as error:
            self._open(error)
            return await memory()
        except LimitExceededError:
            self._close()
            raise
        self._close()
        return result

    async def _replay_releases(self) -> None:
        """Release the pending leases on the server.

        Raises:
            StoreUnavailableError: The server is unavailable. Unconfirmed releases stay pending.
        """
        while batch := list(islice(self._pending_releases, _RELEASE_BATCH)):
            releases = (self._release(key, connection_id) for key, connection_id in batch)
            outcomes = await asyncio.gather(*releases, return_exceptions=True)
            for lease, outcome in zip(batch, outcomes, strict=True):
                if not isinstance(outcome, StoreUnavailableError):  # any other error would occur again on a retry
                    self.drop_pending(*lease)
            for outcome in outcomes:
                if isinstance(outcome, StoreUnavailableError):
                    raise outcome

    def _open(self, error: StoreUnavailableError) -> None:
        if not self.active:
            _logger.warning("the server is unavailable, counting connections and rate limits in memory: %s", error)
        self.active = True
        self._retry_at = asyncio.get_running_loop().time() + self._pause

    def _close(self) -> None:
        if self.active:
            _logger.info("the server is available again and counts connections and rate limits")
            self.memory = self._open_memory()
        self.active = False


class FallbackConnectionCounter:
    """`ConnectionCounter` that uses memory while the server is unavailable."""

    def __init__(self, server: ConnectionCounter, breaker: LimiterCircuitBreaker) -> None:
        self._server = server
        self._breaker = breaker

    async def acquire(
        self, key: str, connection_id: str, *, limit: int | None = None, ttl: timedelta | None = None
    ) -> int:
        """See `ConnectionCounter.acquire`."""

        async def in_memory() -> int:
            count = await self._breaker.memory.connections.acquire(key, connection_id, limit=limit, ttl=ttl)
            self._breaker.drop_pending(key, connection_id)
            return count

        return await self._breaker.call(
            lambda: self._server.acquire(key, connection_id, limit=limit, ttl=ttl), in_memory
        )

    async def release(self, key: str, connection_id: str) -> int:
        """See `ConnectionCounter.release`."""

        async def in_memory() -> int:
            count = await self._breaker.memory.connections.release(key, connection_id)
            self._breaker.add_pending(key, connection_id)
            return count

        return await self._breaker.call(lambda: self._server.release(key, connection_id), in_memory)

    async def count(self, key: str) -> int:
        """See `ConnectionCounter.count`."""
        return await self._breaker.call(
            lambda: self._server.count(key), lambda: self._breaker.memory.connections.count(key)
        )


class FallbackRateLimiter:
    """`RateLimiter` that uses memory while the server is unavailable."""

    def __init__(self, server: RateLimiter, breaker: LimiterCircuitBreaker) -> None:
        self._server = server
        self._breaker = breaker

    async def hit(self, key: str, cost: int = 1) -> RateLimitDecision:
        """See `RateLimiter.hit`."""
        return await self._breaker.call(
            lambda: self._server.hit(key, cost), lambda: self._breaker.memory.rate_limits.hit(key, cost)
        )

    async def peek(self, key: str) -> RateLimitDecision:
        """See `RateLimiter.peek`."""
        return await self._breaker.call(
            lambda: self._server.peek(key), lambda: self._breaker.memory.rate_limits.peek(key)
        )

    async def reset(self, key: str) -> None:
        """See `RateLimiter.reset`."""
        await self._breaker.call(lambda: self._server.reset(key), lambda: self._breaker.memory.rate_limits.reset(key))
