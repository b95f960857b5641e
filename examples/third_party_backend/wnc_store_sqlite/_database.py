"""The file: its tables, one connection to it, and SQLite's errors in the words of wnc-store."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from typing import Any

import aiosqlite

from wnc_store import Clock, StoreError, StoreSettings, StoreTimeoutError, StoreUnavailableError
from wnc_store.base import Lifecycle

MILLISECOND = timedelta(milliseconds=1)
NEVER = 2**63 - 1
"""The `expires_ms` of what never expires: SQLite's largest integer, so that `expires_ms > :now` needs no exception."""

SCHEMA = """
PRAGMA synchronous = NORMAL;            -- a power cut may cost the last commits, never the file

CREATE TABLE IF NOT EXISTS wnc_rooms (
    prefix      TEXT NOT NULL,          -- not part of the id, or "app" would list the rooms of "app2", too
    id          TEXT NOT NULL,
    data        BLOB NOT NULL,          -- JSON as Node writes it
    expires_ms  INTEGER NOT NULL,       -- epoch milliseconds; from then on the row counts as absent
    PRIMARY KEY (prefix, id)
) STRICT;

CREATE TABLE IF NOT EXISTS wnc_messages (
    number      INTEGER PRIMARY KEY AUTOINCREMENT,
    prefix      TEXT NOT NULL,
    room_id     TEXT NOT NULL,
    data        BLOB NOT NULL,
    expires_ms  INTEGER NOT NULL        -- of the whole chat: the same in all its rows
) STRICT;

CREATE INDEX IF NOT EXISTS wnc_messages_of_room ON wnc_messages (prefix, room_id, number);
"""

_LOCKED = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
_CANNOT_SERVE_NOW = {sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_READONLY}


class Database:
    """One connection to the file, opened when it is first used.

    The tasks of a store share it, and what one of them has not committed the others would see. So they take turns: for
    a transaction, and for a single statement, too. A turn, and the end of other connections' writes, is each waited for
    as long as `operation_timeout`.
    """

    def __init__(self, path: str, settings: StoreSettings, clock: Clock, lifecycle: Lifecycle) -> None:
        self._path = path
        self._prefix = settings.key_prefix
        self._timeout = settings.operation_timeout.total_seconds()
        self._clock = clock
        self._lifecycle = lifecycle
        self._turn = asyncio.Lock()
        self._connection: aiosqlite.Connection | None = None

    def values(self, room_id: str = "", **more: object) -> dict[str, Any]:
        """Return the values that statements name: :prefix, :id, :now (ask for them when it is your turn), and more."""
        return {"prefix": self._prefix, "id": room_id, "now": self._clock.now_ms(), **more}

    @asynccontextmanager
    async def connection(self) -> AsyncGenerator[aiosqlite.Connection]:
        """Take a turn on the connection, for a single statement.

        Raises:
            StoreClosedError: the store was closed.
            StoreUnavailableError: the file can't be used now. Nothing was written.
            StoreError: it is no database of ours.
        """
        try:
            async with asyncio.timeout(self._timeout):
                await self._turn.acquire()
        except TimeoutError as error:
            raise StoreTimeoutError(f"{self._path} was in use by this store for all of operation_timeout") from error
        try:
            self._lifecycle.ensure_open()  # it may have been closed while this one waited
            yield await self._opened()
        except sqlite3.Error as error:
            raise self._translated(error) from error
        finally:
            self._turn.release()

    @asynccontextmanager
    async def transaction(self) -> AsyncGenerator[aiosqlite.Connection]:
        """Take a turn on the connection, for statements that happen together or, if anything is raised, not at all."""
        async with self.connection() as db:
            try:
                # Locks out other connections' writes at once: what is read from here on holds until the commit.
                await run(db, "BEGIN IMMEDIATE")
                yield db
                await run(db, "COMMIT")
            except BaseException:
                # After a cancellation, too, even a second one right here: the connection's thread works in the order
                # in which it was told, so the next turn's BEGIN comes after this. Does nothing if COMMIT went through.
                await db.rollback()
                raise

    async def close(self) -> None:
        """Close the connection when the turn that is being taken ends."""
        async with self._turn:
            if self._connection is not None:
                await self._connection.close()
                self._connection = None

    async def _opened(self) -> aiosqlite.Connection:
        if self._connection is None:
            # `timeout` is SQLite's busy_timeout; without an isolation_level Python begins no transactions by itself.
            db = await aiosqlite.connect(self._path, timeout=self._timeout, isolation_level=None)
            try:
                # With a write-ahead log, readers and a writer do not wait for each other. The file stays in that mode,
                # so a refusal because another connection is at the file just now does no harm.
                with suppress(sqlite3.OperationalError):
                    await run(db, "PRAGMA journal_mode = WAL")
                await db.executescript(SCHEMA)
            except BaseException:
                await db.close()
                raise
            self._connection = db
        return self._connection

    def _translated(self, error: sqlite3.Error) -> StoreError:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # the rest says more than is needed here
        if code in _LOCKED:
            return StoreTimeoutError(f"{self._path} was locked by another connection for all of operation_timeout")
        if code in _CANNOT_SERVE_NOW:
            return StoreUnavailableError(f"{self._path} can't be used: {error}; check folder, permissions and disk")
        return StoreError(f"SQLite refused the operation on {self._path}: {error}")


async def run(db: aiosqlite.Connection, sql: str, values: Mapping[str, object] | None = None) -> list[Any]:
    """Run a statement to its end and return its rows."""
    return list(await db.execute_fetchall(sql, values))


def remaining(rows: Sequence[tuple[bytes, int]], now_ms: int) -> timedelta | None:
    """Return what is left of the TTL, given the (data, expires_ms) that were found."""
    if not rows:
        return None
    _, expires_ms = rows[0]
    return timedelta.max if expires_ms == NEVER else (expires_ms - now_ms) * MILLISECOND
