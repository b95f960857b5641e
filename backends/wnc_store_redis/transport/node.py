"""Connections to one server, with optional replication of writes."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from typing import Protocol

from redis.exceptions import ResponseError

from wnc_store import StoreClosedError
from wnc_store_redis.transport.connection import Pool, Reply
from wnc_store_redis.transport.errors import NotReplicatedError, code_of, is_deadline
from wnc_store_redis.transport.multiplexer import MultiplexedConnection
from wnc_store_redis.transport.packing import pack_command
from wnc_store_redis.transport.receiver import Receiver, forward
from wnc_store_redis.transport.replies import is_bytes, is_count
from wnc_store_redis.transport.retry import NoReplyError, QueryLostError
from wnc_store_redis.transport.statistics import Statistics
from wnc_store_redis.transport.tasks import BackgroundTasks

_REPLICATION = pack_command((b"INFO", b"replication"))
_REPLICAS = re.compile(rb"^connected_slaves:(\d{1,9})\r?$", re.MULTILINE)
_NO_REPLICA = ResponseError("NOREPLICAS no replica is connected, and durability is replicated")

_MAX_WAIT = 1.0
"""Maximum seconds of one WAIT, during which the connection does not reply to other writes."""

_REPLICA_COUNT_TTL = 1.0
"""Seconds for which the number of replicas that a server reported is reused."""


class Node(Protocol):
    """The connections to one server.

    Attributes:
        disconnects: how many connections for reads were lost so far.
    """

    @property
    def disconnects(self) -> int: ...  # noqa: D102 - see above

    def submit(self, receiver: Receiver, packed: bytes, deadline: float, *, writes: bool, asking: bool = False) -> None:
        """See `MultiplexedConnection.submit`."""
        ...

    def drop(self) -> None:
        """Close the connections. The next command opens others."""
        ...

    async def aclose(self) -> None:
        """Fail unsent commands, wait for sent ones, and close the connections."""
        ...


def open_node(
    pool: Pool,
    timeout: float,
    statistics: Statistics,
    *,
    is_replicated: bool,
    replicas: Callable[[], int] | None = None,
) -> Node:
    """Return the connections to a server; see `ReplicatedNode`."""
    if is_replicated:
        return ReplicatedNode(pool, timeout, statistics, replicas)
    return MultiplexedConnection(pool, timeout, statistics)


class ReplicatedNode:
    """The connections to one server whose writes return when all replicas have them.

    WAIT covers the writes of the same connection, and blocks the commands behind it. So one WAIT follows all writes of
    a tick, and reads use a separate connection.

    Args:
        pool: the source of connections.
        timeout: see `MultiplexedConnection`.
        statistics: the counters of the store.
        replicas: returns the number of replicas; if omitted, the server is queried.
    """

    def __init__(
        self, pool: Pool, timeout: float, statistics: Statistics, replicas: Callable[[], int] | None = None
    ) -> None:
        self._timeout = timeout
        self._writes = MultiplexedConnection(pool, timeout, statistics)
        self._reads = MultiplexedConnection(pool, timeout, statistics)
        self._replicas = replicas
        self._counted = 0
        self._counted_at = float("-inf")
        self._query: asyncio.Future[Reply] | None = None
        self._wait_task: asyncio.Task[int | ResponseError] | None = None
        self._tasks = BackgroundTasks()

    @property
    def disconnects(self) -> int:
        """See `Node.disconnects`."""
        return self._reads.disconnects

    def submit(self, receiver: Receiver, packed: bytes, deadline: float, *, writes: bool, asking: bool = False) -> None:
        """See `MultiplexedConnection.submit`."""
        if writes:
            forward(self._tasks, self._write(packed, deadline, asking=asking), receiver)
        else:
            self._reads.submit(receiver, packed, deadline, asking=asking)

    def drop(self) -> None:
        """See `Node.drop`."""
        self._writes.drop()
        self._reads.drop()

    async def aclose(self) -> None:
        """See `Node.aclose`."""
        await self._writes.aclose()
        await self._reads.aclose()

    async def _write(self, packed: bytes, deadline: float, *, asking: bool) -> Reply:
        expected = await self._replica_count(deadline)
        if isinstance(expected, ResponseError):
            return expected
        disconnects = self._writes.disconnects
        future: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self._writes.submit(future, packed, deadline, writes=True, asking=asking)
        if self._wait_task is None or self._wait_task.done():  # done: it was cancelled before it started
            self._wait_task = asyncio.ensure_future(self._wait(expected, deadline))
        wait_task = self._wait_task
        reply = await future
        if isinstance(reply, ResponseError):
            return reply
        confirmed = await asyncio.shield(wait_task)
        if self._writes.disconnects != disconnects:  # WAIT may have run on another server
            raise NoReplyError(ConnectionError("the connection was lost before the replicas had the write"), sent=True)
        if isinstance(confirmed, ResponseError):
            code = code_of(confirmed)
            reason = f"WAIT failed with {code}{' (grant +wait to the user)' if code == 'NOPERM' else ''}"
            raise NoReplyError(NotReplicatedError(reason), sent=True)
        if confirmed < expected:
            reason = f"only {max(confirmed, 0)} of {expected} replicas have confirmed the write"
            raise NoReplyError(NotReplicatedError(reason), sent=True)
        return reply

    async def _wait(self, expected: int, deadline: float) -> int | ResponseError:
        """Return how many replicas have the writes of this tick, -1 if that is unknown, or the error of WAIT."""
        await asyncio.sleep(0)  # an eager task would run before the other writes of the tick
        self._wait_task = None  # later writes need another WAIT
        # Half of the remaining time, so that the reply of WAIT arrives before the deadline.
        seconds = min(_MAX_WAIT, (deadline - asyncio.get_running_loop().time()) / 2)
        timeout = str(max(1, int(seconds * 1000))).encode()
        try:
            reply = await call(self._writes, pack_command((b"WAIT", b"%d" % expected, timeout)), deadline)
        except (NoReplyError, StoreClosedError):  # the writes may have been sent
            return -1
        if is_count(reply) or isinstance(reply, ResponseError):
            return reply
        self._writes.drop()
        return -1

    async def _replica_count(self, deadline: float) -> int | ResponseError:
        """Return the number of replicas, at least one, or the error for a write."""
        if self._replicas is not None:
            return self._replicas() or _NO_REPLICA
        now = asyncio.get_running_loop().time()
        if now - self._counted_at > _REPLICA_COUNT_TTL:
            counted = await self._query_replicas(deadline)
            if isinstance(counted, ResponseError):
                return counted
            self._counted, self._counted_at = counted, now
        return self._counted

    async def _query_replicas(self, deadline: float) -> int | ResponseError:
        """Query the server. Writes that wait at the same time share a query.

        Each write waits until its own deadline. The query may take longer, until its connection counts as hung.
        """
        if self._query is None or self._query.done():
            due = asyncio.get_running_loop().time() + 2 * self._timeout
            self._query = asyncio.ensure_future(call(self._reads, _REPLICATION, due))
            self._query.add_done_callback(lambda query: query.cancelled() or query.exception())  # nobody may wait
        try:
            async with asyncio.timeout_at(deadline):
                reply = await asyncio.shield(self._query)
        except TimeoutError as error:
            raise NoReplyError(error, sent=False) from None  # the write itself was not sent
        except StoreClosedError:
            raise StoreClosedError from None
        except NoReplyError as error:
            is_lost = error.sent and not is_deadline(error.reason)
            reason = QueryLostError(*error.reason.args) if is_lost else error.reason
            raise NoReplyError(reason, sent=False) from None
        if isinstance(reply, ResponseError):
            return reply
        if not is_bytes(reply):
            self._reads.drop()
            raise NoReplyError(QueryLostError("the server sent an unexpected reply to INFO"), sent=False)
        found = _REPLICAS.search(reply)
        return (int(found[1]) if found else 0) or _NO_REPLICA


async def call(
    node: Node | MultiplexedConnection, packed: bytes, deadline: float, *, writes: bool = False, asking: bool = False
) -> Reply:
    """Send a command and return its reply; see `MultiplexedConnection.submit`."""
    reply: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
    node.submit(reply, packed, deadline, writes=writes, asking=asking)
    return await reply
