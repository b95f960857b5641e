"""Routers: they send each command to the server of its key."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Hashable
from typing import Protocol

from wnc_store_redis.transport.connection import Pool, Reply
from wnc_store_redis.transport.node import NodeClient


class Router(Protocol):
    """Sends commands to the servers."""

    @property
    def endpoint(self) -> str:
        """The addresses of the servers, for error messages."""
        ...

    @property
    def has_failover(self) -> bool:
        """Whether another server may take over from one that fails. Commands then wait for it until their deadline."""
        ...

    def check_loop(self) -> None:
        """See `MultiplexedConnection.check_loop`."""
        ...

    def submit(
        self, key: bytes, packed: bytes, deadline: float, *, writes: bool, on_ask: bytes | None = None
    ) -> Awaitable[Reply]:
        """Send a command once; see `MultiplexedConnection.submit`.

        After a failure the router updates what it knows about the servers. The caller decides about another attempt.

        Args:
            key: the key of the command; b"" if it has none.
            packed: the command, encoded.
            deadline: when to give up, in the event loop's time.
            writes: whether the command may change data.
            on_ask: the command to send to the same server instead, if it replies with ASK.
        """
        ...

    def server_epoch(self, key: bytes) -> Hashable:
        """Return a value that changes when another server, or the same server after a restart, answers for the key."""
        ...

    async def aclose(self) -> None:
        """Close the connections."""
        ...


class SingleNodeRouter(Router, Protocol):
    """Sends all commands to one server at a time."""

    @property
    def pool(self) -> Pool:
        """The source of connections to the current server."""
        ...

    def on_failover(self, callback: Callable[[], None]) -> None:
        """Register a callback for when another server takes over from the one that connections of `pool` use."""
        ...


class StandaloneRouter:
    """Sends all commands to one server, which never changes."""

    has_failover = False

    def __init__(self, pool: Pool, node: NodeClient, endpoint: str) -> None:
        self.pool = pool
        self._node = node
        self.endpoint = endpoint

    def check_loop(self) -> None:
        """See `Router.check_loop`."""
        self._node.check_loop()

    def on_failover(self, callback: Callable[[], None]) -> None:
        """See `SingleNodeRouter.on_failover`. The callback is never called."""

    def submit(
        self,
        key: bytes,  # noqa: ARG002 - one server has all keys
        packed: bytes,
        deadline: float,
        *,
        writes: bool,
        on_ask: bytes | None = None,  # noqa: ARG002
    ) -> Awaitable[Reply]:
        """See `Router.submit`."""
        return self._node.submit(packed, deadline, writes=writes)

    def server_epoch(self, key: bytes) -> Hashable:  # noqa: ARG002 - one server has all keys
        """See `Router.server_epoch`."""
        return self._node.disconnects

    async def aclose(self) -> None:
        """See `Router.aclose`."""
        await self._node.aclose()
