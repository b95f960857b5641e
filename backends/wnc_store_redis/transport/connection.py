"""Pipelined connections on top of redis-py's connections.

redis-py opens a connection: address, TLS, authentication, database, protocol version. Then a `PipelinedConnection`
takes it over, so that many commands can be in flight. Only this module uses private attributes of redis-py.
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
"""A reply of the server: bytes, int, None, a list of these, or a ResponseError."""

_INCOMPLETE = object()

_logger = logging.getLogger("wnc_store")


class Pool(Protocol):
    """A source of connections: a pool of redis-py, or a class of this package with the same methods."""

    async def get_connection(self) -> AbstractConnection:
        """Return an open connection for exclusive use."""
        ...

    async def release(self, connection: AbstractConnection) -> None:
        """Take back a connection that was closed."""
        ...


class PipelinedConnection(Protocol):
    """A connection that sends commands immediately, and delivers replies in the order of the commands."""

    def write(self, packed: Sequence[bytes]) -> None:
        """Send encoded commands. If the connection is lost, `on_disconnect` is called."""
        ...

    def detach(self) -> None:
        """Stop calling the callbacks."""
        ...

    async def aclose(self) -> None:
        """Close the connection and release it to the pool."""
        ...


class ConnectionFactory:
    """A source of connections to one server, with the class and the options of a client's connections.

    Args:
        connection_class: the class of the connections.
        options: the keyword arguments of the class.
    """

    def __init__(self, connection_class: Any, options: dict[str, Any]) -> None:
        self._connection_class = connection_class
        self._options = options

    async def get_connection(self) -> AbstractConnection:
        """See `Pool.get_connection`."""
        connection: Any = self._connection_class(**self._options)
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
    on_disconnect: Callable[[BaseException], None],
    *,
    pushes: bool = False,
) -> PipelinedConnection:
    """Take a connection from the pool.

    Args:
        pool: the source of the connection, which stays out of the pool until it is closed.
        on_replies: called with the replies that have arrived.
        on_disconnect: called once if the connection is lost before it is closed or detached.
        pushes: whether push messages of RESP3 are delivered among the replies, or discarded.
    """
    connection = await pool.get_connection()
    release = partial(_disconnect_and_release, pool, connection)
    # redis-py does not give public access to its transport, and connections of fakeredis have none. `StreamConnection`
    # supports fakeredis in the tests of apps, and a future redis-py that renames the attribute.
    if not hasattr(connection, "_writer"):
        _warn_slow_path()
    writer = getattr(connection, "_writer", None)
    if not isinstance(writer, asyncio.StreamWriter):
        return StreamConnection(connection, release, on_replies, on_disconnect)
    if writer.transport.is_closing():
        await release()
        raise ConnectionResetError("Connection closed by server.")
    return TransportConnection(writer.transport, release, on_replies, on_disconnect, pushes=pushes)


class _BaseConnection:
    """The callbacks of a connection, and their end."""

    def __init__(
        self,
        release: Callable[[], Awaitable[None]],
        on_replies: Callable[[Sequence[Reply]], None],
        on_disconnect: Callable[[BaseException], None],
    ) -> None:
        self._release = release
        self._on_replies = on_replies
        self._disconnect_callback: Callable[[BaseException], None] | None = on_disconnect

    def detach(self) -> None:
        """See `PipelinedConnection.detach`."""
        self._on_replies = _discard
        self._disconnect_callback = None

    def _on_disconnect(self, error: BaseException) -> None:
        callback, self._disconnect_callback = self._disconnect_callback, None
        if callback is not None:
            callback(error)


class TransportConnection(_BaseConnection, asyncio.Protocol):
    """A connection that reads from the transport, without a task, a stream read and a time-out for each reply."""

    def __init__(
        self,
        transport: asyncio.WriteTransport,
        release: Callable[[], Awaitable[None]],
        on_replies: Callable[[Sequence[Reply]], None],
        on_disconnect: Callable[[BaseException], None],
        *,
        pushes: bool,
    ) -> None:
        super().__init__(release, on_replies, on_disconnect)
        self._transport = transport
        self._pushes = pushes
        self._reader = Reader(protocolError=InvalidResponse, replyError=ResponseError, notEnoughData=_INCOMPLETE)
        self._driver = transport.get_protocol()
        transport.set_protocol(self)

    def write(self, packed: Sequence[bytes]) -> None:
        """See `PipelinedConnection.write`."""
        self._transport.write(b"".join(packed))

    def data_received(self, data: bytes) -> None:
        """Deliver the complete replies."""
        reader = self._reader
        replies: list[Reply] = []
        failure: Exception | None = None
        try:
            reader.feed(data)
            while (reply := reader.gets()) is not _INCOMPLETE:
                if self._pushes or type(reply) is not PushNotification:  # e.g. maintenance notifications
                    replies.append(reply)
        except Exception as error:  # noqa: BLE001 - any parser error means that the stream is unusable
            failure = error
        if replies:
            self._on_replies(replies)
        if failure is not None:
            self._on_disconnect(failure)
            self._transport.abort()

    def eof_received(self) -> None:
        """Let the transport close itself."""

    def connection_lost(self, exc: Exception | None) -> None:
        """Report that the connection is lost."""
        self._driver.connection_lost(exc)  # redis-py waits for this call when it closes the connection
        self._on_disconnect(exc or ConnectionResetError("Connection closed by server."))

    def detach(self) -> None:
        """See `PipelinedConnection.detach`."""
        super().detach()
        self._transport.abort()  # buffered data would wait for a peer that no longer reads

    async def aclose(self) -> None:
        """See `PipelinedConnection.aclose`."""
        self.detach()
        await self._release()


class StreamConnection(_BaseConnection):
    """A connection that reads each reply through redis-py: slower, but it needs no transport."""

    def __init__(
        self,
        connection: AbstractConnection,
        release: Callable[[], Awaitable[None]],
        on_replies: Callable[[Sequence[Reply]], None],
        on_disconnect: Callable[[BaseException], None],
    ) -> None:
        super().__init__(release, on_replies, on_disconnect)
        self._connection = connection
        self._send_queue: asyncio.Queue[bytes] = asyncio.Queue()
        loop = asyncio.get_running_loop()
        self._sending, self._receiving = loop.create_task(self._send()), loop.create_task(self._receive())

    def write(self, packed: Sequence[bytes]) -> None:
        """See `PipelinedConnection.write`."""
        self._send_queue.put_nowait(b"".join(packed))

    async def aclose(self) -> None:
        """See `PipelinedConnection.aclose`."""
        self.detach()
        self._send_queue.put_nowait(b"")  # on Python 3.11, redis-py may swallow a cancellation while it sends
        self._receiving.cancel()
        await asyncio.wait([self._sending, self._receiving])
        await self._release()

    async def _send(self) -> None:
        try:
            while commands := await self._send_queue.get():
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
        except ResponseError as error:
            return error


@cache
def _warn_slow_path() -> None:
    """Log once that connections without access to the transport are slower."""
    _logger.warning(
        "this version of redis-py does not expose the transport of its connections, so replies are read one by one, "
        "which is slower"
    )


def _discard(_replies: object) -> None:
    """Ignore the replies of a detached connection."""


async def _disconnect_and_release(pool: Pool, connection: AbstractConnection) -> None:
    try:
        with suppress(Exception):  # the connection may already be lost
            await connection.disconnect()
    finally:
        await pool.release(connection)
