"""The database file: its schema, its connection, and the translation of SQLite errors."""

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
"""The `expires_ms` of rows that never expire: SQLite's largest integer, so that `expires_ms > :now` holds."""

SCHEMA = """
PRAGMA synchronous = NORMAL;            -- a power failure may lose the last commits, but never corrupts the file

CREATE TABLE IF NOT EXISTS wnc_rooms (
    prefix      TEXT NOT NULL,          -- separate from the id, so that "app" does not list the rooms of "app2"
    id          TEXT NOT NULL,
    data        BLOB NOT NULL,          -- JSON as the Node app writes it
    expires_ms  INTEGER NOT NULL,       -- epoch milliseconds; later the row counts as absent
    PRIMARY KEY (prefix, id)
) STRICT;

CREATE TABLE IF NOT EXISTS wnc_messages (
    number      INTEGER PRIMARY KEY AUTOINCREMENT,
    prefix      TEXT NOT NULL,
    room_id     TEXT NOT NULL,
    data        BLOB NOT NULL,
    expires_ms  INTEGER NOT NULL        -- expiry of the whole chat, the same in all its rows
) STRICT;

CREATE INDEX IF NOT EXISTS wnc_messages_of_room ON wnc_messages (prefix, room_id, number);
"""

_LOCKED = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
_UNAVAILABLE = {sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_READONLY}


class Database:
    """One connection to the file, opened on first use.

    All tasks of a store share the connection, so each would see the uncommitted writes of the others. A lock gives one
    task at a time access, for a transaction or for a single statement. `operation_timeout` limits the wait for this
    lock, and separately the wait for the write lock of other connections.
    """

    def __init__(self, path: str, settings: StoreSettings, clock: Clock, lifecycle: Lifecycle) -> None:
        self._path = path
        self._prefix = settings.key_prefix
        self._timeout = settings.operation_timeout.total_seconds()
        self._clock = clock
        self._lifecycle = lifecycle
        self._lock = asyncio.Lock()
        self._opening: asyncio.Task[aiosqlite.Connection] | None = None

    def values(self, room_id: str = "", **more: object) -> dict[str, Any]:
        """Return the named parameters of a statement: prefix, id, now and others.

        Call it while holding the connection, because the wait for it takes time.
        """
        return {"prefix": self._prefix, "id": room_id, "now": self._clock.now_ms(), **more}

    @asynccontextmanager
    async def connection(self) -> AsyncGenerator[aiosqlite.Connection]:
        """Lock the connection for a single statement.

        Raises:
            StoreClosedError: The store is closed.
            StoreTimeoutError: The lock was not available within `operation_timeout`. Nothing was written.
            StoreUnavailableError: The file is not accessible. Nothing was written.
            StoreError: SQLite rejected the statement, for example because the file is not a SQLite database.
        """
        try:
            async with asyncio.timeout(self._timeout):
                await self._lock.acquire()
        except TimeoutError as error:
            message = f"other operations of this store used {self._path} for longer than operation_timeout"
            raise StoreTimeoutError(message) from error
        try:
            self._lifecycle.ensure_open()  # it may have been closed during the wait
            yield await self._open()
        except sqlite3.Error as error:
            raise self._translate(error) from error
        finally:
            self._lock.release()

    @asynccontextmanager
    async def transaction(self) -> AsyncGenerator[aiosqlite.Connection]:
        """Lock the connection for a transaction, which is rolled back if the block raises."""
        async with self.connection() as db:
            try:
                # IMMEDIATE takes the write lock now: no other connection writes between our reads and the commit.
                await run(db, "BEGIN IMMEDIATE")
                yield db
                await run(db, "COMMIT")
            except BaseException:
                # This also handles a cancellation, even a second one during the rollback: the connection's thread
                # runs statements in order, so the next BEGIN follows the rollback. It has no effect after COMMIT.
                await db.rollback()
                raise

    async def close(self) -> None:
        """Close the connection after the operation that holds the lock."""
        async with self._lock:
            if self._opening is not None:
                with suppress(sqlite3.Error):  # the file could not be opened
                    db = await asyncio.shield(self._opening)
                    await db.close()
                self._opening = None

    async def _open(self) -> aiosqlite.Connection:
        if self._opening is None:
            # A separate task, because the thread that opens the file continues when the caller is cancelled.
            self._opening = asyncio.create_task(self._connect())
        try:
            return await asyncio.shield(self._opening)
        except Exception:
            self._opening = None
            raise

    async def _connect(self) -> aiosqlite.Connection:
        # `timeout` is SQLite's busy_timeout. Without an isolation_level, Python starts no implicit transactions.
        db = await aiosqlite.connect(self._path, timeout=self._timeout, isolation_level=None)
        try:
            # With a write-ahead log, readers and a writer do not block each other. The mode is stored in the file.
            # If another connection prevents the switch, a later connection makes it.
            with suppress(sqlite3.OperationalError):
                await run(db, "PRAGMA journal_mode = WAL")
            await db.executescript(SCHEMA)
        except BaseException:
            await db.close()
            raise
        return db

    def _translate(self, error: sqlite3.Error) -> StoreError:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # the primary result code
        if code in _LOCKED:
            return StoreTimeoutError(f"another connection locked {self._path} for longer than operation_timeout")
        if code in _UNAVAILABLE:
            return StoreUnavailableError(
                f"cannot access {self._path}: {error}; check its folder, its permissions and the disk"
            )
        return StoreError(f"SQLite rejected the operation on {self._path}: {error}")


async def run(db: aiosqlite.Connection, sql: str, values: Mapping[str, object] | None = None) -> list[Any]:
    """Run a statement and return its rows."""
    return list(await db.execute_fetchall(sql, values))


def remaining(rows: Sequence[tuple[bytes, int]], now_ms: int) -> timedelta | None:
    """Return the remaining TTL of (data, expires_ms) rows, or None if there are none."""
    if not rows:
        return None
    _, expires_ms = rows[0]
    return timedelta.max if expires_ms == NEVER else (expires_ms - now_ms) * MILLISECOND
