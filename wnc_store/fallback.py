"""Guards that count in this process's memory while the server is away.

What is counted there starts from nothing, is this process's alone, and is forgotten when the server is back: then the
server's own counts go on. That is the original's way, and it keeps an app open at the price of looser limits.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import TypeVar

from wnc_store.errors import StoreUnavailableError
from wnc_store.guards import RateLimitDecision
from wnc_store.protocols import ConnectionCounter, RateLimiter

T = TypeVar("T")
_logger = logging.getLogger("wnc_store")


class Fallback:
    """Whether the server is away, and when to ask it again.

    Args:
        pause: how long it is left alone after it did not answer, so that callers do not all wait for it in vain.
    """

    def __init__(self, pause: timedelta) -> None:
        self.active = False
        self._pause = pause.total_seconds()
        self._ask_again_at = 0.0

    async def call(self, server: Callable[[], Awaitable[T]], memory: Callable[[], Awaitable[T]]) -> T:
        """Return what the server answers, or what memory does while the server is away."""
        if self.active and time.monotonic() < self._ask_again_at:
            return await memory()
        try:
            answer = await server()
        except StoreUnavailableError as error:
            if not self.active:
                _logger.warning("connections and rate limits are counted in memory from now on: %s", error)
            self.active = True
            self._ask_again_at = time.monotonic() + self._pause
            return await memory()
        if self.active:
            _logger.info("connections and rate limits are counted by the server again")
            self.active = False
        return answer


class FallbackConnectionCounter:
    """A server's `ConnectionCounter`, or memory's while the server is away."""

    def __init__(self, server: ConnectionCounter, memory: ConnectionCounter, fallback: Fallback) -> None:
        self._server = server
        self._memory = memory
        self._fallback = fallback

    async def acquire(self, key: str, connection_id: str, *, limit: int | None = None) -> int:
        """See `ConnectionCounter.acquire`."""
        return await self._fallback.call(
            lambda: self._server.acquire(key, connection_id, limit=limit),
            lambda: self._memory.acquire(key, connection_id, limit=limit),
        )

    async def release(self, key: str, connection_id: str) -> int:
        """See `ConnectionCounter.release`."""
        return await self._fallback.call(
            lambda: self._server.release(key, connection_id), lambda: self._memory.release(key, connection_id)
        )

    async def count(self, key: str) -> int:
        """See `ConnectionCounter.count`."""
        return await self._fallback.call(lambda: self._server.count(key), lambda: self._memory.count(key))


class FallbackRateLimiter:
    """A server's `RateLimiter`, or memory's while the server is away."""

    def __init__(self, server: RateLimiter, memory: RateLimiter, fallback: Fallback) -> None:
        self._server = server
        self._memory = memory
        self._fallback = fallback

    async def hit(self, key: str, cost: int = 1) -> RateLimitDecision:
        """See `RateLimiter.hit`."""
        return await self._fallback.call(lambda: self._server.hit(key, cost), lambda: self._memory.hit(key, cost))

    async def peek(self, key: str) -> RateLimitDecision:
        """See `RateLimiter.peek`."""
        return await self._fallback.call(lambda: self._server.peek(key), lambda: self._memory.peek(key))

    async def reset(self, key: str) -> None:
        """See `RateLimiter.reset`."""
        await self._fallback.call(lambda: self._server.reset(key), lambda: self._memory.reset(key))
