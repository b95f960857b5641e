"""Guards that count in this process's memory while the server is away.

What is counted there starts from nothing, is this process's alone, and is forgotten when the server is back: then the
server's own counts go on. That is the original's way, and it keeps an app open at the price of looser limits. Only the
ends of leases are told to the server when it is back: or else those who left during an outage would be counted on, and
shut others out.
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
"""Of so many leases at most the server is told the end; others end by themselves, after `connection_ttl`."""
_RELEASE_BATCH = 100


class LimiterCircuitBreaker:
    """Whether the server is away, and when to ask it again; and the leases that it has to be told the end of.

    Args:
        release: ends a lease on the server.
        open_memory: opens an empty store in memory, for each outage anew.
        pause: how long it is left alone after it did not answer. Then one caller asks it, and no other waits for that.
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
        """Return what the server answers, or what memory does while the server is away."""
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
        """Note a lease that was ended while the server was away, which does not know it."""
        self._pending_releases[key, connection_id] = None

    def drop_pending(self, key: str, connection_id: str) -> None:
        """Forget that a lease was ended: it has begun again."""
        self._pending_releases.pop((key, connection_id), None)

    async def _try_server(self, server: Callable[[], Awaitable[T]], memory: Callable[[], Awaitable[T]]) -> T:
        try:
            await self._replay_releases()
            answer = await server()
        except StoreUnavailableError as error:
            self._open(error)
            return await memory()
        except LimitExceededError:
            self._close()
            raise
        self._close()
        return answer

    async def _replay_releases(self) -> None:
        """Tell the server the ends of leases that it does not know.

        Raises:
            StoreUnavailableError: it is away; it still has to be told what it did not answer to.
        """
        while owed := list(islice(self._pending_releases, _RELEASE_BATCH)):
            ends = (self._release(key, connection_id) for key, connection_id in owed)
            outcomes = await asyncio.gather(*ends, return_exceptions=True)
            for lease, outcome in zip(owed, outcomes, strict=True):
                if not isinstance(outcome, StoreUnavailableError):  # any other error is the same the next time
                    self.drop_pending(*lease)
            for outcome in outcomes:
                if isinstance(outcome, StoreUnavailableError):
                    raise outcome

    def _open(self, error: StoreUnavailableError) -> None:
        if not self.active:
            _logger.warning("connections and rate limits are counted in memory from now on: %s", error)
        self.active = True
        self._retry_at = asyncio.get_running_loop().time() + self._pause

    def _close(self) -> None:
        if self.active:
            _logger.info("connections and rate limits are counted by the server again")
            self.memory = self._open_memory()
        self.active = False


class FallbackConnectionCounter:
    """A server's `ConnectionCounter`, or memory's while the server is away."""

    def __init__(self, server: ConnectionCounter, fallback: LimiterCircuitBreaker) -> None:
        self._server = server
        self._fallback = fallback

    async def acquire(self, key: str, connection_id: str, *, limit: int | None = None) -> int:
        """See `ConnectionCounter.acquire`."""

        async def in_memory() -> int:
            count = await self._fallback.memory.connections.acquire(key, connection_id, limit=limit)
            self._fallback.drop_pending(key, connection_id)
            return count

        return await self._fallback.call(lambda: self._server.acquire(key, connection_id, limit=limit), in_memory)

    async def release(self, key: str, connection_id: str) -> int:
        """See `ConnectionCounter.release`."""

        async def in_memory() -> int:
            count = await self._fallback.memory.connections.release(key, connection_id)
            self._fallback.add_pending(key, connection_id)
            return count

        return await self._fallback.call(lambda: self._server.release(key, connection_id), in_memory)

    async def count(self, key: str) -> int:
        """See `ConnectionCounter.count`."""
        return await self._fallback.call(
            lambda: self._server.count(key), lambda: self._fallback.memory.connections.count(key)
        )


class FallbackRateLimiter:
    """A server's `RateLimiter`, or memory's while the server is away."""

    def __init__(self, server: RateLimiter, fallback: LimiterCircuitBreaker) -> None:
        self._server = server
        self._fallback = fallback

    async def hit(self, key: str, cost: int = 1) -> RateLimitDecision:
        """See `RateLimiter.hit`."""
        return await self._fallback.call(
            lambda: self._server.hit(key, cost), lambda: self._fallback.memory.rate_limits.hit(key, cost)
        )

    async def peek(self, key: str) -> RateLimitDecision:
        """See `RateLimiter.peek`."""
        return await self._fallback.call(
            lambda: self._server.peek(key), lambda: self._fallback.memory.rate_limits.peek(key)
        )

    async def reset(self, key: str) -> None:
        """See `RateLimiter.reset`."""
        await self._fallback.call(lambda: self._server.reset(key), lambda: self._fallback.memory.rate_limits.reset(key))
