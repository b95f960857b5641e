"""The route to the master of a service that Sentinels watch over."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Any

from redis.asyncio import Redis
from redis.asyncio.connection import AbstractConnection
from redis.asyncio.sentinel import SentinelConnectionPool
from redis.exceptions import NoPermissionError, ResponseError

from wnc_store_redis.transport.connection import Reply
from wnc_store_redis.transport.errors import code_of
from wnc_store_redis.transport.multiplexer import NoReplyError
from wnc_store_redis.transport.node import NodeClient
from wnc_store_redis.transport.routing import Backoff, is_retryable
from wnc_store_redis.transport.sentinel_monitor import Address, SentinelMonitor
from wnc_store_redis.transport.statistics import Statistics

_NOT_THE_MASTER = {"READONLY", "MASTERDOWN"}
_RETRYABLE = {*_NOT_THE_MASTER, "NOREPLICAS", "LOADING"}
"""Definite refusals that a failover brings along, and ends."""


class SentinelRouter:
    """One server at a time: whichever the Sentinels call the master.

    When they begin to promote a replica, writes wait until they have done so, because the old master would confirm
    writes that it loses a moment later. When the master has changed, its connection is dropped at once.

    Args:
        pool: of a client that redis-py's `Sentinel.master_for` made.
        timeout: how long an operation may take, in seconds.
        counts: of the store.
        is_replicated: whether a write has to be on all replicas before it counts as done.
    """

    is_sharded = False

    def __init__(
        self, pool: SentinelConnectionPool, timeout: float, counts: Statistics, *, is_replicated: bool
    ) -> None:
        self._counts = counts
        untyped: Any = pool
        sentinels: Sequence[Redis] = untyped.sentinel_manager.sentinels
        service = str(untyped.service_name)
        addresses = ",".join(_address(sentinel) for sentinel in sentinels)
        self.endpoint = f"service {service} of the Sentinels at {addresses}"
        self._monitor = SentinelMonitor(sentinels, service, self._check_master, with_replicas=is_replicated)
        self.pool = self._masters = _MasterPool(pool, self._monitor)
        self._failover_callbacks: list[Callable[[], None]] = []
        replicas = self._monitor.replicas if is_replicated else None
        self._server = NodeClient(self._masters, timeout, counts, is_replicated=is_replicated, replicas=replicas)

    async def submit(
        self,
        key: bytes,  # noqa: ARG002 - all are there
        packed: bytes,
        deadline: float,
        *,
        writes: bool,
        instead: bytes | None = None,  # noqa: ARG002
    ) -> Reply:
        """See `Router.submit`."""
        self._monitor.start()
        pauses = Backoff(deadline)
        while True:
            if writes and not await self._monitor.wait_stable(deadline):
                raise NoReplyError(TimeoutError(), sent=False)
            try:
                reply = await self._server.submit(packed, deadline, writes=writes)
            except NoReplyError as unanswered:
                if not (is_retryable(unanswered) and await pauses.sleep()):
                    raise
                self._counts.retries += 1
                continue
            if not (isinstance(reply, ResponseError) and code_of(reply) in _RETRYABLE):
                return reply
            if code_of(reply) in _NOT_THE_MASTER:
                self._server.drop()
            if not await pauses.sleep():
                return reply
            self._counts.retries += 1

    def check_loop(self) -> None:
        """See `Router.check_loop`."""
        self._server.check_loop()
        self._monitor.start()

    def on_failover(self, call: Callable[[], None]) -> None:
        """See `SingleNodeRouter.on_failover`."""
        self._failover_callbacks.append(call)

    def server_epoch(self, key: bytes) -> Hashable:  # noqa: ARG002 - there is one place
        """See `Router.server_epoch`."""
        return self._server.disconnects

    async def aclose(self) -> None:
        """See `Router.aclose`."""
        await self._server.aclose()
        await self._monitor.aclose()

    def _check_master(self) -> None:
        """Leave a server that is no longer the master."""
        if self._monitor.master is not None and self._masters.connected not in {None, self._monitor.master}:
            self._masters.connected = None
            self._server.drop()
            for call in self._failover_callbacks:
                call()


class _MasterPool:
    """Connections to the master of the moment, made by the client's pool but never kept in it."""

    def __init__(self, pool: SentinelConnectionPool, watch: SentinelMonitor) -> None:
        self._pool = pool
        self._monitor = watch
        self.connected: Address | None = None

    async def get_connection(self) -> AbstractConnection:
        """See `Pool.get_connection`."""
        address = await self._monitor.discover_master()
        connection: Any = self._pool.connection_class(**self._pool.connection_kwargs)
        try:
            await connection.connect_to(address)
            await _verify_role(connection)
            if self._monitor.master != address:
                message = "the master has changed while it was connected to"
                raise ConnectionError(message)  # noqa: TRY301 - the connection has to be closed all the same
        except BaseException:
            await connection.disconnect(nowait=True)
            raise
        self.connected = address
        return connection

    async def release(self, connection: AbstractConnection) -> None:
        """See `Pool.release`."""


async def _verify_role(connection: Any) -> None:
    await connection.send_command("ROLE")
    try:
        role, *_ = await connection.read_response(disable_decoding=True)
    except NoPermissionError:
        return  # the Sentinels' word has to do
    if role != b"master":
        message = "the Sentinels name a server that is not the master yet"
        raise ConnectionError(message)


def _address(sentinel: Redis) -> str:
    options = sentinel.connection_pool.connection_kwargs
    return f"{options.get('host', 'localhost')}:{options.get('port', 26379)}"
