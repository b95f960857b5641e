"""A store as a whole: opened, closed, asked whether it can serve."""

from __future__ import annotations

from abc import ABC, abstractmethod
from types import TracebackType
from typing import Self

from wnc_store.base.guards import NoConnections, NoRateLimits
from wnc_store.base.lifecycle import Lifecycle
from wnc_store.protocols import ConnectionCounter, RateLimiter


class BaseStore(ABC):
    """`Store` without its rooms and its chat; guards raise `NotSupportedError` unless a subclass sets its own."""

    def __init__(self) -> None:
        self.connections: ConnectionCounter = NoConnections()
        self.rate_limits: RateLimiter = NoRateLimits()
        self._lifecycle = Lifecycle()
        self._released = False

    @abstractmethod
    async def _ping(self) -> None:
        """Return if the store can serve."""

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

    async def aclose(self) -> None:
        """See `Store.aclose`."""
        self._lifecycle.closed = True
        if not self._released:
            await self._close()
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
