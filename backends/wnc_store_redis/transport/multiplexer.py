"""Many callers on one connection: commands that are issued in one tick of the event loop share a write."""

from __future__ import annotations

import asyncio
import os
import weakref
from collections import deque
from collections.abc import Coroutine, Sequence

from wnc_store import StoreClosedError, StoreError
from wnc_store_redis.transport.connection import PipelinedConnection, Pool, Reply, open_connection
from wnc_store_redis.transport.statistics import Statistics
from wnc_store_redis.transport.tasks import cancel_all

MAX_IN_FLIGHT = 1024
"""Commands that may be under way; more of them wait in this process, where a time-out is no unknown outcome."""

MAX_IN_FLIGHT_BYTES = 4 * 1024 * 1024
"""Likewise, bytes of commands; a larger command goes alone."""

_LATENCY_MARGIN = 1.25
"""How many times as long as the last reply took a command must have left: with less, most are late all the same."""

_MIN_TIMER_INTERVAL = 0.01
"""Seconds between two looks at who is out of time: with many who wait, each look takes a while."""


class NoReplyError(Exception):
    """Raised when no reply to a command will come.

    Attributes:
        reason: what the connection or the attempt to open one failed with; a TimeoutError when time was over.
        sent: whether the server may have got the command; else there is no connection to be had.
    """

    def __init__(self, reason: BaseException, *, sent: bool) -> None:
        super().__init__()
        self.reason = reason
        self.sent = sent


class ConnectHungError(ConnectionError):
    """Raised for a command that came while an attempt to connect hung, and has time left for another."""


class InFlightRequest:
    """A command, and the future of its reply."""

    __slots__ = ("deadline", "future", "packed", "sent_at", "size")

    def __init__(self, packed: bytes, future: asyncio.Future[Reply], deadline: float) -> None:
        self.packed = packed
        self.size = len(packed)
        self.future = future
        self.deadline = deadline
        self.sent_at = 0.0


class MultiplexedConnection:
    """One connection, opened when it is first needed and again after it was lost.

    A caller who is cancelled or out of time leaves a place in the row behind, whose reply is dropped when it comes: so
    everybody gets the reply to the own command.

    Args:
        pool: gives the connections.
        timeout: how many seconds a connection may be silent, with commands under way, before it is given up.
        counts: of the store.

    Attributes:
        losses: how many connections were lost so far.
    """

    def __init__(self, pool: Pool, timeout: float, counts: Statistics) -> None:
        self._pool = pool
        self._timeout = timeout
        self._statistics = counts
        self._loop: asyncio.AbstractEventLoop | None = None
        self._connection: PipelinedConnection | None = None
        self._send_queue: deque[InFlightRequest] = deque()
        self._in_flight: deque[InFlightRequest] = deque()
        self._in_flight_bytes = 0
        self._last_reply_at = 0.0
        self._latency = 0.0
        """Seconds between the last reply and its command."""
        self._flush_scheduled = False
        self._deadline_timer: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._connecting: asyncio.Task[None] | None = None
        self._closed = False
        self._drained: asyncio.Future[None] | None = None
        self.forked = False
        self.disconnects = 0
        _ALL.add(self)

    def submit(self, packed: bytes, deadline: float) -> asyncio.Future[Reply]:
        """Send a command at the end of this tick.

        Args:
            packed: the command.
            deadline: when to give up, by the event loop's clock.

        Returns:
            A future of the reply, an error of the server's included. It may be cancelled. It raises `NoReplyError` when
            no reply came, and `StoreClosedError` when the store was closed before the command was sent.

        Raises:
            StoreError: the store belongs to another event loop, or was opened before a fork.
        """
        loop = asyncio.get_running_loop()
        if loop is not self._loop or self.forked:
            self._bind(loop)
        future: asyncio.Future[Reply] = loop.create_future()
        if self._closed:
            future.set_exception(StoreClosedError())
            return future
        self._send_queue.append(InFlightRequest(packed, future, deadline))
        if not self._flush_scheduled:
            self._flush_scheduled = True
            loop.call_soon(self._flush)
        if self._deadline_timer is None or deadline < self._deadline_timer.when():
            self._set_deadline_timer(loop, deadline)
        return future

    def check_loop(self) -> None:
        """Return if the running event loop is the store's, or may be from now on.

        Raises:
            StoreError: the store belongs to another event loop, or was opened before a fork.
        """
        loop = asyncio.get_running_loop()
        if loop is not self._loop or self.forked:
            self._bind(loop)

    def drop(self) -> None:
        """Give the connection up; the next command opens another."""
        if self._connection is not None:
            self._on_disconnect(ConnectionError("the connection was given up"))

    async def aclose(self) -> None:
        """Refuse what was not sent, wait for what was, and close the connection."""
        self._closed = True
        for request in self._send_queue:
            if not request.future.done():
                request.future.set_exception(StoreClosedError())
        self._send_queue.clear()
        if self.forked:
            return
        if self._connecting is not None:
            await cancel_all([self._connecting])
        if self._loop is not None and any(not request.future.done() for request in self._in_flight):
            self._drained = self._drained or self._loop.create_future()
            await asyncio.shield(self._drained)  # who closes twice waits twice
        if self._deadline_timer is not None:
            self._deadline_timer.cancel()
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.aclose()
        while self._tasks:
            await asyncio.wait(self._tasks)

    def _bind(self, loop: asyncio.AbstractEventLoop) -> None:
        if self.forked:
            message = "this store was opened before this process was forked off: open one store in each process"
            raise StoreError(message)
        if self._loop is not None:
            message = "this store was used on another event loop: open one store for each"
            raise StoreError(message)
        self._loop = loop

    def _flush(self) -> None:
        """Send what waits, as much as may be under way."""
        self._flush_scheduled = False
        if self._connection is None:
            if self._send_queue and self._connecting is None:
                self._connecting = self._spawn(self._connect())
            return
        batch: list[bytes] = []
        send_queue, in_flight = self._send_queue, self._in_flight
        now = asyncio.get_running_loop().time()
        while send_queue and len(in_flight) < MAX_IN_FLIGHT:
            if self._in_flight_bytes + send_queue[0].size > MAX_IN_FLIGHT_BYTES and in_flight:
                break
            request = send_queue.popleft()
            if request.future.done():
                continue
            if in_flight and request.deadline - now < _LATENCY_MARGIN * self._latency:
                # Where more comes than the server can do, the head of the row would get its reply just too late, and so
                # would everybody behind it: the server would work, and nobody have anything of it.
                _fail(request, TimeoutError(), sent=False)
            else:
                request.sent_at = now
                in_flight.append(request)
                self._in_flight_bytes += request.size
                batch.append(request.packed)
        if batch:
            if len(batch) == len(in_flight):
                self._last_reply_at = now  # from now on it has something to say
            self._statistics.batches += 1
            self._statistics.commands += len(batch)
            self._connection.write(batch)

    async def _connect(self) -> None:
        hung = asyncio.timeout(self._timeout)
        try:
            async with hung:
                connection = await open_connection(self._pool, self._on_replies, self._on_disconnect)
        except Exception as error:  # noqa: BLE001 - a dead connection is not always a RedisError or OSError
            self._fail_queued(error, has_hung=hung.expired())
            return
        finally:
            self._connecting = None
        if self._closed:  # meanwhile; the driver may swallow a cancellation
            await connection.aclose()
            return
        self._connection = connection
        self._flush()

    def _fail_queued(self, error: Exception, *, has_hung: bool) -> None:
        """Fail whoever waited for a connection; where it hung, who came later has time left for another attempt."""
        waiting, self._send_queue = self._send_queue, deque()
        now = asyncio.get_running_loop().time()
        for request in waiting:
            has_time = has_hung and request.deadline > now
            _fail(request, ConnectHungError() if has_time else error, sent=False)

    def _on_replies(self, replies: Sequence[Reply]) -> None:
        in_flight = self._in_flight
        self._last_reply_at = asyncio.get_running_loop().time()
        for reply in replies:
            if not in_flight:  # who may have been given another's reply by then can't be told
                self._on_disconnect(ConnectionError("the server sent a reply that nobody asked for"))
                return
            request = in_flight.popleft()
            self._in_flight_bytes -= request.size
            self._latency = self._last_reply_at - request.sent_at
            if not request.future.done():
                request.future.set_result(reply)
        if self._send_queue and not self._flush_scheduled:
            self._flush()
        if self._drained is not None and not in_flight and not self._drained.done():
            self._drained.set_result(None)

    def _on_disconnect(self, error: BaseException) -> None:
        """Fail what is under way; what was not sent goes over the next connection."""
        self.disconnects += 1
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.detach()  # at once: a reply that still comes is nobody's by now
            self._spawn(connection.aclose())
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
        """Fail whoever is out of time, and give up a connection that has been silent for as long as that."""
        self._deadline_timer = None
        loop = asyncio.get_running_loop()
        now = loop.time()
        ends: list[float] = []
        for requests, sent in ((self._in_flight, True), (self._send_queue, False)):
            for request in requests:
                if not request.future.done():
                    if request.deadline <= now:
                        _fail(request, TimeoutError(), sent=sent)
                    else:
                        ends.append(request.deadline)
        if self._in_flight and now - self._last_reply_at >= self._timeout:
            self._on_disconnect(ConnectionError("the server said nothing for too long"))
        elif self._in_flight:
            ends.append(self._last_reply_at + self._timeout)
        if ends:
            self._set_deadline_timer(loop, max(min(ends), now + _MIN_TIMER_INTERVAL))

    def _spawn(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


def _fail(request: InFlightRequest, reason: BaseException, *, sent: bool) -> None:
    if not request.future.done():
        request.future.set_exception(NoReplyError(reason, sent=sent))


_ALL: weakref.WeakSet[MultiplexedConnection] = weakref.WeakSet()


def _after_fork() -> None:
    for multiplexer in _ALL:
        multiplexer.forked = True  # the connection is the parent's: two who read from it would mix up the replies


os.register_at_fork(after_in_child=_after_fork)
