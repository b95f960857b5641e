"""A connection over which messages of a server's channels come in."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from typing import NamedTuple, Protocol, cast

from redis.exceptions import ResponseError

from wnc_store import StoreClosedError
from wnc_store_redis.transport.connection import PipelinedConnection, Pool, Reply, open_connection
from wnc_store_redis.transport.errors import code_of
from wnc_store_redis.transport.node import pack_command
from wnc_store_redis.transport.tasks import cancel_all

_MIN_HEARTBEAT = 1.0
"""Seconds between signs of life, at least: an event loop that is busy for a while must not look like a dead server."""

_PING = pack_command((b"PING",))

OnLost = Callable[[Sequence[bytes]], None]
"""Is told which channels are subscribed to no longer, although nobody asked for that."""


class SubscriptionLostError(ConnectionError):
    """Raised when the connection is lost before a subscription stands."""


class MessageHandler(Protocol):
    """Who is told what comes in."""

    def on_message(self, channel: bytes, data: bytes) -> None:
        """Take a message."""
        ...

    def on_pong(self) -> None:
        """Take note that all has come that the server sent before it got a certain PING."""
        ...


class PubSub(Protocol):
    """Subscriptions to channels, on one connection or several."""

    async def subscribe(self, channels: Sequence[bytes]) -> None:
        """Return when the servers will send what is published in channels from now on.

        Raises:
            SubscriptionLostError: the connection was lost meanwhile; another attempt opens another.
            StoreClosedError: `aclose()` was called.
            Exception: a server can't be reached, or refuses something since the subscription before.
        """
        ...

    def unsubscribe(self, channels: Sequence[bytes]) -> None:
        """Have the servers send no more of channels."""
        ...

    def ping(self) -> None:
        """Have `MessageHandler.on_pong` called when all has come that the servers have sent by now."""
        ...

    async def aclose(self) -> None:
        """Close the connections."""
        ...


class _Barrier(NamedTuple):
    """Who waits for the answer to the PING behind a subscription, to what that is, and what of it is new."""

    confirmed: asyncio.Future[None]
    channels: Sequence[bytes]
    new: set[bytes]


class PubSubConnection:
    """Subscriptions on one connection, which is opened with the first, and again when it is lost and one is wanted.

    A connection that says nothing is asked for a sign of life, so that one that is dead does not look like silence.

    Args:
        pool: gives the connection.
        timeout: how many seconds a connection, or a sign of life, may take.
        ear: is told what comes in.
        on_lost: is told what is subscribed to no longer, because the connection was lost or a slot has moved.
        is_sharded: whether the channels are those of a cluster's slots, each subscribed to by itself.

    Attributes:
        channels: those that are subscribed to, or about to be.
    """

    def __init__(
        self, pool: Pool, timeout: float, handler: MessageHandler, on_lost: OnLost, *, is_sharded: bool = False
    ) -> None:
        self._pool = pool
        self._timeout = timeout
        self._heartbeat_interval = max(timeout, _MIN_HEARTBEAT)
        self._handler = handler
        self._on_lost = on_lost
        self._is_sharded = is_sharded
        kind = b"S" if is_sharded else b""
        self._subscribe, self._unsubscribe = kind + b"SUBSCRIBE", kind + b"UNSUBSCRIBE"
        self._message = kind.lower() + b"message"
        self.channels: set[bytes] = set()
        self._connection: PipelinedConnection | None = None
        self._opening: asyncio.Future[None] | None = None
        self._barriers: deque[_Barrier | bytes | None] = deque()
        self._refusal: ResponseError | None = None
        self._heartbeat_timer: asyncio.TimerHandle | None = None
        self._is_silent = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._closed = False

    async def subscribe(self, channels: Sequence[bytes]) -> None:
        """See `PubSub.subscribe`."""
        await self._open()
        await self._confirm(channels)

    def unsubscribe(self, channels: Sequence[bytes]) -> None:
        """See `PubSub.unsubscribe`."""
        self.channels.difference_update(channels)
        if self._connection is not None:
            self._connection.write([pack_command((self._unsubscribe, *channels))])
            if self._is_sharded:
                self._send_ping(channels[0])

    def ping(self) -> None:
        """See `PubSub.ping`."""
        if not self._barriers:  # a pong that is on its way comes behind what came before it
            self._send_ping(None)

    def drop(self) -> None:
        """Give the connection up: another server is master now, or nothing is left to hear over it."""
        if self._connection is not None:
            self._on_disconnect(ConnectionError("it is not the right server any more"))

    async def aclose(self) -> None:
        """See `PubSub.aclose`."""
        self._closed = True
        connection, opening = self._detach_connection(StoreClosedError()), self._opening
        for task in self._tasks:
            task.cancel()
        if connection is not None:
            await connection.aclose()
        await cancel_all(self._tasks)
        if opening is not None and not opening.done():  # by a task that was cancelled before its first step
            opening.set_exception(StoreClosedError())
            opening.exception()  # nobody may wait for it any more

    async def _open(self) -> None:
        """Return when there is a connection; whoever waits for one waits for the same."""
        if self._closed:
            raise StoreClosedError
        if self._connection is None:
            if self._opening is None:
                self._opening = asyncio.get_running_loop().create_future()
                self._spawn(self._connect(self._opening))
            await asyncio.shield(self._opening)

    async def _connect(self, opening: asyncio.Future[None]) -> None:
        hung = asyncio.timeout(self._timeout)
        try:
            async with hung:
                connection = await open_connection(self._pool, self._on_replies, self._on_disconnect, pushes=True)
            if self._closed:  # meanwhile; the driver may swallow a cancellation
                await connection.aclose()
                raise StoreClosedError  # noqa: TRY301 - it is told as every other end of the attempt
        except Exception as error:  # noqa: BLE001 - a dead connection is not always a RedisError or OSError
            # Whoever came after the attempt had begun has time left for another.
            opening.set_exception(SubscriptionLostError() if hung.expired() else error)
            opening.exception()  # nobody may wait for it any more
            return
        except asyncio.CancelledError:
            opening.set_exception(StoreClosedError())
            raise
        finally:
            self._opening = None
        self._connection = connection
        opening.set_result(None)
        self._is_silent = False
        self._heartbeat_timer = asyncio.get_running_loop().call_later(self._heartbeat_interval, self._heartbeat)

    async def _confirm(self, channels: Sequence[bytes]) -> None:
        if self._connection is None:
            raise SubscriptionLostError
        new = set(channels) - self.channels
        self.channels |= new
        confirmed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._connection.write([pack_command((self._subscribe, *channels))])
        self._send_ping(_Barrier(confirmed, channels, new))
        await confirmed

    def _send_ping(self, barrier: _Barrier | bytes | None) -> None:
        """Ask for a sign of life, by which a subscription stands, or a sharded channel has been left."""
        if self._connection is not None:
            self._barriers.append(barrier)
            self._connection.write([_PING])

    def _on_replies(self, replies: Sequence[Reply]) -> None:
        if self._connection is None:  # that one was given up
            return
        self._is_silent = False
        for reply in replies:
            if isinstance(reply, ResponseError):
                self._refusal = reply
                continue
            what, *message = cast("list[bytes]", reply) if isinstance(reply, list) else (b"pong",)
            if what == b"pong":
                self._pass_barrier()
            elif what == self._message:
                self._handler.on_message(*message)
            elif what == b"sunsubscribe":
                self._unsubscribed(message[0])

    def _pass_barrier(self) -> None:
        self._handler.on_pong()
        barrier = self._barriers.popleft()
        if barrier is None:
            return
        refusal, self._refusal = self._refusal, None
        if isinstance(barrier, bytes):
            if refusal is not None and code_of(refusal) == "NOPERM":  # else the slot has moved, and nothing is left
                self._refusal = refusal
        elif not barrier.confirmed.done():  # else it was cancelled
            if refusal is None:
                self.channels.update(barrier.channels)  # an attempt before this one may have been refused
                barrier.confirmed.set_result(None)
            else:
                self.channels -= barrier.new
                barrier.confirmed.set_exception(refusal)

    def _unsubscribed(self, channel: bytes) -> None:
        """Tell a channel that the server gave up by itself, because its slot has moved, from one that was left."""
        if channel in self.channels and channel not in self._barriers:
            self.channels.discard(channel)
            self._on_lost((channel,))

    def _on_disconnect(self, error: BaseException) -> None:
        connection = self._detach_connection(SubscriptionLostError(*error.args))
        if connection is not None:
            self._spawn(connection.aclose())
        channels = tuple(self.channels)
        self.channels.clear()
        if channels and not self._closed:
            self._on_lost(channels)

    def _detach_connection(self, error: Exception) -> PipelinedConnection | None:
        connection, self._connection = self._connection, None
        self._refusal = None
        if self._heartbeat_timer is not None:
            self._heartbeat_timer.cancel()
        barriers, self._barriers = self._barriers, deque()
        for barrier in barriers:
            if isinstance(barrier, _Barrier) and not barrier.confirmed.done():
                barrier.confirmed.set_exception(error)
        return connection

    def _heartbeat(self) -> None:
        if self._is_silent:
            self._on_disconnect(ConnectionError("the server said nothing for too long"))
            return
        self._is_silent = True
        self._send_ping(None)
        self._heartbeat_timer = asyncio.get_running_loop().call_later(self._heartbeat_interval, self._heartbeat)

    def _spawn(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task
