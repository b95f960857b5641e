"""Fakes of redis-py connections, whose server is the test."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any
from unittest.mock import Mock


class FakeConnection:
    """A fake connection with the attributes that a PipelinedConnection uses.

    Attributes:
        written: all bytes that were sent.
        closed: whether the connection was closed.
    """

    def __init__(self) -> None:
        self.written = b""
        self.closed = False
        self._replies: list[Any] = [0, b"id=1 addr=127.0.0.1:1 laddr=127.0.0.1:2", [b"1000000000", b"0"]]
        self._transport = _Transport(self)
        self._writer = Mock(spec=asyncio.StreamWriter, transport=self._transport)

    def answer(self, *replies: bytes) -> None:
        """Send simple strings to the client in one chunk."""
        self.send(b"".join(b"+%b\r\n" % reply for reply in replies))

    def send(self, data: bytes) -> None:
        """Send bytes to the client."""
        self._transport.protocol.data_received(data)

    async def send_packed_command(self, _packed: Any) -> None:
        """Accept the commands of `start_session`."""

    async def read_response(self, **_: object) -> Any:
        """Return the next reply to the commands of `start_session`."""
        return self._replies.pop(0)

    def pack_commands(self, _commands: object) -> list[bytes]:
        """Return nothing, because nothing reads the commands of `start_session`."""
        return []

    def lose(self) -> None:
        """Reset the connection."""
        self._transport.protocol.connection_lost(ConnectionResetError())

    async def disconnect(self) -> None:
        """See the connection of redis-py."""
        self.closed = True


class _Transport(asyncio.Transport):
    def __init__(self, connection: FakeConnection) -> None:
        super().__init__()
        self._connection = connection
        self._aborted = False
        self.protocol: Any = Mock(spec=asyncio.Protocol)

    def is_closing(self) -> bool:
        return self._aborted

    def get_protocol(self) -> asyncio.BaseProtocol:
        return self.protocol

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self.protocol = protocol

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self._connection.written += data

    def abort(self) -> None:
        if not self._aborted:
            self._aborted = True
            asyncio.get_running_loop().call_soon(self.protocol.connection_lost, None)


class FakePool:
    """Creates a new connection for each request.

    Args:
        connect: called before each connection. It can raise or wait.

    Attributes:
        connections: all connections, in order.
    """

    def __init__(self, connect: Callable[[], Awaitable[object]] | None = None) -> None:
        self._connect = connect
        self.connections: list[FakeConnection] = []

    async def get_connection(self) -> Any:
        """See `Pool.get_connection`."""
        if self._connect is not None:
            await self._connect()
        self.connections.append(FakeConnection())
        return self.connections[-1]
