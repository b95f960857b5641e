"""The database file: its schema, its transactions, and the translation of SQLite errors."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import TypeVar

from wnc_store import OutcomeUnknownError, StoreError, StoreTimeoutError, StoreUnavailableError
from wnc_store.base import KeyValueDatabase, KeyValueEntry, KeyValueTransaction, WorkerThread

T = TypeVar("T")

_SCHEMA = """
PRAGMA synchronous = NORMAL;    -- a power failure may lose the last commits, but in WAL mode never corrupts the file
CREATE TABLE IF NOT EXISTS wnc_entries (
    space       TEXT NOT NULL,  -- the kind of the entry, and the key prefix of the store
    key         TEXT NOT NULL,
    value       BLOB NOT NULL,  -- JSON as the Node app writes it
    expires_ms  INTEGER,        -- epoch milliseconds; NULL: never
    PRIMARY KEY (space, key)
) STRICT, WITHOUT ROWID;
"""


class SqliteTransaction:
    """The entries of the file; see `wnc_store.base.KeyValueTransaction`."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._execute = connection.execute

    def get(self, space: str, key: str, /) -> KeyValueEntry | None:
        """Return an entry, or None."""
        row = self._execute("SELECT * FROM wnc_entries WHERE space = ? AND key = ?", (space, key)).fetchone()
        return None if row is None else KeyValueEntry(*row[2:])

    def put(self, space: str, key: str, entry: KeyValueEntry, /) -> None:
        """Insert or replace an entry."""
        self._execute("REPLACE INTO wnc_entries VALUES (?, ?, ?, ?)", (space, key, *entry))

    def delete(self, space: str, key: str, /) -> None:
        """Delete an entry, if it exists."""
        self._execute("DELETE FROM wnc_entries WHERE space = ? AND key = ?", (space, key))

    def scan(self, space: str, after: str, limit: int, /) -> Sequence[tuple[str, KeyValueEntry]]:
        """Return the first entries of a space with a key greater than `after`."""
        sql = "SELECT * FROM wnc_entries WHERE space = ? AND key > ? ORDER BY key LIMIT ?"
        return [(key, KeyValueEntry(*entry)) for _, key, *entry in self._execute(sql, (space, after, limit))]


class SqliteDatabase(KeyValueDatabase):
    """One connection to the file, opened on first use, in its own thread.

    Args:
        path: The path of the file. Its folder must exist.
        timeout: Time that an operation waits for others of this store, and for locks of other connections.
    """

    def __init__(self, path: str, timeout: timedelta) -> None:
        self._path = Path(path).absolute()
        self._thread = WorkerThread(path, timeout)
        self._connection: sqlite3.Connection | None = None
        self._file: tuple[int, ...] = ()  # inode and device of the file that the connection has opened

    async def transact(self, function: Callable[[KeyValueTransaction], T], /, *, writes: bool) -> T:
        """See `KeyValueDatabase.transact`."""
        return await self._thread.run(lambda: self._transact(function, writes=writes))

    def check_close(self) -> None:
        """See `KeyValueDatabase.check_close`."""
        self._thread.check_close()

    async def aclose(self) -> None:
        """See `KeyValueDatabase.aclose`."""
        await self._thread.aclose(self._disconnect)

    async def disconnect(self) -> None:
        """Interrupt the running operation and close the connection, as a failure does. The next operation fails."""
        if (connection := self._connection) is not None:
            with suppress(sqlite3.ProgrammingError):  # it is closed already
                connection.interrupt()
            await self._thread.run(connection.close)

    def _transact(self, function: Callable[[KeyValueTransaction], T], *, writes: bool) -> T:
        is_sent = False
        try:
            connection = self._connection = self._connection or self._connect()
            connection.execute(f"PRAGMA busy_timeout = {self._thread.remaining() // timedelta(milliseconds=1)}")
            # IMMEDIATE takes the write lock now: no other connection writes between our reads and the commit.
            connection.execute("BEGIN IMMEDIATE" if writes else "BEGIN")
            try:
                result = function(SqliteTransaction(connection))
                if self._path.stat()[1:3] != self._file:
                    raise FileNotFoundError("it was replaced, and the next operation opens the new file")
                is_sent = writes
                connection.execute("COMMIT")
            finally:
                connection.rollback()  # without effect after COMMIT
        except (sqlite3.Error, OSError) as error:
            self._disconnect()  # whatever state the connection is in
            raise self._translate(error, is_sent=is_sent) from error
        return result

    def _connect(self) -> sqlite3.Connection:
        seconds = self._thread.remaining().total_seconds()
        connection = sqlite3.connect(self._path, seconds, isolation_level=None)  # autocommit
        try:
            with suppress(sqlite3.OperationalError):  # another connection is opening the file
                connection.execute("PRAGMA journal_mode = WAL")  # so that readers do not wait for writers
            connection.executescript(_SCHEMA)
            self._file = self._path.stat()[1:3]
        except BaseException:
            connection.close()
            raise
        return connection

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._connection = None

    def _translate(self, error: Exception, *, is_sent: bool) -> StoreError:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # the primary result code
        if code == sqlite3.SQLITE_BUSY:
            return StoreTimeoutError(f"another connection locked {self._path} for longer than operation_timeout")
        if is_sent:  # the error may be that of a disk that has stored the commit
            return OutcomeUnknownError(f"a commit to {self._path} may have failed: {error}; read before you repeat it")
        transient = (sqlite3.OperationalError, sqlite3.ProgrammingError, OSError)  # the second: it was closed
        if isinstance(error, transient) and code != sqlite3.SQLITE_ERROR:
            return StoreUnavailableError(f"cannot access {self._path}: {error}; check its folder, permissions and disk")
        return StoreError(f"SQLite rejected the operation on {self._path}: {error}")
