"""Protocols of a store and of the backend that opens it."""

from __future__ import annotations

from types import TracebackType
from typing import Protocol, Self

from wnc_store.clock import Clock
from wnc_store.events import RoomEvents
from wnc_store.health import HealthReport
from wnc_store.protocols.chat import ChatStore
from wnc_store.protocols.limiters import ConnectionCounter, RateLimiter
from wnc_store.protocols.rooms import RoomStore
from wnc_store.settings import StoreSettings


class Store(Protocol):
    """The object that an app injects: rooms, chats, limiters and events of one backend.

    A store is an async context manager. Leaving the `async with` block closes the store.
    """

    @property
    def rooms(self) -> RoomStore:
        """The rooms."""
        ...

    @property
    def chat(self) -> ChatStore:
        """The chats."""
        ...

    @property
    def connections(self) -> ConnectionCounter:
        """The connection counter."""
        ...

    @property
    def rate_limits(self) -> RateLimiter:
        """The rate limiter."""
        ...

    @property
    def events(self) -> RoomEvents:
        """The events."""
        ...

    @property
    def closed(self) -> bool:
        """Whether `aclose()` was called."""
        ...

    async def ping(self) -> None:
        """Check that the store can execute operations.

        Raises:
            StoreUnavailableError: The server can't be reached or can't execute operations.
        """
        ...

    async def health(self) -> HealthReport:
        """Check the server, its configuration and the in-memory fallback of the limiters.

        Problems are reported in the result, not raised. Information that the server does not report is "unknown", never
        "ok". The requirements of an option that is off are not checked.

        Raises:
            StoreClosedError: The store is closed.
        """
        ...

    async def aclose(self) -> None:
        """Close everything that this store opened. A client that was passed in stays open.

        Each call in progress completes or raises a `StoreError`. No call waits indefinitely. Closing a closed store
        does nothing. In another event loop than its own, the store closes, or raises `StoreError` and stays open.
        """
        ...

    async def __aenter__(self) -> Self:
        """Return the store."""
        ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the store."""
        ...


class Backend(Protocol):
    """A callable that opens a store for a URL.

    A package registers its backend as an entry point of the group `wnc_store.backends`. The name of the entry point is
    the URL scheme.
    """

    def __call__(self, url: str, settings: StoreSettings, clock: Clock) -> Store:
        """Return a store for `url`, without connecting to a server.

        Raises:
            ConfigurationError: The URL is invalid, or `publish_changes` is on and the backend does not support events.
                The message never contains a password.
        """
        ...
