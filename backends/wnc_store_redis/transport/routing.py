"""Routers: they send each command to the server of its key."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Protocol

from wnc_store_redis.transport.connection import Pool
from wnc_store_redis.transport.node import Node
from wnc_store_redis.transport.receiver import Receiver


class Router(Protocol):
    """Sends commands to the servers.

    Attributes:
        endpoint: the addresses of the servers, for error messages.
        has_failover: whether another server may take over from one that fails. Commands then wait for it until their
            deadline.
    """

    endpoint: str
    has_failover: bool

    def start(self) -> None:
        """Start what runs in the background. Called in the event loop of the store, when the store is first used."""
        ...

    def submit(  # noqa: PLR0913 - what a command needs
        self,
        receiver: Receiver,
        key: bytes,
        packed: bytes,
        deadline: float,
        *,
        writes: bool,
        on_ask: bytes | None = None,
    ) -> None:
        """Send a command once; see `MultiplexedConnection.submit`.

        After a failure the router updates what it knows about the servers. The caller decides about another attempt.

        Args:
            receiver: the receiver of the reply.
            key: the key of the command; b"" if it has none.
            packed: the command, encoded; if it writes, without its end, see `packing`.
            deadline: when to give up, in the event loop's time.
            writes: whether the command may change data.
            on_ask: the command to send to the same server instead, if it replies with ASK.
        """
        ...

    def drop(self, key: bytes) -> None:
        """Close the connections to the server of a key; b"" stands for all servers. The next command opens others."""
        ...

    def server_epoch(self, key: bytes) -> Hashable:
        """Return a value that changes when another server, or the same server after a restart, answers for the key."""
        ...

    async def aclose(self) -> None:
        """Close the connections."""
        ...


class SingleNodeRouter:
    """Sends all commands to one server. A subclass may replace the server.

    Attributes:
        pool: the source of connections to the current server.
    """

    has_failover = False

    def __init__(self, pool: Pool, node: Node, endpoint: str) -> None:
        self.pool = pool
        self._node = node
        self.endpoint = endpoint
        self._failover_callbacks: list[Callable[[], None]] = []

    def start(self) -> None:
        """See `Router.start`."""

    def on_failover(self, callback: Callable[[], None]) -> None:
        """Register a callback for when another server takes over from the one that connections of `pool` use."""
        self._failover_callbacks.append(callback)

    def submit(  # noqa: PLR0913 - what a command needs
        self,
        receiver: Receiver,
        key: bytes,
        packed: bytes,
        deadline: float,
        *,
        writes: bool,
        on_ask: bytes | None = None,
    ) -> None:
        """See `Router.submit`."""
        self._node.submit(receiver, packed, deadline, writes=writes)

    def drop(self, key: bytes) -> None:
        """See `Router.drop`."""
        self._node.drop()

    def server_epoch(self, key: bytes) -> Hashable:
        """See `Router.server_epoch`."""
        return self._node.disconnects

    async def aclose(self) -> None:
        """See `Router.aclose`."""
        await self._node.aclose()
