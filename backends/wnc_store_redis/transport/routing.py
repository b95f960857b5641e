"""The way of a command to the server that keeps its key: one server, a service of Sentinel's, or a cluster."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from typing import Protocol

from redis.exceptions import AuthenticationError, AuthorizationError, DataError

from wnc_store_redis.transport.connection import Pool, Reply
from wnc_store_redis.transport.errors import UnknownServiceError
from wnc_store_redis.transport.multiplexer import Unanswered
from wnc_store_redis.transport.node import Server

_FIRST_PAUSE = 0.005
_LONGEST_PAUSE = 0.25


class Route(Protocol):
    """The way to the servers.

    Attributes:
        where: the servers' addresses, for errors.
        is_sharded: whether keys may lie on different servers, so that a script may touch one key only.
    """

    @property
    def where(self) -> str: ...

    @property
    def is_sharded(self) -> bool: ...

    def check_loop(self) -> None:
        """See `Multiplexer.check_loop`."""
        ...

    def submit(
        self, key: bytes, packed: bytes, deadline: float, *, writes: bool, instead: bytes | None = None
    ) -> Awaitable[Reply]:
        """Send a command, as `Multiplexer.submit` says.

        Args:
            key: the key that it is about; b"" if it is about none.
            packed: the command.
            deadline: when to give up, by the event loop's clock.
            writes: whether it may change something.
            instead: a command to send to the key's server if the key itself is on its way from there to another.
        """
        ...

    def place(self, key: bytes) -> Hashable:
        """Return what is another value when another server, or one started anew, has answered for the key since."""
        ...

    async def aclose(self) -> None:
        """Close the connections."""
        ...


class RouteToOne(Route, Protocol):
    """The way to one server at a time.

    Attributes:
        pool: gives connections to it.
    """

    @property
    def pool(self) -> Pool: ...

    def on_switch(self, call: Callable[[], None]) -> None:
        """Have something called whenever connections of `pool` are no longer to the right server."""
        ...


class OneServer:
    """The route to a single server."""

    is_sharded = False

    def __init__(self, pool: Pool, server: Server, where: str) -> None:
        self.pool = pool
        self._server = server
        self.where = where

    def check_loop(self) -> None:
        """See `Route.check_loop`."""
        self._server.check_loop()

    def on_switch(self, call: Callable[[], None]) -> None:
        """See `RouteToOne.on_switch`: there is none."""

    def submit(
        self,
        key: bytes,  # noqa: ARG002 - all are here
        packed: bytes,
        deadline: float,
        *,
        writes: bool,
        instead: bytes | None = None,  # noqa: ARG002
    ) -> Awaitable[Reply]:
        """See `Route.submit`."""
        return self._server.submit(packed, deadline, writes=writes)

    def place(self, key: bytes) -> Hashable:  # noqa: ARG002 - there is one place
        """See `Route.place`."""
        return self._server.losses

    async def aclose(self) -> None:
        """See `Route.aclose`."""
        await self._server.aclose()


class Pauses:
    """Pauses between attempts, each twice as long as the one before, until a deadline."""

    def __init__(self, deadline: float) -> None:
        self._deadline = deadline
        self._next = _FIRST_PAUSE

    async def pause(self) -> bool:
        """Wait; tell whether there is time for another attempt. If there is none, do not wait."""
        if asyncio.get_running_loop().time() + self._next >= self._deadline:
            return False
        await asyncio.sleep(self._next)
        self._next = min(2 * self._next, _LONGEST_PAUSE)
        return True


def may_try_again(unanswered: Unanswered) -> bool:
    """Tell whether a command that surely was not run may find a server a moment later."""
    hopeless = TimeoutError | AuthenticationError | AuthorizationError | DataError | UnknownServiceError
    return not unanswered.sent and not isinstance(unanswered.reason, hopeless)
