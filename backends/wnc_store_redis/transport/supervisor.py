"""One connection to a server, from the first attempt to connect to its close."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from wnc_store import StoreClosedError
from wnc_store_redis.transport.connection import OnDisconnect, PipelinedConnection
from wnc_store_redis.transport.retry import ConnectHungError
from wnc_store_redis.transport.tasks import BackgroundTasks


class ConnectionSupervisor:
    """Opens a connection on demand, at most one at a time, and again after it was lost.

    Args:
        open_connection: opens a connection; its argument is called once if the connection is lost.
        timeout: how many seconds an attempt to connect may take.
        on_connect: called at the end of each attempt, with its error or None.
        on_disconnect: called after the connection was lost or dropped, but not after `aclose`.

    Attributes:
        connection: the open connection, or None.
    """

    def __init__(
        self,
        open_connection: Callable[[OnDisconnect], Awaitable[PipelinedConnection]],
        timeout: float,
        on_connect: Callable[[Exception | None], None],
        on_disconnect: OnDisconnect,
    ) -> None:
        self._open_connection = open_connection
        self._timeout = timeout
        self._on_connect = on_connect
        self._on_disconnect = on_disconnect
        self.connection: PipelinedConnection | None = None
        self._attempt: asyncio.Task[Exception | None] | None = None
        self._attempts, self._closings = BackgroundTasks(), BackgroundTasks()
        self._closed = False

    def connect(self) -> asyncio.Task[Exception | None]:
        """Start an attempt to connect, unless one is in progress. Return its task, whose result is its error."""
        if self._closed:
            raise StoreClosedError
        if self._attempt is None or self._attempt.done():
            self._attempt = self._attempts.spawn(self._connect())
            self._attempt.add_done_callback(self._on_attempt_done)
        return self._attempt

    async def wait_connected(self) -> None:
        """Wait until the connection is open. Concurrent callers share an attempt.

        Raises:
            StoreClosedError: `aclose` was called.
            Exception: the error of the attempt; ConnectHungError if it timed out.
        """
        if self.connection is None:
            attempt = self.connect()
            await asyncio.wait([attempt])
            error = StoreClosedError() if attempt.cancelled() else attempt.result()
            if error is not None:
                raise error

    def disconnect(self, error: BaseException) -> None:
        """Close the connection in the background, if there is one."""
        connection, self.connection = self.connection, None
        if connection is not None:
            connection.detach()  # at once: a late reply must not be matched with a later request
            self._closings.spawn(connection.aclose())
            if not self._closed:
                self._on_disconnect(error)

    async def aclose(self) -> None:
        """Cancel the attempt to connect, and close the connection."""
        self._closed = True
        self.disconnect(StoreClosedError())
        await self._attempts.aclose()
        await self._closings.drain()

    def _on_attempt_done(self, attempt: asyncio.Task[Exception | None]) -> None:
        if attempt.cancelled() and not self._closed:  # by the application, for example when it shuts down
            self._on_connect(ConnectionError("the task that connects was cancelled"))

    async def _connect(self) -> Exception | None:
        error: Exception | None = None
        timeout = asyncio.timeout(self._timeout)
        try:
            async with timeout:
                self.connection = await self._open_connection(self.disconnect)
        except Exception as failure:  # noqa: BLE001 - a dead connection is not always a RedisError or OSError
            error = ConnectHungError() if timeout.expired() else failure
        if self._closed:  # redis-py may have swallowed the cancellation by `aclose`
            error = StoreClosedError()
            self.disconnect(error)
        self._on_connect(error)
        return error
