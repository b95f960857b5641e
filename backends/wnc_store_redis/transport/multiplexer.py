"""A connection that many callers share. Commands of one tick of the event loop share a write."""

from __future__ import annotations

import asyncio
import math
import re
from collections import deque
from collections.abc import Sequence
from functools import partial

from redis.asyncio.connection import AbstractConnection
from redis.exceptions import ResponseError

from wnc_store import StoreClosedError
from wnc_store_redis.transport.connection import Pool, Reply, open_connection
from wnc_store_redis.transport.errors import EXPIRED, UnfencedError
from wnc_store_redis.transport.packing import EXPIRY_FORMAT, pack_command
from wnc_store_redis.transport.receiver import IGNORED, Receiver
from wnc_store_redis.transport.replies import UnexpectedReplyError
from wnc_store_redis.transport.retry import ConnectHungError, NoReplyError
from wnc_store_redis.transport.session import Session, seconds, start_session
from wnc_store_redis.transport.statistics import Statistics
from wnc_store_redis.transport.supervisor import ConnectionSupervisor

MAX_IN_FLIGHT = 1024
"""Limit on commands in flight. The rest wait in this process, where a time-out is not an unknown outcome."""

MAX_IN_FLIGHT_BYTES = 4 * 1024 * 1024
"""Limit on the bytes of commands in flight. A larger command is sent alone."""

_CLOCK_INTERVAL = 60.0
"""Seconds between two queries of the server's time on a connection that writes."""

_EXPIRED_AT = re.compile(rf"{EXPIRED} (\d{{1,12}}|[1-8]\d{{12}})")
"""The error of a late write, with a time for which the expiry of a command keeps its 13 digits."""

_TIME = pack_command((b"TIME",))
_ASKING = pack_command((b"ASKING",))

_LATENCY_MARGIN = 1.25
"""A command is sent only if its remaining time is at least this many times the latency of the last reply."""

_MIN_TIMER_INTERVAL = 0.01
"""Minimum seconds between two scans for missed deadlines: with many waiting commands a scan is slow."""


_Unsent = tuple[Receiver, bytes, float, bool]
"""A waiting command: receiver, encoded command, deadline, and whether it writes; see `submit`."""

_InFlight = tuple[Receiver, int, float, float]
"""A command that was sent: receiver, size in bytes, deadline, and when it was sent."""


class MultiplexedConnection:
    """A connection that is opened when it is first needed, and again after it was lost.

    A command whose receiver is done, cancelled or late stays in the in-flight queue, and its reply is discarded. So
    replies stay aligned with commands.

    Args:
        pool: the source of connections.
        timeout: how many seconds an attempt to connect may take, or the server may be silent with commands in flight.
        statistics: the counters of the store.

    Attributes:
        disconnects: how many connections were lost so far.
    """

    def __init__(self, pool: Pool, timeout: float, statistics: Statistics) -> None:
        self._timeout = timeout
        self._statistics = statistics
        connect = partial(open_connection, pool, self._on_replies, prepare=self._start_session)
        self._supervisor = ConnectionSupervisor(connect, timeout, self._on_connect, self._on_disconnect)
        self._session = Session()
        self._clock_due = 0.0
        self._send_queue: deque[_Unsent] = deque()
        self._in_flight: deque[_InFlight] = deque()
        self._in_flight_bytes = 0
        self._last_reply_at = 0.0
        self._latency = 0.0
        """Seconds between the last reply and the send time of its command."""
        self._flush_scheduled = False
        self._deadline_timer: asyncio.TimerHandle | None = None
        self._timer_due = math.inf
        self._closed = False
        self._drained: asyncio.Future[None] | None = None
        self.disconnects = 0

    def submit(
        self, receiver: Receiver, packed: bytes, deadline: float, *, writes: bool = False, asking: bool = False
    ) -> None:
        """Send a command at the end of this tick.

        A receiver that is done before that withdraws the command.

        Args:
            receiver: the receiver of the reply.
            packed: the command, encoded; if it writes, without its end, see `packing`.
            deadline: when to give up, in the event loop's time.
            writes: whether the command may change data. Then the server gets the deadline, too.
            asking: whether the command follows an ASK redirection.
        """
        if self._closed:
            receiver.set_exception(StoreClosedError())
            return
        if asking:  # ASKING applies to the next command, and nothing is queued in between
            self.submit(IGNORED, _ASKING, deadline)
        self._send_queue.append((receiver, packed, deadline, writes))
        if not self._flush_scheduled:
            self._flush_scheduled = True
            asyncio.get_running_loop().call_soon(self._flush)
        if deadline < self._timer_due:
            self._set_deadline_timer(deadline)

    def drop(self) -> None:
        """Close the connection. The next command opens another."""
        self._supervisor.disconnect(ConnectionError("the connection was dropped"))

    async def aclose(self) -> None:
        """Fail unsent commands, wait for sent ones, and close the connection."""
        self._closed = True
        unsent, self._send_queue = self._send_queue, deque()
        for receiver, *_ in unsent:
            if not receiver.done():
                receiver.set_exception(StoreClosedError())
        if any(not receiver.done() for receiver, *_ in self._in_flight):
            self._drained = self._drained or asyncio.get_running_loop().create_future()
            await asyncio.shield(self._drained)  # a second call of aclose() waits, too
        if self._deadline_timer is not None:
            self._deadline_timer.cancel()
        await self._supervisor.aclose()

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
        earlier = sent = len(in_flight)
        now = asyncio.get_running_loop().time()
        while send_queue and sent < MAX_IN_FLIGHT:
            receiver, packed, deadline, writes = send_queue[0]
            size = len(packed)
            if self._in_flight_bytes + size > MAX_IN_FLIGHT_BYTES and in_flight:
                break
            send_queue.popleft()
            if receiver.done():
                continue
            if in_flight and deadline - now < _LATENCY_MARGIN * self._latency:
                # Under overload, this command would get its reply just after its deadline, and so would every command
                # behind it: the server would work, and no caller would get a reply in time.
                receiver.set_exception(NoReplyError(TimeoutError(), sent=False))
                continue
            in_flight.append((receiver, size, deadline, now))
            self._in_flight_bytes += size
            sent += 1
            batch.append(packed)
            if writes:
                batch.append(EXPIRY_FORMAT % ((deadline + self._session.clock) * 1000 + 1))
        if batch:
            if not earlier:
                self._last_reply_at = now  # the server owes replies from now on
            self._statistics.batches += 1
            self._statistics.commands += sent - earlier
            connection.write(batch)
            if len(batch) > sent - earlier and now >= self._clock_due:  # the next writes use the new estimate
                self._clock_due = now + _CLOCK_INTERVAL
                reply: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
                reply.add_done_callback(partial(self._on_time, now))
                self.submit(reply, _TIME, now + self._timeout)

    def _on_time(self, sent_at: float, future: asyncio.Future[Reply]) -> None:
        if not future.cancelled() and future.exception() is None and not isinstance(future.result(), ResponseError):
            try:
                self._session = self._session._replace(clock=seconds(future.result()) - sent_at)
            except UnexpectedReplyError:  # not a reply to TIME, so the others may not match, either
                self.drop()

    def _on_connect(self, error: Exception | None) -> None:
        """Send the waiting commands, or fail them. After a hung attempt, those with time left may wait for another."""
        if error is None:
            self._flush()
            return
        waiting, self._send_queue = self._send_queue, deque()
        now = asyncio.get_running_loop().time()
        for receiver, _, deadline, _ in waiting:
            is_late = isinstance(error, ConnectHungError) and deadline <= now
            _fail(receiver, TimeoutError() if is_late else error, sent=False)

    def _on_replies(self, replies: Sequence[Reply]) -> None:
        in_flight = self._in_flight
        self._last_reply_at = asyncio.get_running_loop().time()
        for reply in replies:
            if not in_flight:  # earlier replies may have gone to the wrong requests
                self._supervisor.disconnect(ConnectionError("the server sent a reply without a request"))
                return
            receiver, size, _, sent_at = in_flight.popleft()
            self._in_flight_bytes -= size
            self._latency = self._last_reply_at - sent_at
            if type(reply) is ResponseError and (expired := _EXPIRED_AT.fullmatch(str(reply))):
                # The estimate of the server's clock is too low, because one of the clocks was set or runs faster.
                self._session = self._session._replace(clock=int(expired[1]) / 1000 - sent_at)
            try:  # noqa: SIM105 - `suppress` would take longer than the rest of this loop
                receiver.set_result(reply)
            except asyncio.InvalidStateError:
                pass  # nobody waits for the reply any more
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
        for receiver, *_ in in_flight:
            _fail(receiver, error, sent=True)
        if self._drained is not None and not self._drained.done():
            self._drained.set_result(None)
        self._flush()

    def _set_deadline_timer(self, deadline: float) -> None:
        if self._deadline_timer is not None:
            self._deadline_timer.cancel()
        self._deadline_timer = asyncio.get_running_loop().call_at(deadline, self._on_deadline)
        self._timer_due = deadline

    def _on_deadline(self) -> None:
        """Fail the commands that missed their deadlines. Close a connection that has been silent for too long."""
        self._deadline_timer, self._timer_due = None, math.inf
        now = asyncio.get_running_loop().time()
        deadlines: list[float] = []
        for commands, sent in ((self._in_flight, True), (self._send_queue, False)):
            for receiver, _, deadline, _ in [*commands]:  # a copy, because a receiver may submit another command
                if not receiver.done():
                    if deadline <= now:
                        _fail(receiver, TimeoutError(), sent=sent)
                    else:
                        deadlines.append(deadline)
        if self._in_flight and now - self._last_reply_at >= self._timeout:
            self._supervisor.disconnect(ConnectionError(f"the server sent nothing for {self._timeout:g} s"))
        elif self._in_flight:
            deadlines.append(self._last_reply_at + self._timeout)
        if deadlines:
            self._set_deadline_timer(max(min(deadlines), now + _MIN_TIMER_INTERVAL))


def _fail(receiver: Receiver, reason: BaseException, *, sent: bool) -> None:
    if not receiver.done():
        receiver.set_exception(NoReplyError(reason, sent=sent))
