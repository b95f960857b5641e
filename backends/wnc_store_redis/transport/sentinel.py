"""The router for the master of a service that Sentinels monitor."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from redis.asyncio import ConnectionPool, Redis
from redis.asyncio.connection import AbstractConnection
from redis.asyncio.sentinel import SentinelConnectionPool
from redis.exceptions import NoPermissionError, ResponseError

from wnc_store_redis.transport.connection import NO_RETRIES, Reply
from wnc_store_redis.transport.errors import code_of
from wnc_store_redis.transport.node import Node, open_node
from wnc_store_redis.transport.receiver import Receiver, forward
from wnc_store_redis.transport.retry import NoReplyError
from wnc_store_redis.transport.routing import SingleNodeRouter
from wnc_store_redis.transport.sentinel_monitor import Address, SentinelMonitor
from wnc_store_redis.transport.statistics import Statistics
from wnc_store_redis.transport.tasks import BackgroundTasks

_NOT_THE_MASTER = {"READONLY", "MASTERDOWN"}


class SentinelRouter(SingleNodeRouter):
    """Sends all commands to the server that the Sentinels report as the master.

    While the Sentinels promote a replica, writes wait, because the old master would acknowledge writes that the
    failover loses. When the master changes, connections to the old one are dropped at once.

    Args:
        pool: the pool of a client that `Sentinel.master_for` of redis-py returned.
        timeout: how long an operation may take, in seconds.
        is_replicated: whether a write must be on all replicas before it returns.
    """

    has_failover = True

    def __init__(
        self, pool: SentinelConnectionPool, timeout: float, statistics: Statistics, *, is_replicated: bool
    ) -> None:
        untyped: Any = pool
        sentinels: Sequence[Redis] = untyped.sentinel_manager.sentinels
        service = str(untyped.service_name)
        addresses = ",".join(_address(sentinel) for sentinel in sentinels)
        own_clients = [_without_retries(sentinel) for sentinel in sentinels]
        monitor = SentinelMonitor(own_clients, service, self._check_master, with_replicas=is_replicated)
        self._monitor, self._masters = monitor, _MasterPool(pool, monitor)
        replicas = monitor.replicas if is_replicated else None
        self._requests = BackgroundTasks()
        node = open_node(self._masters, timeout, statistics, is_replicated=is_replicated, replicas=replicas)
        super().__init__(self._masters, node, f"service {service} of the Sentinels at {addresses}")

    def start(self) -> None:
        """See `Router.start`."""
        self._monitor.start()

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
        if writes and self._monitor.is_failing_over():
            forward(self._requests, self._send_later(packed, deadline), receiver)
        else:
            self._node.submit(_Request(receiver, self._node), packed, deadline, writes=writes)

    async def _send_later(self, packed: bytes, deadline: float) -> Reply:
        """Send a write after the failover."""
        if not await self._monitor.wait_stable(deadline):
            raise NoReplyError(TimeoutError(), sent=False)
        reply: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self._node.submit(_Request(reply, self._node), packed, deadline, writes=True)
        return await reply

    async def aclose(self) -> None:
        """See `Router.aclose`."""
        await super().aclose()
        await self._monitor.aclose()

    def _check_master(self) -> None:
        """Drop the connections if they are not to the current master."""
        if self._monitor.master is not None and self._masters.connected not in {None, self._monitor.master}:
            self._masters.connected = None
            self._node.drop()
            for callback in self._failover_callbacks:
                callback()


@dataclass(slots=True, eq=False, repr=False)
class _Request:
    """A command that was sent to the master. It receives the reply, which may show that the server is a replica."""

    receiver: Receiver
    node: Node

    def done(self) -> bool:
        """See `Receiver.done`."""
        return self.receiver.done()

    def set_result(self, result: Reply, /) -> None:
        """See `Receiver.set_result`."""
        if isinstance(result, ResponseError) and code_of(result) in _NOT_THE_MASTER:
            asyncio.get_running_loop().call_soon(self.node.drop)  # other replies of the connection are being passed on
        self.receiver.set_result(result)

    def set_exception(self, exception: BaseException, /) -> None:
        """See `Receiver.set_exception`."""
        self.receiver.set_exception(exception)


class _MasterPool:
    """A source of connections to the current master. They use the pool's options, but are not kept in the pool."""

    def __init__(self, pool: SentinelConnectionPool, monitor: SentinelMonitor) -> None:
        self._pool = pool
        self._monitor = monitor
        self.connected: Address | None = None

    async def get_connection(self) -> AbstractConnection:
        """See `Pool.get_connection`."""
        address = await self._monitor.discover_master()
        connection: Any = self._pool.connection_class(**self._pool.connection_kwargs)
        try:
            await connection.connect_to(address)
            await _verify_role(connection)
            if self._monitor.master != address:
                message = "the master changed during the attempt to connect"
                raise ConnectionError(message)  # noqa: TRY301 - the handler below closes the connection
        except BaseException:
            await connection.disconnect(nowait=True)
            raise
        self.connected = address
        return connection


async def _verify_role(connection: Any) -> None:
    await connection.send_command("ROLE")
    try:
        reply = await connection.read_response(disable_decoding=True)
    except NoPermissionError:
        return  # the user may not run ROLE, so trust the Sentinels
    if not isinstance(reply, list) or reply[:1] != [b"master"]:
        message = "the server that the Sentinels report is not the master yet"
        raise ConnectionError(message)


def _without_retries(sentinel: Redis) -> Redis:
    """Return a client with the options of a caller's client. It reports an error at once."""
    pool = sentinel.connection_pool
    options: dict[str, Any] = {**pool.connection_kwargs, "retry": NO_RETRIES}
    return Redis(connection_pool=ConnectionPool(connection_class=pool.connection_class, **options))


def _address(sentinel: Redis) -> str:
    options = sentinel.connection_pool.connection_kwargs
    return f"{options.get('host', 'localhost')}:{options.get('port', 26379)}"
