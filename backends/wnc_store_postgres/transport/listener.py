"""A connection that listens to a channel, and is opened again after it was lost."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any
from uuid import uuid4

from wnc_store import StoreClosedError
from wnc_store_postgres.transport.connection import Connection
from wnc_store_postgres.transport.errors import NoConnectionError, is_misconfigured
from wnc_store_postgres.transport.tasks import BackgroundTasks

_FIRST_DELAY = 0.02
_MAX_DELAY = 1.0


class _Barrier:
    """A call that waits until all earlier notifications have arrived."""

    def __init__(self, on_reached: Callable[[], None]) -> None:
        self._on_reached = on_reached
        self.reached: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def reach(self) -> None:
        if not self.reached.done():
            self._on_reached()
            self.reached.set_result(None)


class Listener:
    """Listens to a channel from the first call of `wait_for_earlier` on.

    The connection also listens to a channel of its own, which it notifies itself. Such a notification passes through
    the server's queue like every other. When it arrives, every notification of an earlier commit has arrived, too.

    Args:
        open_connection: opens a connection before a deadline; raises `NoConnectionError`.
        channel: the channel.
        timeout: how many seconds the connection may be silent before it is tested, and a test may take.
        on_payload: called with each payload.
        on_gap: called when the connection works again after it was lost.
    """

    def __init__(
        self,
        open_connection: Callable[[float], Awaitable[Connection]],
        channel: str,
        timeout: float,
        on_payload: Callable[[str], None],
        on_gap: Callable[[], None],
    ) -> None:
        self._open_connection = open_connection
        self._channel = channel
        self._own_channel = f"wnc_store_{uuid4().hex}"
        self._timeout = timeout
        self._on_payload = on_payload
        self._on_gap = on_gap
        self._connection: Connection | None = None
        self._failure: BaseException | None = None
        self._waiting: list[_Barrier] = []
        self._sent: dict[str, list[_Barrier]] = {}
        self._wakeup = asyncio.Event()
        self._tasks = BackgroundTasks()
        self._running: asyncio.Task[None] | None = None
        self._closed = False

    async def wait_for_earlier(self, deadline: float, on_reached: Callable[[], None]) -> None:
        """Start listening, and call `on_reached` when all notifications of earlier commits have arrived.

        Raises:
            NoConnectionError: that was not possible before the deadline, or the server cannot be used.
        """
        if self._closed:
            raise NoConnectionError(StoreClosedError())
        if self._running is None or self._running.done():
            self._running = self._tasks.spawn(self._run())
        barrier = self._add_barrier(on_reached)
        failure: BaseException
        try:
            async with asyncio.timeout_at(deadline):
                await barrier.reached
                return
        except TimeoutError as error:
            failure = self._failure or error
        raise NoConnectionError(failure)

    def _add_barrier(self, on_reached: Callable[[], None]) -> _Barrier:
        barrier = _Barrier(on_reached)
        self._waiting.append(barrier)
        self._wakeup.set()
        return barrier

    async def _run(self) -> None:
        """Keep a connection open until the listener is closed."""
        loop, delay = asyncio.get_running_loop(), _FIRST_DELAY
        while True:
            self._failure = None
            try:
                await self._listen(loop.time() + self._timeout)
                delay = _FIRST_DELAY
            except NoConnectionError as error:
                self._failure = error.reason
                if is_misconfigured(error.reason):  # the callers need not wait
                    self._fail(error.reason)
            await asyncio.sleep(delay)
            delay = min(2 * delay, _MAX_DELAY)

    async def _listen(self, deadline: float) -> None:
        """Open a connection, and return when it is lost.

        Raises:
            NoConnectionError: it could not be opened.
        """
        connection = await self._open_connection(deadline)
        lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def on_lost(_: object) -> None:
            self._wakeup.set()
            if not lost.done():
                lost.set_result(None)

        try:
            async with asyncio.timeout_at(deadline):
                connection.add_termination_listener(on_lost)
                await connection.add_listener(self._own_channel, self._on_own)
                await connection.add_listener(self._channel, self._on_notification)
            self._on_gap()  # earlier notifications were dropped: whoever reads now reads newer data
            self._connection = connection
            await self._send_barriers(connection, lost)
        except Exception as error:  # noqa: BLE001 - asyncpg raises any kind of error
            if self._connection is None:
                raise NoConnectionError(error) from None
        finally:
            self._connection = None
            # Barriers that were sent are sent again over the next connection.
            self._waiting = [*(barrier for sent in self._sent.values() for barrier in sent), *self._waiting]
            self._sent.clear()
            connection.terminate()

    async def _send_barriers(self, connection: Connection, lost: asyncio.Future[None]) -> None:
        """Send waiting barriers, or one if none was sent for a while, until the connection is lost.

        Raises:
            TimeoutError: the connection is dead: a notification did not arrive.
        """
        while not lost.done():
            self._wakeup.clear()
            if not self._waiting:
                with suppress(TimeoutError):
                    async with asyncio.timeout(self._timeout):
                        await self._wakeup.wait()
                        continue
                self._add_barrier(lambda: None)
            token, self._waiting, sent = uuid4().hex, [], self._waiting
            self._sent[token] = sent
            async with asyncio.timeout(self._timeout):
                await connection.execute("SELECT pg_notify($1, $2)", self._own_channel, token)
                await asyncio.wait([sent[0].reached, lost], return_when=asyncio.FIRST_COMPLETED)

    def _on_notification(self, _connection: Any, _process: int, _channel: str, payload: object) -> None:
        if self._connection is not None:  # otherwise, the call of `on_gap` that follows covers it
            self._on_payload(str(payload))

    def _on_own(self, _connection: Any, _process: int, _channel: str, token: object) -> None:
        for barrier in self._sent.pop(str(token), ()):
            barrier.reach()

    def _fail(self, error: BaseException) -> None:
        barriers, self._waiting = self._waiting, []
        for barrier in barriers:
            if not barrier.reached.done():
                barrier.reached.set_exception(NoConnectionError(error))
                barrier.reached.exception()  # retrieved: nobody waits for the barrier of a test

    async def aclose(self) -> None:
        """Stop listening, and close the connection. Waiting calls raise `NoConnectionError`."""
        self._closed = True
        await self._tasks.aclose()
        self._fail(StoreClosedError())
