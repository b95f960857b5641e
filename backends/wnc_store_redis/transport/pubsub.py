"""Pub/sub over one connection."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple, Protocol, cast

from redis.exceptions import ResponseError

from wnc_store import StoreClosedError
from wnc_store_redis.transport.connection import Pool, Reply, open_connection
from wnc_store_redis.transport.errors import code_of
from wnc_store_redis.transport.packing import pack_command
from wnc_store_redis.transport.replies import UnexpectedReplyError, is_bytes, is_count, is_tuple
from wnc_store_redis.transport.retry import ConnectHungError
from wnc_store_redis.transport.supervisor import ConnectionSupervisor

_MIN_HEARTBEAT = 1.0
"""Minimum seconds between heartbeats: a busy event loop must not look like a dead server."""

_MESSAGES = {b"message", b"smessage"}

_PONGS = {b"pong", b"PONG"}

_PING = pack_command((b"PING",))

_KEYSPACE = b"__keyspace@"
"""Start of the channels of keyspace notifications, which are never sharded."""

_MESSAGE_SHAPES = {
    b"message": is_tuple(is_bytes, is_bytes, is_bytes),
    b"smessage": is_tuple(is_bytes, is_bytes, is_bytes),
    b"sunsubscribe": is_tuple(is_bytes, is_bytes, is_count),
}
"""Kind of a message -> its shape. Messages of other kinds are ignored."""

OnLost = Callable[[Sequence[bytes]], None]
"""Called with channels whose subscription ended without a call of `unsubscribe`."""


class SubscriptionLostError(ConnectionError):
    """Raised when the connection is lost before a subscription is confirmed."""


class MessageHandler(Protocol):
    """Receives the messages of subscribed channels."""

    def on_message(self, source: PubSubConnection, channel: bytes, data: bytes) -> None:
        """Handle a message that arrived over a connection."""
        ...

    def on_pong(self, source: PubSubConnection) -> None:
        """Handle a pong: all messages that the server sent over the connection before it received the PING are here."""
        ...


class _Barrier(NamedTuple):
    """A subscription that is confirmed by the pong of a PING behind the SUBSCRIBE. `new` are channels to add."""

    confirmed: asyncio.Future[None]
    channels: Sequence[bytes]
    new: set[bytes]


class PubSubConnection:
    """Subscriptions on one connection, which is opened by the first call of `subscribe` after a start or a loss.

    A heartbeat detects a dead connection, which would otherwise look like one without messages.

    Args:
        pool: the source of the connection.
        timeout: how many seconds an attempt to connect, or a heartbeat, may take.
        handler: receives the messages.
        on_lost: called with the channels that are no longer subscribed, because the connection was lost or a slot has
            migrated.
        is_sharded: whether the channels, except those of keyspace notifications, are sharded channels of a cluster.
            Then each call names one channel.

    Attributes:
        channels: the channels that are subscribed, or will be when the server has confirmed them.
    """

    def __init__(
        self, pool: Pool, timeout: float, handler: MessageHandler, on_lost: OnLost, *, is_sharded: bool = False
    ) -> None:
        connect = partial(open_connection, pool, self._on_replies, pushes=True)
        self._supervisor = ConnectionSupervisor(connect, timeout, self._on_connect, self._on_disconnect)
        self._heartbeat_interval = max(timeout, _MIN_HEARTBEAT)
        self._handler = handler
        self._on_lost = on_lost
        self._is_sharded = is_sharded
        self.channels: set[bytes] = set()
        self._barriers: deque[_Barrier | bytes | None] = deque()
        self._error: ResponseError | None = None
        self._heartbeat_timer: asyncio.TimerHandle | None = None
        self._is_silent = False

    async def subscribe(self, channels: Sequence[bytes]) -> None:
        """Subscribe to channels. Return when the server has confirmed the subscription.

        Raises:
            SubscriptionLostError: the connection was lost during the call; another attempt opens a new one.
            StoreClosedError: `aclose()` was called.
            Exception: the server cannot be reached, or it rejected a command since the previous subscription.
        """
        try:
            await self._supervisor.wait_connected()
        except ConnectHungError as error:  # a caller that joined the attempt late has time left for another one
            raise SubscriptionLostError from error
        connection = self._supervisor.connection
        if connection is None:
            raise SubscriptionLostError
        new = set(channels) - self.channels
        self.channels |= new
        confirmed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        connection.write([pack_command((self._prefix(channels) + b"SUBSCRIBE", *channels))])
        self._send_ping(_Barrier(confirmed, channels, new))
        await confirmed

    def unsubscribe(self, channels: Sequence[bytes]) -> None:
        """Unsubscribe from channels."""
        self.channels.difference_update(channels)
        if self._supervisor.connection is not None:
            prefix = self._prefix(channels)
            self._supervisor.connection.write([pack_command((prefix + b"UNSUBSCRIBE", *channels))])
            if prefix:
                self._send_ping(channels[0])

    def ping(self) -> None:
        """Send a PING, so that `MessageHandler.on_pong` is called after all messages that are now in transit."""
        if not self._barriers:  # else the pong of an earlier PING follows
            self._send_ping(None)

    def drop(self) -> None:
        """Close the connection, because another server is master or no channel is left."""
        self._supervisor.disconnect(ConnectionError("the subscription connection was dropped"))

    async def aclose(self) -> None:
        """Close the connection."""
        self._fail_barriers(StoreClosedError())
        await self._supervisor.aclose()

    def _prefix(self, channels: Sequence[bytes]) -> bytes:
        """Return the prefix of the commands for channels."""
        return b"S" if self._is_sharded and not channels[0].startswith(_KEYSPACE) else b""

    def _send_ping(self, barrier: _Barrier | bytes | None) -> None:
        """Send a PING. Its pong passes the barrier: a subscription, a sharded channel to leave, or None."""
        if self._supervisor.connection is not None:
            self._barriers.append(barrier)
            self._supervisor.connection.write([_PING])

    def _on_connect(self, error: Exception | None) -> None:
        if error is None:
            self._is_silent = False
            self._heartbeat_timer = asyncio.get_running_loop().call_later(self._heartbeat_interval, self._heartbeat)

    def _on_replies(self, replies: Sequence[Reply]) -> None:
        self._is_silent = False
        for reply in replies:
            if isinstance(reply, ResponseError):
                self._error = reply
                continue
            if not _is_expected(reply):
                self._supervisor.disconnect(UnexpectedReplyError())
                return
            kind, *message = cast("list[bytes]", reply) if isinstance(reply, list) else (cast("bytes", reply),)
            if kind in _PONGS:
                if not self._barriers:  # earlier replies may have passed the wrong barriers
                    self._supervisor.disconnect(UnexpectedReplyError())
                    return
                self._pass_barrier()
            elif kind in _MESSAGES:
                if message[0] in self.channels:  # else the server sent the message before it ended the subscription
                    self._handler.on_message(self, *message)
            elif kind == b"sunsubscribe":
                self._unsubscribed(message[0])

    def _pass_barrier(self) -> None:
        self._handler.on_pong(self)
        barrier = self._barriers.popleft()
        if barrier is None:
            return
        error, self._error = self._error, None
        if isinstance(barrier, bytes):
            # Other errors mean that the slot has migrated, which has ended the subscription.
            if error is not None and code_of(error) == "NOPERM":
                self._error = error
        elif not barrier.confirmed.done():  # else it was cancelled
            if error is None:
                self.channels.update(barrier.channels)  # the error of an earlier attempt may have removed channels
                barrier.confirmed.set_result(None)
            else:
                self.channels -= barrier.new
                barrier.confirmed.set_exception(error)

    def _unsubscribed(self, channel: bytes) -> None:
        """Report a channel as lost if the server ended its subscription, because its slot has migrated."""
        if channel in self.channels and channel not in self._barriers:
            self.channels.discard(channel)
            self._on_lost((channel,))

    def _on_disconnect(self, error: BaseException) -> None:
        self._fail_barriers(SubscriptionLostError(*error.args))
        channels = tuple(self.channels)
        self.channels.clear()
        if channels:
            self._on_lost(channels)

    def _fail_barriers(self, error: Exception) -> None:
        """Fail the unconfirmed subscriptions of a connection, and stop its heartbeat."""
        self._error = None
        if self._heartbeat_timer is not None:
            self._heartbeat_timer.cancel()
        barriers, self._barriers = self._barriers, deque()
        for barrier in barriers:
            if isinstance(barrier, _Barrier) and not barrier.confirmed.done():
                barrier.confirmed.set_exception(error)

    def _heartbeat(self) -> None:
        if self._is_silent:
            self._supervisor.disconnect(ConnectionError(f"the server sent nothing for {self._heartbeat_interval:g} s"))
            return
        self._is_silent = True
        self._send_ping(None)
        self._heartbeat_timer = asyncio.get_running_loop().call_later(self._heartbeat_interval, self._heartbeat)


def _is_expected(reply: Reply) -> bool:
    """Return whether a reply is a pong, or a list that starts with the kind of a message and has its shape."""
    if not isinstance(reply, list):
        return is_bytes(reply) and reply in _PONGS
    message = cast("list[Reply]", reply)
    return bool(message) and is_bytes(message[0]) and _MESSAGE_SHAPES.get(message[0], bool)(message)
