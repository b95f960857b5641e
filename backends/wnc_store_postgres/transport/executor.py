"""Execution of statements, with retries, the outcome of interrupted writes, and translation of errors."""

from __future__ import annotations

import asyncio
import os
import weakref
from collections.abc import Callable, Coroutine, Sequence
from datetime import timedelta
from typing import Any, NamedTuple, Protocol, TypeVar

from wnc_store import ConfigurationError, SecretBytes, StoreError, StoreSettings
from wnc_store_postgres.transport.connection import Connection, Row, SessionOptions, run_statement
from wnc_store_postgres.transport.errors import (
    NoConnectionError,
    SchemaChangedError,
    is_lost,
    sqlstate,
    to_store_error,
)
from wnc_store_postgres.transport.locks import KeyedLocks
from wnc_store_postgres.transport.pool import Pool
from wnc_store_postgres.transport.retry import Attempts
from wnc_store_postgres.transport.server_clock import ServerClock
from wnc_store_postgres.transport.statistics import Statistics
from wnc_store_postgres.transport.tasks import BackgroundTasks
from wnc_store_postgres.transport.writers import Writer, Writers

_T = TypeVar("_T")

WRITE_SHARE = 0.7
"""Share of the remaining time after which a write counts as lost. The rest is for finding out what became of it."""

STATEMENT_SHARE = 0.6
"""Share of the time-out after which the server itself ends a statement."""

_FENCE = "SELECT sequence, numbers FROM wnc_schema.wnc_store_fence_v1($1, $2)"
_FORGET_WRITERS = "DELETE FROM wnc_schema.wnc_store_writers WHERE prefix = $1 AND writer = ANY ($2::uuid[])"


class WriteResult(NamedTuple):
    """The result of a function that writes; see `sql/functions.sql`.

    Attributes:
        applied: whether the function wrote.
        numbers: its numbers.
        entries: stored bytes, if it did not write.
    """

    applied: bool
    numbers: Sequence[int] = ()
    entries: Sequence[bytes] = ()


def session_options(settings: StoreSettings) -> SessionOptions:
    """Return what a store needs of its sessions."""
    timeout = settings.operation_timeout.total_seconds() * STATEMENT_SHARE
    return SessionOptions(timeout, is_replicated=settings.durability == "replicated")


class Tables(Protocol):
    """The tables of the store in the database."""

    @property
    def is_known(self) -> bool:
        """Whether the tables were found."""
        ...

    def forget(self) -> None:
        """Look for the tables again before the next statement."""
        ...

    def localize(self, sql: str) -> str:
        """Return a statement with the name of the schema."""
        ...

    async def ensure(self, connection: Connection, deadline: float) -> None:
        """Find the tables, and create them if they do not exist. If it raises, the connection cannot be used again."""
        ...

    async def check(self, connection: Connection, deadline: float) -> None:
        """Raise ConfigurationError if a statement on the tables would fail. Write nothing."""
        ...


class StatementExecutor:
    """Runs statements on the connections of a pool.

    Each statement runs in its own task. If the caller is cancelled, the statement still runs to its end, and its
    connection goes back to the pool.

    Args:
        pool: the connections.
        tables: the tables in the database.
        prefix: the key prefix of the store, the first argument of every statement.
        timeout: how long an operation may take.
        statistics: the counters of the store.
    """

    def __init__(self, pool: Pool, tables: Tables, prefix: str, timeout: timedelta, statistics: Statistics) -> None:
        self._pool = pool
        self._tables = tables
        self._prefix = prefix
        self.timeout = timeout.total_seconds()
        self.statistics = statistics
        self._clock = ServerClock()
        self._writers = Writers()
        self._locks = KeyedLocks()
        self._tasks = BackgroundTasks()
        self._statements: dict[str, str] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._process: int | None = None
        self._after_write: Callable[[], None] | None = None
        _ALL.add(self)

    @property
    def forked(self) -> bool:
        """Whether this process was forked after the store was first used."""
        return self._process not in {None, os.getpid()}

    def running_loop(self) -> asyncio.AbstractEventLoop:
        """Return the running event loop. The first call binds the store to it.

        Raises:
            StoreError: the store belongs to another event loop, or was used before a fork.
        """
        loop = asyncio.get_running_loop()
        if loop is not self._loop:
            self._bind(loop)
        return loop

    def _bind(self, loop: asyncio.AbstractEventLoop) -> None:
        if self.forked:
            message = "the store was used before this process was forked; open a store in each process"
            raise StoreError(message)
        if self._loop is not None:
            message = "the store was used in another event loop; open a store in each event loop"
            raise StoreError(message)
        self._loop, self._process = loop, os.getpid()

    def on_fork(self) -> None:
        """Forget the event loop in a forked child, which may run it, too. The next operation is refused."""
        self._loop = None

    def deadline(self) -> float:
        """Return the deadline of an operation that begins now, in the event loop's time. See `running_loop`."""
        return self.running_loop().time() + self.timeout

    def after_writes(self, callback: Callable[[], None]) -> None:
        """Call a function after each write."""
        self._after_write = callback

    def spawn(self, coroutine: Coroutine[Any, Any, _T]) -> asyncio.Task[_T]:
        """Start a task that `aclose` waits for."""
        return self._tasks.spawn(coroutine)

    async def fetch(self, query: str, *arguments: Any, key: str = "") -> list[Row]:
        """Return the rows of a query. Its first argument is the key prefix."""
        return await self.fetch_lazily(query, lambda: arguments, key=key, deadline=self.deadline())

    async def fetch_lazily(
        self, query: str, arguments: Callable[[], tuple[Any, ...]], *, key: str = "", deadline: float
    ) -> list[Row]:
        """Return the rows of a query whose arguments are only determined when a connection is available."""
        return await asyncio.shield(self.spawn(self._fetch(query, arguments, key, deadline)))

    async def _fetch(
        self, query: str, arguments: Callable[[], tuple[Any, ...]], key: str, deadline: float
    ) -> list[Row]:
        attempts = Attempts(deadline, has_failover=self._pool.has_failover)
        while True:
            result = await self._run(query, lambda: (self._prefix, *arguments()), deadline)
            if not isinstance(result, BaseException):
                return result
            if not await attempts.another(result):
                raise self._error(result, key)
            self.statistics.retries += 1

    async def check_tables(self) -> None:
        """Check that the tables and functions exist, and that the role may use them. Write nothing.

        Raises:
            ConfigurationError: they are missing, have another version, or the role has not all rights.
        """
        await asyncio.shield(self.spawn(self._check_tables(self.deadline())))

    async def _check_tables(self, deadline: float) -> None:
        is_broken = True
        try:
            connection = await self._obtain(deadline)
            try:
                await self._tables.check(connection, deadline)
                is_broken = False
            except ConfigurationError:
                is_broken = False
                raise
            finally:
                await self._pool.release(connection, is_broken=is_broken)
        except ConfigurationError:
            raise
        except Exception as error:  # asyncpg raises any kind of error
            raise self._error(error, "") from error

    async def write(
        self, function: str, *arguments: Any, key: str, channel: str = "", payloads: Sequence[bytes] = ()
    ) -> WriteResult:
        """Call a function that writes. Calls with the same key run one after another, in the order of the calls.

        Raises:
            OutcomeUnknownError: the connection was lost, and the outcome could not be determined in time.
        """
        events = (channel, [*payloads])
        return await asyncio.shield(self.spawn(self._write(function, (*events, *arguments), key, self.deadline())))

    async def _write(self, function: str, arguments: tuple[Any, ...], key: str, deadline: float) -> WriteResult:
        attempts = Attempts(deadline, has_failover=self._pool.has_failover)
        try:
            async with self._locks.hold(key, deadline):
                while True:
                    result = await self._write_once(function, arguments, key, deadline)
                    if isinstance(result, WriteResult):
                        if self._after_write is not None:
                            self._after_write()
                        return result
                    if not await attempts.another(result):
                        break
                    self.statistics.retries += 1
        except TimeoutError as error:
            result = NoConnectionError(error)
        raise self._error(result, key)

    async def _write_once(
        self, function: str, arguments: tuple[Any, ...], key: str, deadline: float
    ) -> WriteResult | BaseException:
        """Return the result, or the error of an attempt that did not write."""
        taken: list[Writer] = []

        def take() -> tuple[Any, ...]:
            taken.append(self._writers.take())
            return (self._prefix, taken[0].id, taken[0].sequence + 1, self._clock.at(deadline), *arguments)

        def give_back(result: list[Row] | Exception) -> None:
            if isinstance(result, list):
                taken[0].sequence += result[0][0]
            elif is_lost(result):
                return
            elif sqlstate(result) == "WNC01":
                self._writers.clear()  # somebody has removed this writer, and probably the others with it
                return
            elif sqlstate(result) == "WNC03":
                self._clock.forget()  # the server's clock was changed, or another server has taken over
            self._writers.give_back(taken[0])

        holes = ", ".join(f"${number}" for number in range(1, len(arguments) + 5))
        call = f"SELECT applied, numbers, entries FROM wnc_schema.wnc_store_{function}_v1({holes})"  # noqa: S608
        rows = await self._run(call, take, deadline, WRITE_SHARE, give_back)
        if isinstance(rows, BaseException):
            return await self._resolve(taken[0], rows, key, deadline) if is_lost(rows) else rows
        applied, numbers, entries = rows[0]
        return WriteResult(applied, numbers or (), [SecretBytes(entry) for entry in entries or ()])

    async def _resolve(
        self, writer: Writer, failure: BaseException, key: str, deadline: float
    ) -> WriteResult | BaseException:
        """Fence the writer of an interrupted write. Return the result of the write, or `failure` if it did not write.

        Raises:
            OutcomeUnknownError: the server did not reply in time, or has lost the writer.
        """
        attempts = Attempts(deadline, has_failover=self._pool.has_failover)
        while True:
            rows = await self._run(_FENCE, lambda: (self._prefix, writer.id), deadline)
            if not isinstance(rows, BaseException):
                sequence, numbers = rows[0]
                self.statistics.resolved += 1
                if sequence == writer.sequence + 1:
                    return WriteResult(applied=True, numbers=numbers or ())
                if sequence == writer.sequence:
                    return failure
                break
            if isinstance(rows, SchemaChangedError) or not await attempts.another(rows, in_doubt=True):
                break
        raise self._error(failure, key, in_doubt=True)

    async def _run(
        self,
        query: str,
        arguments: Callable[[], tuple[Any, ...]],
        deadline: float,
        share: float = 1.0,
        on_result: Callable[[list[Row] | Exception], None] = lambda _: None,
    ) -> list[Row] | Exception:
        """Run a statement once, and return its rows or its error.

        `arguments` and `on_result` are called while it holds its connection. The connection counts as lost after this
        share of the time that remains when it is available.
        """
        try:
            connection = await self._obtain(deadline)
        except NoConnectionError as error:
            return error
        self.statistics.batches += 1
        self.statistics.commands += 1
        is_broken = True
        now = self.running_loop().time()
        lost_at = now + share * (deadline - now)
        try:
            statement = self._localize(query)
            result = await run_statement(connection, self._pool.endpoint, statement, arguments(), lost_at)
            is_broken = isinstance(result, Exception) and (is_lost(result) or isinstance(result, NoConnectionError))
            if isinstance(result, SchemaChangedError):
                self._tables.forget()
            on_result(result)
            return result
        finally:
            await self._pool.release(connection, is_broken=is_broken)

    async def _obtain(self, deadline: float) -> Connection:
        """Return a connection to a database with our tables.

        Raises:
            NoConnectionError: there is none.
        """
        connection = await self._pool.acquire(deadline)
        if self._tables.is_known and self._clock.is_known:
            return connection
        try:
            while not (self._tables.is_known and self._clock.is_known):  # another task can forget them during a wait
                await self._tables.ensure(connection, deadline)
                await self._clock.read(connection, deadline)
        except Exception as error:  # noqa: BLE001 - asyncpg raises any kind of error
            failure = error
        except BaseException:
            await self._pool.release(connection, is_broken=True)
            raise
        else:
            self._statements.clear()
            return connection
        await self._pool.release(connection, is_broken=True)
        raise NoConnectionError(failure)

    def _localize(self, query: str) -> str:
        statement = self._statements.get(query)
        if statement is None:
            statement = self._statements[query] = self._tables.localize(query)
        return statement

    def _error(self, failure: BaseException, key: str, *, in_doubt: bool = False) -> StoreError:
        final_after = timedelta(seconds=2 * self.timeout) if in_doubt else None
        endpoint = self._pool.endpoint
        return to_store_error(failure, endpoint=endpoint, key=key, in_doubt=in_doubt, final_after=final_after)

    async def aclose(self) -> None:
        """Wait for running statements, remove the writers, and close the connections that the pool opened.

        In a forked child, do nothing: the connections belong to the parent.
        """
        if self._loop is None or self.forked:
            return
        await self._tasks.drain()
        writers = self._writers.clear()
        if writers and self._tables.is_known:
            deadline = self._loop.time() + min(0.25, self.timeout)
            await self._run(_FORGET_WRITERS, lambda: (self._prefix, writers), deadline)
        await self._pool.aclose()


_ALL: weakref.WeakSet[StatementExecutor] = weakref.WeakSet()


def _after_fork() -> None:
    for executor in _ALL:
        executor.on_fork()


os.register_at_fork(after_in_child=_after_fork)
