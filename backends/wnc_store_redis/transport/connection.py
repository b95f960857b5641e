"""Pipelined connections on top of redis-py's connections.

redis-py opens a connection: address, TLS, authentication, database, protocol version. Then a `PipelinedConnection`
takes it over, so that many commands can be in flight. Only this module uses private attributes of redis-py.
"""

from __future__ import annotations

import asyncio
import logging
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from typing import Any, Protocol

from hiredis import PushNotification, Reader
from redis.asyncio.connection import AbstractConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import InvalidResponse, ResponseError

from wnc_store_redis.transport.tasks import BackgroundTasks

Reply = Any
"""A reply of the server: bytes, int, None, a list of these, or a ResponseError."""

OnDisconnect = Callable[[BaseException], None]

NO_RETRIES = Retry(NoBackoff(), 0)

_INCOMPLETE = object()

_logger = logging.getLogger("wnc_store")


class Pool(Protocol):
    """A source of connections."""

    async def get_connection(self) -> AbstractConnection:
        """Return an open connection for exclusive use."""
        ...


@dataclass(eq=False, repr=False)
class PipelinedConnection(ABC):
    """A connection that sends commands immediately, and delivers replies in the order of the commands.

    Attributes:
        connection: the connection of redis-py.
        on_replies: called with the replies that have arrived.
        on_disconnect: called once if the connection is lost before it is closed or detached.
    """

    connection: AbstractConnection
    on_replies: Callable[[Sequence[Reply]], None]
    on_disconnect: OnDisconnect

    @abstractmethod
    def write(self, packed: Sequence[bytes]) -> None:
        """Send encoded commands. If the connection is lost, `on_disconnect` is called."""

    def detach(self) -> None:
        """Stop calling the callbacks."""
        self.on_replies = self.on_disconnect = _ignore

    async def aclose(self) -> None:
        """Close the connection."""
        self.detach()
        with suppress(Exception):  # the connection may already be lost
            await self.connection.disconnect()

    def _lose(self, error: BaseException) -> None:
        callback, self.on_disconnect = self.on_disconnect, _ignore
        callback(error)


class ConnectionFactory:
    """A source of connections to one server, with the class and the options of a client's connections.

    A connection is opened without the client's retries, so that an error is reported at once.

    Args:
        connection_class: the class of the connections.
        options: the keyword arguments of the class, read for each connection: the caller may replace a password.
    """

    def __init__(self, connection_class: Any, options: Mapping[str, Any]) -> None:
        self._connection_class = connection_class
        self._options = options

    async def get_connection(self) -> AbstractConnection:
        """See `Pool.get_connection`."""
        connection: Any = self._connection_class(**{**self._options, "retry": NO_RETRIES})
        try:
            await connection.connect()
        except BaseException:
            await connection.disconnect(nowait=True)
            raise
        return connection


async def open_connection(
    pool: Pool,
    on_replies: Callable[[Sequence[Reply]], None],
    on_disconnect: OnDisconnect,
    *,
    pushes: bool = False,
    prepare: Callable[[AbstractConnection], Awaitable[None]] | None = None,
) -> PipelinedConnection:
    """Open a connection.

    Args:
        pool: the source of the connection.
        on_replies: see `PipelinedConnection`.
        on_disconnect: see `PipelinedConnection`.
        pushes: whether push messages of RESP3 are delivered among the replies.
        prepare: called with the connection before it is used.
    """
    connection = await pool.get_connection()
    if prepare is not None:
        try:
            await prepare(connection)
        except BaseException:
            await connection.disconnect(nowait=True)
            raise
    # redis-py does not give public access to its transport, and connections of fakeredis have none.
    if not hasattr(connection, "_writer"):
        _warn_slow_path()
    writer = getattr(connection, "_writer", None)
    if not isinstance(writer, asyncio.StreamWriter):
        return StreamConnection(connection, on_replies, on_disconnect)
    pipelined = TransportConnection(connection, on_replies, on_disconnect, writer.transport, pushes)
    if writer.transport.is_closing():
        await pipelined.aclose()
        raise ConnectionResetError("Connection closed by server.")
    return pipelined


@dataclass(eq=False, repr=False)
class TransportConnection(PipelinedConnection, asyncio.Protocol):
    """A connection that reads from the transport, without a task, a stream read and a time-out for each reply.

    Attributes:
        transport: the transport of redis-py's connection.
        pushes: see `open_connection`.
    """

    transport: asyncio.WriteTransport
    pushes: bool

    def __post_init__(self) -> None:
        self._reader = Reader(protocolError=InvalidResponse, replyError=ResponseError, notEnoughData=_INCOMPLETE)
        self._driver = self.transport.get_protocol()
        self.transport.set_protocol(self)

    def write(self, packed: Sequence[bytes]) -> None:
        """See `PipelinedConnection.write`."""
        self.transport.write(b"".join(packed))

    def data_received(self, data: bytes) -> None:
        """Deliver the complete replies."""
        reader = self._reader
        replies: list[Reply] = []
        failure: Exception | None = None
        try:
            reader.feed(data)
            for reply in iter(reader.gets, _INCOMPLETE):
                if self.pushes or type(reply) is not PushNotification:  # e.g. maintenance notifications
                    replies.append(reply)  # noqa: PERF401 - replies before an error must not be lost
        except Exception as error:  # noqa: BLE001 - any parser error means that the stream is unusable
            failure = error
        if replies:
            self.on_replies(replies)
        if failure is not None:
            self._lose(failure)
            self.transport.abort()

    def eof_received(self) -> None:
        """Let the transport close itself."""

    def connection_lost(self, exc: Exception | None) -> None:
        """Report that the connection is lost."""
        self._driver.connection_lost(exc)  # redis-py waits for this call when it closes the connection
        self._lose(exc or ConnectionResetError("Connection closed by server."))

    def detach(self) -> None:
        """See `PipelinedConnection.detach`."""
        super().detach()
        self.transport.abort()  # buffered data would wait for a peer that no longer reads


@dataclass(eq=False, repr=False)
class StreamConnection(PipelinedConnection):
    """A connection that reads each reply through redis-py: slower, but it needs no transport.

    It supports fakeredis, which apps may use in tests, and versions of redis-py that hide the transport.
    """

    def __post_init__(self) -> None:
        self._send_queue: asyncio.Queue[bytes] = asyncio.Queue()
        self._tasks = BackgroundTasks()
        self._tasks.spawn(self._send())
        self._tasks.spawn(self._receive())

    def write(self, packed: Sequence[bytes]) -> None:
        """See `PipelinedConnection.write`."""
        self._send_queue.put_nowait(b"".join(packed))

    async def aclose(self) -> None:
        """See `PipelinedConnection.aclose`."""
        self.detach()
        await self._tasks.aclose()
        await super().aclose()

    async def _send(self) -> None:
        try:
            while True:
                await self.connection.send_packed_command([await self._send_queue.get()])
        except Exception as error:  # noqa: BLE001 - a dead connection is not always a RedisError or OSError
            self._lose(error)

    async def _receive(self) -> None:
        try:
            while True:
                try:
                    reply = await self.connection.read_response(disable_decoding=True)  # pyright: ignore[reportUnknownVariableType]
                except ResponseError as error:
                    reply = error
                self.on_replies([reply])
        except Exception as error:  # noqa: BLE001 - a dead connection is not always a RedisError or OSError
            self._lose(error)


@cache
def _warn_slow_path() -> None:
    """Log once that connections without access to the transport are slower."""
    _logger.warning(
        "this version of redis-py does not expose the transport of its connections, so replies are read one by one, "
        "which is slower"
    )


def _ignore(_argument: object) -> None:
    """Replace the callbacks of a detached connection."""
