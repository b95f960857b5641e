"""Pools of connections: the store's own, and one that the caller passed in."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any, Protocol

from asyncpg import InterfaceError

from wnc_store import ConfigurationError, StoreClosedError, StoreUnavailableError
from wnc_store_postgres.transport.connection import Connection, SessionOptions, open_connection, prepare_session
from wnc_store_postgres.transport.errors import NoConnectionError, is_lost
from wnc_store_postgres.transport.statistics import Statistics
from wnc_store_postgres.transport.url import Target


class Pool(Protocol):
    """Connections that are used by one statement at a time.

    Attributes:
        endpoint: where the connections lead to, for messages.
        has_failover: whether another server may take over.
    """

    endpoint: str
    has_failover: bool

    async def acquire(self, deadline: float) -> Connection:
        """Return a connection that nobody else uses.

        Raises:
            NoConnectionError: none could be obtained before the deadline.
        """
        ...

    async def release(self, connection: Connection, *, is_broken: bool = False) -> None:
        """Give a connection back. A broken one is closed, and idle connections with it if they may be broken, too."""
        ...

    async def aclose(self) -> None:
        """Close the connections that the pool opened."""
        ...


class OwnPool:
    """At most `target.pool_size` connections, opened on demand. Waiting calls are served in the order of arrival."""

    def __init__(self, target: Target, options: SessionOptions, statistics: Statistics) -> None:
        self.endpoint, self.has_failover = target.endpoint, target.has_failover
        self._target = target
        self._options = options
        self._statistics = statistics
        self._idle: list[Connection] = []
        self._permits = asyncio.Semaphore(target.pool_size)  # one for each connection in use; it is fair
        self._closed = False

    async def acquire(self, deadline: float) -> Connection:
        """See `Pool.acquire`."""
        try:
            async with asyncio.timeout_at(deadline):
                await self._permits.acquire()
        except TimeoutError as error:
            raise NoConnectionError(error) from None
        try:
            return self._take_idle() or await self._open(deadline)
        except BaseException:
            self._permits.release()
            raise

    async def release(self, connection: Connection, *, is_broken: bool = False) -> None:
        """See `Pool.release`."""
        if is_broken:
            # The network or the server may have failed, so the idle connections are opened again, too.
            for doubtful in (connection, *self._idle):
                doubtful.terminate()
            self._idle.clear()
        elif self._closed or connection.is_closed():
            connection.terminate()
        else:
            self._idle.append(connection)
        self._permits.release()

    async def aclose(self) -> None:
        """See `Pool.aclose`. Waiting calls raise `StoreClosedError`."""
        self._closed = True
        idle, self._idle = self._idle, []
        self._permits.release()  # the first waiting call raises and releases its permit, which wakes the next
        for connection in idle:
            with suppress(Exception):  # a broken connection needs no end
                await connection.close(timeout=0.25)  # a polite end, which the server does not log as an error

    def _take_idle(self) -> Connection | None:
        if self._closed:
            raise NoConnectionError(StoreClosedError())
        while self._idle:
            connection = self._idle.pop()
            if not connection.is_closed():
                return connection
        return None

    async def _open(self, deadline: float) -> Connection:
        connection = await open_connection(self._target, deadline, self._options)
        self._statistics.connections += 1
        return connection


class CallersPool:
    """An `asyncpg.Pool` of the caller, which stays open."""

    has_failover = False

    def __init__(self, pool: Any, options: SessionOptions) -> None:
        if not hasattr(pool, "acquire"):
            raise ConfigurationError(f"expected an asyncpg.Pool or a postgresql:// URL, got {type(pool).__name__}")
        self._pool = pool
        self._options = options
        self.endpoint = "the caller's pool"
        self._checked = False

    async def acquire(self, deadline: float) -> Connection:
        """See `Pool.acquire`."""
        failure: Exception | None
        try:
            connection = await self._pool.acquire(timeout=deadline - asyncio.get_running_loop().time())
        except InterfaceError as error:
            is_closed = str(error).startswith("pool is ")  # closed, closing, or not initialized
            failure = StoreUnavailableError(f"{self.endpoint} cannot be used: {error}") if is_closed else error
        except Exception as error:  # noqa: BLE001 - asyncpg raises any kind of error
            failure = error
        else:
            failure = None if self._checked else await self._check(connection, deadline)
            if failure is None:
                self._checked = True
                return connection
            await self.release(connection, is_broken=is_lost(failure))
        raise NoConnectionError(failure)

    async def _check(self, connection: Connection, deadline: float) -> Exception | None:
        try:
            async with asyncio.timeout_at(deadline):
                await prepare_session(connection, self.endpoint, self._options, is_own=False)
        except Exception as error:  # noqa: BLE001 - asyncpg raises any kind of error
            return error
        return None

    async def release(self, connection: Connection, *, is_broken: bool = False) -> None:
        """See `Pool.release`."""
        if is_broken:
            connection.terminate()
        with suppress(Exception):  # the pool has closed the connection
            await self._pool.release(connection)

    async def aclose(self) -> None:
        """Do nothing: the pool belongs to the caller."""
