"""Base class of stores: lifecycle, health and the fallback of the limiters."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Self

from wnc_store.base.circuit_breaker import FallbackConnectionCounter, FallbackRateLimiter, LimiterCircuitBreaker
from wnc_store.base.lifecycle import Lifecycle, ensure_asyncio
from wnc_store.base.unsupported import (
    UnsupportedChat,
    UnsupportedConnections,
    UnsupportedEvents,
    UnsupportedRateLimits,
)
from wnc_store.errors import ConfigurationError, StoreError
from wnc_store.events import RoomEvents
from wnc_store.health import HealthCheck, HealthReport, ServerInfo
from wnc_store.protocols import ChatStore, ConnectionCounter, RateLimiter, Store
from wnc_store.settings import StoreSettings


class BaseStore(ABC):
    """`Store` without its rooms.

    A subclass creates a `Lifecycle` and its components, which share the lifecycle. It assigns `rooms`, and passes the
    other components to this constructor. The methods of a component that is left out raise `NotSupportedError`.

    Args:
        settings: Settings of the store.
        lifecycle: Lifecycle of the store and its components.
        chat, connections, rate_limits, events: The other components.
        open_fallback: Opens an empty store in memory. If `limits_on_unavailable` is "memory", its limiters are used
            while the server is unavailable. Called by the constructor and after each outage.

    Raises:
        ConfigurationError: `publish_changes` is on, and `events` was left out.
    """

    def __init__(  # noqa: PLR0913 - a store and its components
        self,
        settings: StoreSettings,
        lifecycle: Lifecycle,
        *,
        chat: ChatStore | None = None,
        connections: ConnectionCounter | None = None,
        rate_limits: RateLimiter | None = None,
        events: RoomEvents | None = None,
        open_fallback: Callable[[], Store] | None = None,
    ) -> None:
        if settings.publish_changes and events is None:
            message = f"publish_changes requires a backend with events, and {type(self).__name__} has none: turn it off"
            raise ConfigurationError(message)
        self._settings = settings
        self._lifecycle = lifecycle
        self.chat: ChatStore = chat or UnsupportedChat()
        self.connections: ConnectionCounter = connections or UnsupportedConnections()
        self.rate_limits: RateLimiter = rate_limits or UnsupportedRateLimits()
        self.events: RoomEvents = events or UnsupportedEvents()
        self._resources_released = False
        self._circuit_breaker: LimiterCircuitBreaker | None = None
        if open_fallback is not None and settings.limits_on_unavailable == "memory":
            self._circuit_breaker = LimiterCircuitBreaker(
                self.connections.release, open_fallback, settings.operation_timeout
            )
            self.connections = FallbackConnectionCounter(self.connections, self._circuit_breaker)
            self.rate_limits = FallbackRateLimiter(self.rate_limits, self._circuit_breaker)

    @abstractmethod
    async def _ping(self) -> None:
        """Send a request to the server that shows whether it can execute operations.

        Raises:
            StoreUnavailableError: The server can't be reached or can't execute operations.
        """

    async def _inspect(self) -> tuple[ServerInfo | None, Sequence[HealthCheck]]:
        """Return the server's product and version and the checks of its configuration, after a successful ping."""
        return None, ()

    def _check_close(self) -> None:  # noqa: B027 - most backends can be closed anywhere
        """Check that the store can be closed here, for example in its own event loop. Called before anything is closed.

        Raises:
            StoreError: The store can't be closed here.
        """

    @abstractmethod
    async def _close(self) -> None:
        """Release what this store opened. If the call fails or is cancelled, the next `aclose` calls it again."""

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
        limits: list[HealthCheck] = []
        if self._circuit_breaker is not None and self._circuit_breaker.active:
            detail = "connections and rate limits are counted in the memory of this process"
            hint = "restore the server; the store switches back automatically"
            limits.append(HealthCheck("limits", "error", detail, hint))
        try:
            await self._ping()  # connects, so that the second ping measures only the round trip
            start = time.perf_counter()
            await self._ping()
            round_trip_ms = round((time.perf_counter() - start) * 1000, 3)
        except StoreError as error:
            ping = HealthCheck("ping", "error", str(error), "fix this first: the other checks need the server")
            return HealthReport(type(self).__name__, None, None, (ping, *limits))
        ping = HealthCheck("ping", "ok", f"replied in {round_trip_ms} ms")
        try:
            server, checks = await self._inspect()
        except StoreError as error:
            server, checks = None, (HealthCheck("set-up", "unknown", str(error)),)
        return HealthReport(type(self).__name__, server, round_trip_ms, (ping, *checks, *limits))

    async def aclose(self) -> None:
        """See `Store.aclose`."""
        ensure_asyncio()
        if not self._resources_released:
            self._check_close()
            self._lifecycle.close()
            await self._close()
            if self._circuit_breaker is not None:
                await self._circuit_breaker.memory.aclose()
            self._resources_released = True

    async def __aenter__(self) -> Self:
        """Return the store."""
        self._lifecycle.ensure_open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the store."""
        await self.aclose()
