"""A connection that many callers share. Commands of one tick of the event loop share a write."""

from __future__ import annotations

import asyncio
import os
import weakref
from collections import deque
from collections.abc import Sequence
from functools import partial

from redis.asyncio.connection import AbstractConnection
from redis.exceptions import ResponseError

from wnc_store import StoreClosedError, StoreError
from wnc_store_redis.transport.connection import Pool, Reply, open_connection
from wnc_store_redis.transport.errors import EXPIRED, UnfencedError, code_of
from wnc_store_redis.transport.retry import ConnectHungError, NoReplyError
from wnc_store_redis.transport.session import Session, seconds, start_session
from wnc_store_redis.transport.statistics import Statistics
from wnc_store_redis.transport.supervisor import ConnectionSupervisor

MAX_IN_FLIGHT = 1024
"""Limit on commands in flight. The rest wait in this process, where a time-out is not an unknown outcome."""

MAX_IN_FLIGHT_BYTES = 4 * 1024 * 1024
"""Limit on the bytes of commands in flight. A larger command is sent alone."""

EXPIRY_DIGITS = 13
"""Length of the last argument of a command that expires: the server's time in epoch milliseconds."""

_CLOCK_INTERVAL = 60.0
"""Seconds between two queries of the server's time on a connection that writes."""

_TIME = b"*1\r\n$4\r\nTIME\r\n"

_LATENCY_MARGIN = 1.25
"""A command is sent only if its remaining time is at least this many times the latency of the last reply."""

_MIN_TIMER_INTERVAL = 0.01
"""Minimum seconds between two scans for missed deadlines: with many waiting commands a scan is slow."""


class InFlightRequest:
    """A command and the future of its reply."""

    __slots__ = ("deadline", "expires", "future", "packed", "sent_at", "size")

    def __init__(self, packed: bytes, future: asyncio.Future[Reply], deadline: float, *, expires: bool) -> None:
        self.packed = packed
        self.expires = expires
        self.size = len(packed)
        self.future = future
        self.deadline = deadline
        self.sent_at = 0.0


class MultiplexedConnection:
    """A connection that is opened when it is first needed, and again after it was lost.

    A request that is cancelled or misses its deadline stays in the in-flight queue, and its reply is discarded. So
    replies stay aligned with requests.

    Args:
        pool: the source of connections.
        timeout: how many seconds an attempt to connect may take, or the server may be silent with commands in flight.
        statistics: the counters of the store.

    Attributes:
        disconnects: how many connections were lost so far.
        forked: whether this process was forked after the connection was first used.
    """

    def __init__(self, pool: Pool, timeout: float, statistics: Statistics) -> None:
        self._timeout = timeout
        self._statistics = statistics
        connect = partial(open_connection, pool, self._on_replies, prepare=self._start_session)
        self._supervisor = ConnectionSupervisor(connect, timeout, self._on_connect, self._on_disconnect)
        self._session = Session()
        self._clock_due = 0.0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._send_queue: deque[InFlightRequest] = deque()
        self._in_flight: deque[InFlightRequest] = deque()
        self._in_flight_bytes = 0
        self._last_reply_at = 0.0
        self._latency = 0.0
        """Seconds between the last reply and the send time of its command."""
        self._flush_scheduled = False
        self._deadline_timer: asyncio.TimerHandle | None = None
        self._closed = False
        self._drained: asyncio.Future[None] | None = None
        self.forked = False
        self.disconnects = 0
        _ALL.add(self)

    @property
    def is_bound(self) -> bool:
        """Whether the connection was used, and so belongs to an event loop."""
        return self._loop is not None

    def submit(self, packed: bytes, deadline: float, *, expires: bool = False) -> asyncio.Future[Reply]:
        """Send a command at the end of this tick.

        Args:
            packed: the command, encoded.
            deadline: when to give up, in the event loop's time.
            expires: whether to append the last argument of the command, the deadline in the server's time.

        Returns:
            A future of the reply, which is a `ResponseError` if the server rejects the command. The future may be
            cancelled. It raises `NoReplyError` if no reply arrives, and `StoreClosedError` if the store is closed
            before the command is sent.

        Raises:
            StoreError: the store belongs to another event loop, or was used before a fork.
        """
        loop = asyncio.get_running_loop()
        if loop is not self._loop or self.forked:
            self._bind(loop)
        future: asyncio.Future[Reply] = loop.create_future()
        if self._closed:
            future.set_exception(StoreClosedError())
            return future
        self._send_queue.append(InFlightRequest(packed, future, deadline, expires=expires))
        if not self._flush_scheduled:
            self._flush_scheduled = True
            loop.call_soon(self._flush)
        if self._deadline_timer is None or deadline < self._deadline_timer.when():
            self._set_deadline_timer(loop, deadline)
        return future

    def check_loop(self) -> None:
        """Check that the store may be used in this event loop and process. The first call binds the event loop.

        Raises:
            StoreError: the store belongs to another event loop, or was used before a fork.
        """
        loop = asyncio.get_running_loop()
        if loop is not self._loop or self.forked:
            self._bind(loop)

    def drop(self) -> None:
        """Close the connection. The next command opens another."""
        self._supervisor.disconnect(ConnectionError("the connection was dropped"))

    async def aclose(self) -> None:
        """Fail unsent commands, wait for sent ones, and close the connection."""
        self._closed = True
        for request in self._send_queue:
            if not request.future.done():
                request.future.set_exception(StoreClosedError())
        self._send_queue.clear()
        if self.forked:
            return
        if self._loop is not None and any(not request.future.done() for request in self._in_flight):
            self._drained = self._drained or self._loop.create_future()
            await asyncio.shield(self._drained)  # a second call of aclose() waits, too
        if self._deadline_timer is not None:
            self._deadline_timer.cancel()
        await self._supervisor.aclose()

    def _bind(self, loop: asyncio.AbstractEventLoop) -> None:
        if self.forked:
            message = "the store was used before this process was forked; open a store in each process"
            raise StoreError(message)
        if self._loop is not None:
            message = "the store was used in another event loop; open a store in each event loop"
            raise StoreError(message)
        self._loop = loop

    async def _start_session(self, connection: AbstractConnection) -> None:
        try:
            self._session = await start_session(connection, self._session)
            self._clock_due = asyncio.get_running_loop().time() + _CLOCK_INTERVAL
        except UnfencedError:
            self._session = Session()
            raise

    def _flush(self) -> None:  # noqa: C901 - on the path of every command
        """Send the waiting commands, up to the limits on commands in flight."""
        self._flush_scheduled = False
        connection = self._supervisor.connection
        if connection is None:
            if self._send_queue:
                self._supervisor.connect()
            return
        batch: list[bytes] = []
        send_queue, in_flight = self._send_queue, self._in_flight
        if not in_flight:
            self._latency = 0.0  # the last reply may have waited for a server that has recovered since
        earlier = len(in_flight)
        now = asyncio.get_running_loop().time()
        while send_queue and len(in_flight) < MAX_IN_FLIGHT:
            if self._in_flight_bytes + send_queue[0].size > MAX_IN_FLIGHT_BYTES and in_flight:
                break
            request = send_queue.popleft()
            if request.future.done():
                continue
            if in_flight and request.deadline - now < _LATENCY_MARGIN * self._latency:
                # Under overload, this command would get its reply just after its deadline, and so would every command
                # behind it: the server would work, and no caller would get a reply in time.
                _fail(request, TimeoutError(), sent=False)
            else:
                request.sent_at = now
                in_flight.append(request)
                self._in_flight_bytes += request.size
                batch.append(request.packed)
                if request.expires:
                    batch.append(b"%0*d\r\n" % (EXPIRY_DIGITS, (request.deadline + self._session.clock) * 1000 + 1))
        if batch:
            if not earlier:
                self._last_reply_at = now  # the server owes replies from now on
            sent = len(in_flight) - earlier
            self._statistics.batches += 1
            self._statistics.commands += sent
            connection.write(batch)
            if len(batch) > sent and now >= self._clock_due:  # the next writes use the new estimate
                self._clock_due = now + _CLOCK_INTERVAL
                self.submit(_TIME, now + self._timeout).add_done_callback(partial(self._on_time, now))

    def _on_time(self, sent_at: float, future: asyncio.Future[Reply]) -> None:
        if not future.cancelled() and future.exception() is None and not isinstance(future.result(), ResponseError):
            self._session = self._session._replace(clock=seconds(future.result()) - sent_at)

    def _on_connect(self, error: Exception | None) -> None:
        """Send the waiting commands, or fail them. After a hung attempt, those with time left may wait for another."""
        if error is None:
            self._flush()
            return
        waiting, self._send_queue = self._send_queue, deque()
        now = asyncio.get_running_loop().time()
        for request in waiting:
            is_late = isinstance(error, ConnectHungError) and request.deadline <= now
            _fail(request, TimeoutError() if is_late else error, sent=False)

    def _on_replies(self, replies: Sequence[Reply]) -> None:
        in_flight = self._in_flight
        self._last_reply_at = asyncio.get_running_loop().time()
        for reply in replies:
            if not in_flight:  # earlier replies may have gone to the wrong requests
                self._supervisor.disconnect(ConnectionError("the server sent a reply without a request"))
                return
            request = in_flight.popleft()
            self._in_flight_bytes -= request.size
            self._latency = self._last_reply_at - request.sent_at
            if type(reply) is ResponseError and code_of(reply) == EXPIRED:
                # The estimate of the server's clock is too low, because one of the clocks was set or runs faster.
                _, milliseconds = str(reply).split()
                self._session = self._session._replace(clock=int(milliseconds) / 1000 - request.sent_at)
            if not request.future.done():
                request.future.set_result(reply)
        if self._send_queue and not self._flush_scheduled:
            self._flush()
        if self._drained is not None and not in_flight and not self._drained.done():
            self._drained.set_result(None)

    def _on_disconnect(self, error: BaseException) -> None:
        """Fail the commands in flight. Unsent commands use the next connection."""
        self.disconnects += 1
        if not self._session.client:
            unfenced = UnfencedError()
            unfenced.__cause__ = error
            error = unfenced
        in_flight, self._in_flight, self._in_flight_bytes = self._in_flight, deque(), 0
        for request in in_flight:
            _fail(request, error, sent=True)
        if self._drained is not None and not self._drained.done():
            self._drained.set_result(None)
        self._flush()

    def _set_deadline_timer(self, loop: asyncio.AbstractEventLoop, deadline: float) -> None:
        if self._deadline_timer is not None:
            self._deadline_timer.cancel()
        self._deadline_timer = loop.call_at(deadline, self._on_deadline)

    def _on_deadline(self) -> None:
        """Fail the requests that missed their deadlines. Close a connection that has been silent for too long."""
        self._deadline_timer = None
        loop = asyncio.get_running_loop()
        now = loop.time()
        deadlines: list[float] = []
        for requests, sent in ((self._in_flight, True), (self._send_queue, False)):
            for request in requests:
                if not request.future.done():
                    if request.deadline <= now:
                        _fail(request, TimeoutError(), sent=sent)
                    else:
                        deadlines.append(request.deadline)
        if self._in_flight and now - self._last_reply_at >= self._timeout:
            self._supervisor.disconnect(ConnectionError(f"the server sent nothing for {self._timeout:g} s"))
        elif self._in_flight:
            deadlines.append(self._last_reply_at + self._timeout)
        if deadlines:
            self._set_deadline_timer(loop, max(min(deadlines), now + _MIN_TIMER_INTERVAL))


def _fail(request: InFlightRequest, reason: BaseException, *, sent: bool) -> None:
    if not request.future.done():
        request.future.set_exception(NoReplyError(reason, sent=sent))


_ALL: weakref.WeakSet[MultiplexedConnection] = weakref.WeakSet()


def _after_fork() -> None:
    for multiplexer in _ALL:
        # The parent process reads from the same socket. A store that it never used has no socket.
        multiplexer.forked = multiplexer.is_bound


os.register_at_fork(after_in_child=_after_fork)
