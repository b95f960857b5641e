"""One server, and how sure a write has to be before it counts as done."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import cast

import hiredis
from redis.exceptions import ResponseError

from wnc_store import StoreClosedError
from wnc_store_redis.transport.connection import Pool, Reply
from wnc_store_redis.transport.errors import NotReplicatedError, code_of
from wnc_store_redis.transport.multiplexer import MultiplexedConnection, NoReplyError
from wnc_store_redis.transport.statistics import Statistics

# Its stub takes tuples of one word only.
pack_command = cast("Callable[[Sequence[bytes]], bytes]", hiredis.pack_command)  # pyright: ignore[reportUnknownMemberType]

_ASKING = pack_command((b"ASKING",))
_REPLICATION = pack_command((b"INFO", b"replication"))
_NO_REPLICA = ResponseError("NOREPLICAS no replica is connected, and writes are to be replicated")

_LONGEST_WAIT = 1.0
"""Seconds that one WAIT may take: as long, the connection answers no other write."""

_COUNT_FOR = 1.0
"""Seconds for which a server's own number of replicas is taken as it is."""

_ATTEMPTS = 3


class NodeClient:
    """The connections to one server.

    A write that has to be replicated returns when all replicas have it. WAIT tells that of the writes of its own
    connection, and holds up what comes after it: so one WAIT follows all writes of a tick, and reads have a connection
    of their own.

    Args:
        pool: gives the connections.
        timeout: as of a `MultiplexedConnection`.
        counts: likewise.
        is_replicated: whether writes have to be replicated.
        replicas: how many replicas there are; asked of the server itself if left out.
    """

    def __init__(
        self,
        pool: Pool,
        timeout: float,
        statistics: Statistics,
        *,
        is_replicated: bool = False,
        replicas: Callable[[], int] | None = None,
    ) -> None:
        self._writes = MultiplexedConnection(pool, timeout, statistics)
        self._reads = MultiplexedConnection(pool, timeout, statistics) if is_replicated else self._writes
        self._is_replicated = is_replicated
        self._replicas = replicas
        self._counted: int | ResponseError = _NO_REPLICA
        self._counted_at = float("-inf")
        self._wait_task: asyncio.Task[int | ResponseError] | None = None

    @property
    def disconnects(self) -> int:
        """How many connections for reads were lost so far."""
        return self._reads.disconnects

    def submit(self, packed: bytes, deadline: float, *, writes: bool, asking: bool = False) -> Awaitable[Reply]:
        """Send a command, as `MultiplexedConnection.submit` says.

        Args:
            packed: the command.
            deadline: when to give up, by the event loop's clock.
            writes: whether it may change something.
            asking: whether it goes where a slot of a cluster is moving to.
        """
        if writes and self._is_replicated:
            return self._replicated(packed, deadline, asking=asking)
        return _submit(self._writes if writes else self._reads, packed, deadline, asking=asking)

    def check_loop(self) -> None:
        """See `MultiplexedConnection.check_loop`."""
        self._writes.check_loop()

    def drop(self) -> None:
        """Give the connections up; the next command opens another."""
        self._writes.drop()
        self._reads.drop()

    async def aclose(self) -> None:
        """Refuse what was not sent, wait for what was, and close the connections."""
        await self._writes.aclose()
        await self._reads.aclose()

    async def _replicated(self, packed: bytes, deadline: float, *, asking: bool) -> Reply:
        expected = await self._replica_count(deadline)
        if isinstance(expected, ResponseError):
            return expected
        losses = self._writes.disconnects
        answer = _submit(self._writes, packed, deadline, asking=asking)
        if self._wait_task is None:
            self._wait_task = asyncio.ensure_future(self._wait(expected, deadline))
        waited = self._wait_task
        reply = await answer
        if isinstance(reply, ResponseError):
            return reply
        found = await asyncio.shield(waited)
        if self._writes.disconnects != losses:  # that may have been another server's word
            raise NoReplyError(ConnectionError("the connection was lost before the replicas had the write"), sent=True)
        if isinstance(found, ResponseError):
            code = code_of(found)
            reason = f"WAIT was refused with {code}{' (it needs +wait)' if code == 'NOPERM' else ''}"
            raise NoReplyError(NotReplicatedError(reason), sent=True)
        if found < expected:
            reason = f"only {max(found, 0)} of {expected} replicas have the write"
            raise NoReplyError(NotReplicatedError(reason), sent=True)
        return reply

    async def _wait(self, expected: int, deadline: float) -> int | ResponseError:
        """Return how many replicas have what was sent in this tick, -1 if that can't be told; or a refusal."""
        self._wait_task = None  # from here on, what is sent comes after the WAIT
        left = min(_LONGEST_WAIT, (deadline - asyncio.get_running_loop().time()) / 2)  # to hear how many have it, too
        timeout = str(max(1, int(left * 1000))).encode()
        try:
            reply = await self._writes.submit(pack_command((b"WAIT", str(expected).encode(), timeout)), deadline)
        except (NoReplyError, StoreClosedError):  # the writes may have been sent
            return -1
        return reply if isinstance(reply, int | ResponseError) else -1

    async def _replica_count(self, deadline: float) -> int | ResponseError:
        """Return how many replicas there are, at least one; or what a write is refused with."""
        if self._replicas is not None:
            return self._replicas() or _NO_REPLICA
        now = asyncio.get_running_loop().time()
        if now - self._counted_at > _COUNT_FOR:
            self._counted = await self._query_replicas(deadline)
            self._counted_at = now
        return self._counted

    async def _query_replicas(self, deadline: float) -> int | ResponseError:
        for attempt in range(_ATTEMPTS):
            try:
                reply = await self._reads.submit(_REPLICATION, deadline)
            except NoReplyError as unanswered:
                if not unanswered.sent or attempt == _ATTEMPTS - 1:
                    raise NoReplyError(unanswered.reason, sent=False) from None  # the write was not
                continue
            if isinstance(reply, bytes):
                lines = (line.partition(b":") for line in reply.splitlines())
                return next((int(value) for name, _, value in lines if name == b"connected_slaves"), 0) or _NO_REPLICA
            if isinstance(reply, ResponseError):
                return reply
            break
        return _NO_REPLICA


def _submit(
    multiplexer: MultiplexedConnection, packed: bytes, deadline: float, *, asking: bool
) -> asyncio.Future[Reply]:
    if asking:  # both in one tick: the one stands right before the other
        multiplexer.submit(_ASKING, deadline).add_done_callback(_ignore)
    return multiplexer.submit(packed, deadline)


def _ignore(future: asyncio.Future[Reply]) -> None:
    if not future.cancelled():
        future.exception()
