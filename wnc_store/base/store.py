"""A store as a whole: opened, closed, asked whether it can serve."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import ClassVar, Self

from wnc_store.base.chat import UnsupportedChat
from wnc_store.base.circuit_breaker import FallbackConnectionCounter, FallbackRateLimiter, LimiterCircuitBreaker
from wnc_store.base.events import UnsupportedEvents
from wnc_store.base.lifecycle import Lifecycle
from wnc_store.base.limiters import UnsupportedConnections, UnsupportedRateLimits
from wnc_store.errors import ConfigurationError, StoreError
from wnc_store.events import RoomEvents
from wnc_store.health import HealthCheck, HealthReport
from wnc_store.protocols import ChatStore, ConnectionCounter, RateLimiter, Store
from wnc_store.settings import StoreSettings


class BaseStore(ABC):
    """`Store` without its rooms.

    A subclass calls `super().__init__(settings)` first, passes `self._lifecycle` to its components and assigns `rooms`.
    `chat`, `connections`, `rate_limits` and `events` raise `NotSupportedError` unless the subclass assigns its own.

    Args:
        settings: Settings of the store.

    Raises:
        ConfigurationError: `publish_changes` is on and the backend does not support events.
    """

    _supports_events: ClassVar[bool] = False
    """Whether the backend assigns `events`. While False, the setting `publish_changes` is rejected."""

    def __init__(self, settings: StoreSettings) -> None:
        self._settings = settings
        self._check_events()
        self.chat: ChatStore = UnsupportedChat()
        self.connections: ConnectionCounter = UnsupportedConnections()
        self.rate_limits: RateLimiter = UnsupportedRateLimits()
        self.events: RoomEvents = UnsupportedEvents()
        self._lifecycle = Lifecycle()
        self._released = False
        self._circuit_breaker: LimiterCircuitBreaker | None = None

    def _set_limiters(
        self, connections: ConnectionCounter, rate_limits: RateLimiter, *, open_fallback: Callable[[], Store]
    ) -> None:
        """Assign the limiters of a server, with an in-memory fallback if `limits_on_unavailable` is "memory".

        Args:
            connections: Connection counter on the server.
            rate_limits: Rate limiter on the server.
            open_fallback: Open an empty in-memory store. Called once here and once after each outage.
        """
        self.connections, self.rate_limits = connections, rate_limits
        if self._settings.limits_on_unavailable == "memory":
            self._circuit_breaker = LimiterCircuitBreaker(
                connections.release, open_fallback, self._settings.operation_timeout
            )
            self.connections = FallbackConnectionCounter(connections, self._circuit_breaker)
            self.rate_limits = FallbackRateLimiter(rate_limits, self._circuit_breaker)

    def _check_events(self) -> None:
        if self._settings.publish_changes and not self._supports_events:
            message = f"publish_changes requires a backend with events, and {type(self).__name__} has none: turn it off"
            raise ConfigurationError(message)

    @abstractmethod
    async def _ping(self) -> None:
        """Return if the store can serve."""

    async def _inspect(self) -> tuple[str | None, Sequence[HealthCheck]]:
        """Return the server's version and what is to be said of its set-up; called when it has answered a ping."""
        return None, ()

    @abstractmethod
    async def _close(self) -> None:
        """Release what this store opened; called again by the next `aclose` if it did not end."""

    @property
    def closed(self) -> bool:
        """See `Store.closed`."""
        return self._lifecycle.closed

    async def ping(self) -> None:
        """See `Store.ping`."""
        self._lifecycle.ensure_open()
        await self._ping()

    async def health(self) -> HealthReport:
        """See `Store.health`."""
        self._lifecycle.ensure_open()
        guards: list[HealthCheck] = []
        if self._circuit_breaker is not None and self._circuit_breaker.active:
            found = "connections and rate limits are counted in this process's memory"
            guards.append(
                HealthCheck("limits", "error", found, "bring the server back; they ask it again by themselves")
            )
        try:
            await self._ping()  # the first one connects
            start = time.perf_counter()
            await self._ping()
            round_trip_ms = round((time.perf_counter() - start) * 1000, 3)
        except StoreError as error:
            answer = HealthCheck(
                "answer", "error", str(error), "mend that first; the rest can't be looked at without it"
            )
            return HealthReport(type(self).__name__, None, None, (answer, *guards))
        answer = HealthCheck("answer", "ok", f"in {round_trip_ms} ms")
        try:
            version, checks = await self._inspect()
        except StoreError as error:
            version, checks = None, (HealthCheck("set-up", "unknown", str(error)),)
        return HealthReport(type(self).__name__, version, round_trip_ms, (answer, *checks, *guards))

    async def aclose(self) -> None:
        """See `Store.aclose`."""
        self._lifecycle.close()
        if not self._released:
            await self._close()
            if self._circuit_breaker is not None:
                await self._circuit_breaker.memory.aclose()
            self._released = True

    async def __aenter__(self) -> Self:
        """Return the store."""
        self._lifecycle.ensure_open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the store."""
        await self.aclose()
