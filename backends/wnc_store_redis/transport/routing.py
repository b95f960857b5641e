"""The way of a command to the server that keeps its key: one server, a service of Sentinel's, or a cluster."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from typing import Protocol

from redis.exceptions import AuthenticationError, AuthorizationError, DataError

from wnc_store_redis.transport.connection import Pool, Reply
from wnc_store_redis.transport.errors import UnknownServiceError
from wnc_store_redis.transport.multiplexer import NoReplyError
from wnc_store_redis.transport.node import NodeClient

_FIRST_PAUSE = 0.005
_LONGEST_PAUSE = 0.25


class Router(Protocol):
    """The way to the servers.

    Attributes:
        where: the servers' addresses, for errors.
        is_sharded: whether keys may lie on different servers, so that a script may touch one key only.
    """

    @property
    def endpoint(self) -> str:
        """The servers' addresses, for errors."""
        ...

    @property
    def is_sharded(self) -> bool:
        """Whether keys may be on different servers."""
        ...

    def check_loop(self) -> None:
        """See `MultiplexedConnection.check_loop`."""
        ...

    def submit(
        self, key: bytes, packed: bytes, deadline: float, *, writes: bool, instead: bytes | None = None
    ) -> Awaitable[Reply]:
        """Send a command, as `MultiplexedConnection.submit` says.

        Args:
            key: the key that it is about; b"" if it is about none.
            packed: the command.
            deadline: when to give up, by the event loop's clock.
            writes: whether it may change something.
            instead: a command to send to the key's server if the key itself is on its way from there to another.
        """
        ...

    def server_epoch(self, key: bytes) -> Hashable:
        """Return what is another value when another server, or one started anew, has answered for the key since."""
        ...

    async def aclose(self) -> None:
        """Close the connections."""
        ...


class SingleNodeRouter(Router, Protocol):
    """The way to one server at a time.

    Attributes:
        pool: gives connections to it.
    """

    @property
    def pool(self) -> Pool:
        """Where connections come from."""
        ...

    def on_failover(self, call: Callable[[], None]) -> None:
        """Have something called whenever connections of `pool` are no longer to the right server."""
        ...


class StandaloneRouter:
    """The route to a single server."""

    is_sharded = False

    def __init__(self, pool: Pool, server: NodeClient, where: str) -> None:
        self.pool = pool
        self._server = server
        self.endpoint = where

    def check_loop(self) -> None:
        """See `Router.check_loop`."""
        self._server.check_loop()

    def on_failover(self, call: Callable[[], None]) -> None:
        """See `SingleNodeRouter.on_failover`: there is none."""

    def submit(
        self,
        key: bytes,  # noqa: ARG002 - all are here
        packed: bytes,
        deadline: float,
        *,
        writes: bool,
        instead: bytes | None = None,  # noqa: ARG002
    ) -> Awaitable[Reply]:
        """See `Router.submit`."""
        return self._server.submit(packed, deadline, writes=writes)

    def server_epoch(self, key: bytes) -> Hashable:  # noqa: ARG002 - there is one place
        """See `Router.server_epoch`."""
        return self._server.disconnects

    async def aclose(self) -> None:
        """See `Router.aclose`."""
        await self._server.aclose()


class Backoff:
    """Pauses between attempts, each twice as long as the one before, until a deadline."""

    def __init__(self, deadline: float) -> None:
        self._deadline = deadline
        self._next = _FIRST_PAUSE

    async def sleep(self) -> bool:
        """Wait; tell whether there is time for another attempt. If there is none, do not wait."""
        if asyncio.get_running_loop().time() + self._next >= self._deadline:
            return False
        await asyncio.sleep(self._next)
        self._next = min(2 * self._next, _LONGEST_PAUSE)
        return True


def is_retryable(unanswered: NoReplyError) -> bool:
    """Tell whether a command that surely was not run may find a server a moment later."""
    hopeless = TimeoutError | AuthenticationError | AuthorizationError | DataError | UnknownServiceError
    return not unanswered.sent and not isinstance(unanswered.reason, hopeless)
