"""One connection of the driver's, with replies that need not be waited for one by one.

redis-py opens the connection: address, TLS, authentication, database, protocol version. Then a link takes it over, so
that many commands are under way at once. Only this module looks inside the driver's connections.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from functools import cache, partial
from typing import Any, Protocol

from hiredis import PushNotification, Reader
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import InvalidResponse, ResponseError

Reply = Any
"""What a server may answer: bytes, int, None, a list of these, or a ResponseError."""

_INCOMPLETE = object()

_logger = logging.getLogger("wnc_store")


class Pool(Protocol):
    """What connections come from: redis-py's pools, and our own ways to the right server."""

    async def get_connection(self) -> AbstractConnection:
        """Return an open connection that nobody else uses."""
        ...

    async def release(self, connection: AbstractConnection) -> None:
        """Take back a connection that is closed by now."""
        ...


class PipelinedConnection(Protocol):
    """A connection that sends commands at once, and hands over replies in the order of the commands."""

    def write(self, packed: Sequence[bytes]) -> None:
        """Send commands that are packed already; a connection that is lost by then says so by `on_lost`."""
        ...

    def detach(self) -> None:
        """Hand over nothing any more."""
        ...

    async def aclose(self) -> None:
        """Close the connection and give its place back to the pool."""
        ...


class ConnectionFactory:
    """Connections to one server, made as the client makes its own."""

    def __init__(self, kind: Any, options: dict[str, Any]) -> None:
        self._kind = kind
        self._options = options

    async def get_connection(self) -> AbstractConnection:
        """See `Pool.get_connection`."""
        connection: Any = self._kind(**self._options)
        try:
            await connection.connect()
        except BaseException:
            await connection.disconnect(nowait=True)
            raise
        return connection

    async def release(self, connection: AbstractConnection) -> None:
        """See `Pool.release`."""


async def open_connection(
    pool: Pool,
    on_replies: Callable[[Sequence[Reply]], None],
    on_lost: Callable[[BaseException], None],
    *,
    pushes: bool = False,
) -> PipelinedConnection:
    """Take a connection from the pool.

    Args:
        pool: of a client with any settings; the connection stays out of it until the link is closed.
        on_replies: called with the next replies.
        on_lost: called once when no more replies will come, unless the link was closed.
        pushes: whether what the server says unasked over RESP3 is handed over among the replies, or dropped.
    """
    connection = await pool.get_connection()
    give_back = partial(_disconnect_and_release, pool, connection)
    # redis-py has no public way to its transport. A connection without one, such as a fake server's, is used as it is.
    if not hasattr(connection, "_writer"):
        _warn_slow_path()
    writer = getattr(connection, "_writer", None)
    if not isinstance(writer, asyncio.StreamWriter):
        return StreamConnection(connection, give_back, on_replies, on_lost)
    if writer.transport.is_closing():
        await give_back()
        raise ConnectionResetError("Connection closed by server.")
    return TransportConnection(writer.transport, give_back, on_replies, on_lost, pushes=pushes)


class _BaseConnection:
    """Hands over what a connection says, until it is abandoned."""

    def __init__(
        self,
        give_back: Callable[[], Awaitable[None]],
        on_replies: Callable[[Sequence[Reply]], None],
        on_lost: Callable[[BaseException], None],
    ) -> None:
        self._release = give_back
        self._on_replies = on_replies
        self._disconnect_callback: Callable[[BaseException], None] | None = on_lost

    def detach(self) -> None:
        """See `PipelinedConnection.detach`."""
        self._on_replies = _discard
        self._disconnect_callback = None

    def _on_disconnect(self, error: BaseException) -> None:
        on_lost, self._disconnect_callback = self._disconnect_callback, None
        if on_lost is not None:
            on_lost(error)


class TransportConnection(_BaseConnection, asyncio.Protocol):
    """A link that reads from the transport itself: without a task, a stream and a time-out for each reply."""

    def __init__(
        self,
        transport: asyncio.WriteTransport,
        give_back: Callable[[], Awaitable[None]],
        on_replies: Callable[[Sequence[Reply]], None],
        on_lost: Callable[[BaseException], None],
        *,
        pushes: bool,
    ) -> None:
        super().__init__(give_back, on_replies, on_lost)
        self._transport = transport
        self._pushes = pushes
        self._reader = Reader(protocolError=InvalidResponse, replyError=ResponseError, notEnoughData=_INCOMPLETE)
        self._driver = transport.get_protocol()
        transport.set_protocol(self)

    def write(self, packed: Sequence[bytes]) -> None:
        """See `PipelinedConnection.write`."""
        self._transport.write(b"".join(packed))

    def data_received(self, data: bytes) -> None:
        """Hand over the replies that are complete."""
        reader = self._reader
        replies: list[Reply] = []
        failure: Exception | None = None
        try:
            reader.feed(data)
            while (reply := reader.gets()) is not _INCOMPLETE:
                if self._pushes or type(reply) is not PushNotification:  # such as news of the server's maintenance
                    replies.append(reply)
        except Exception as error:  # noqa: BLE001 - what is no reply ends the connection, whatever the parser calls it
            failure = error
        if replies:
            self._on_replies(replies)
        if failure is not None:
            self._on_disconnect(failure)
            self._transport.abort()

    def eof_received(self) -> None:
        """Let the transport close itself."""

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell that no more replies will come."""
        self._driver.connection_lost(exc)  # redis-py waits for it when it closes the connection
        self._on_disconnect(exc or ConnectionResetError("Connection closed by server."))

    def detach(self) -> None:
        """See `PipelinedConnection.detach`."""
        super().detach()
        self._transport.abort()  # what is left to send would wait for a peer that no longer reads

    async def aclose(self) -> None:
        """See `PipelinedConnection.aclose`."""
        self.detach()
        await self._release()


class StreamConnection(_BaseConnection):
    """A link that asks redis-py for each reply: slower, and all that a fake server's connection can do."""

    def __init__(
        self,
        connection: AbstractConnection,
        give_back: Callable[[], Awaitable[None]],
        on_replies: Callable[[Sequence[Reply]], None],
        on_lost: Callable[[BaseException], None],
    ) -> None:
        super().__init__(give_back, on_replies, on_lost)
        self._connection = connection
        self._written: asyncio.Queue[bytes] = asyncio.Queue()
        loop = asyncio.get_running_loop()
        self._sending, self._receiving = loop.create_task(self._send()), loop.create_task(self._receive())

    def write(self, packed: Sequence[bytes]) -> None:
        """See `PipelinedConnection.write`."""
        self._written.put_nowait(b"".join(packed))

    async def aclose(self) -> None:
        """See `PipelinedConnection.aclose`."""
        self.detach()
        self._written.put_nowait(b"")  # on Python 3.11, redis-py may swallow a cancellation while it sends
        self._receiving.cancel()
        await asyncio.wait([self._sending, self._receiving])
        await self._release()

    async def _send(self) -> None:
        try:
            while commands := await self._written.get():
                await self._connection.send_packed_command([commands])
        except Exception as error:  # noqa: BLE001 - a dead connection is not always a RedisError or OSError
            self._on_disconnect(error)

    async def _receive(self) -> None:
        try:
            while True:
                self._on_replies([await self._reply()])
        except Exception as error:  # noqa: BLE001 - a dead connection is not always a RedisError or OSError
            self._on_disconnect(error)

    async def _reply(self) -> Reply:
        try:
            return await self._connection.read_response(disable_decoding=True)  # pyright: ignore[reportUnknownVariableType]
        except ResponseError as refusal:
            return refusal


@cache
def _warn_slow_path() -> None:
    """Say once that every connection is a slow one."""
    _logger.warning(
        "redis-py hides its transport, so each reply is read by itself, which is slower: is it a new version?"
    )


def _discard(_nobodys: object) -> None:
    """Take what comes over a connection that was given up."""


async def _disconnect_and_release(pool: Pool, connection: AbstractConnection) -> None:
    try:
        with suppress(Exception):  # it is dead, or on its way there
            await connection.disconnect()
    finally:
        await pool.release(connection)
