"""Tests beyond the contract: the file, its URL, other processes, and files that are not usable."""

from __future__ import annotations

import asyncio
import functools
import re
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Coroutine
from contextlib import closing, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any, ParamSpec
from unittest.mock import Mock

import pytest

from wnc_store import (
    Backend,
    ChatMessage,
    ConfigurationError,
    ManualClock,
    OutcomeUnknownError,
    Room,
    StoreError,
    StoreSettings,
    StoreTimeoutError,
    StoreUnavailableError,
    SystemClock,
    User,
    open_store,
)
from wnc_store.base import KeyValueTransaction, WorkerThread
from wnc_store_sqlite import SqliteStore, open_sqlite
from wnc_store_sqlite._database import SqliteTransaction

P = ParamSpec("P")

MESSAGE = ChatMessage(room_id="A3X9K2", user_id="host", user_name="Host", message="text")
SHORT_TIMEOUT = StoreSettings(operation_timeout=timedelta(milliseconds=200))
LONG_TIMEOUT = StoreSettings(operation_timeout=timedelta(minutes=1))

JOIN_20_TIMES = """
import asyncio, sys
from wnc_store import User, open_store

async def join(url, name):
    async with open_store(url) as store:
        for number in range(20):
            await store.rooms.add_user_to_room("A3X9K2", User(id=f"{name}-{number}", name=name))

asyncio.run(join(*sys.argv[1:]))
"""


def async_test(test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """Make a synchronous test of an async function, without a pytest plugin."""

    @functools.wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        asyncio.run(test(*args, **kwargs))

    return run


def room(room_id: str = "A3X9K2") -> Room:
    """Return a new room."""
    return Room.hosted_by(User(id="host", name="Host"), room_id=room_id)


@pytest.fixture(name="path")
def _path(tmp_path: Path) -> Path:
    return tmp_path / "rooms.db"


@async_test
async def test_the_url_names_the_file(tmp_path: Path) -> None:
    """open_store finds this backend by the URL scheme and decodes the percent-encoded path."""
    async with open_store(f"sqlite://{tmp_path}/watch%20party.db") as store:
        await store.ping()
    assert isinstance(store, SqliteStore)
    assert (tmp_path / "watch party.db").exists()


@pytest.mark.parametrize(
    "rest", ["", "/", "rooms.db", "host/rooms.db", "/folder/", "/rooms.db?mode=ro", "/rooms.db#1", "/a%00", "/a\0b"]
)
def test_an_invalid_url_is_rejected(rest: str) -> None:
    """A URL that is not exactly an absolute path raises ConfigurationError with an example."""
    with pytest.raises(ConfigurationError, match=r"sqlite:///var/lib/app/rooms\.db"):
        open_sqlite(f"sqlite://{rest}", StoreSettings(), SystemClock())


def test_opening_creates_no_file(path: Path) -> None:
    """The file is created on the first use of the store."""
    backend: Backend = open_sqlite
    backend(f"sqlite://{path}", StoreSettings(), SystemClock())
    assert not path.exists()


@async_test
async def test_data_survives_reopening(path: Path) -> None:
    """A later store on the same file reads the data, and the TTLs continue while no store is open."""
    clock = ManualClock()
    async with SqliteStore(path, clock=clock) as store:
        await store.rooms.create_room(room())
        await store.chat.add_message(MESSAGE)
    clock.advance(timedelta(hours=23))
    async with SqliteStore(path, clock=clock) as store:
        assert await store.rooms.room_ttl("A3X9K2") == timedelta(hours=1)
        assert await store.chat.get_messages("A3X9K2") == [MESSAGE]


@async_test
async def test_prefixes_separate_data(path: Path) -> None:
    """Stores with different key prefixes on one file share no data, even if one prefix starts with the other."""
    clock = ManualClock()
    async with (
        SqliteStore(path, StoreSettings(key_prefix="app"), clock=clock) as app,
        SqliteStore(path, StoreSettings(key_prefix="app2"), clock=clock) as app2,
    ):
        await app2.rooms.create_room(room())
        await app2.chat.add_message(MESSAGE)
        assert [room_id async for room_id in app.rooms.active_room_ids()] == []
        await app.rooms.create_room(room())
        await app.rooms.delete_room("A3X9K2")
        assert await app2.rooms.room_exists("A3X9K2") is True
        assert await app2.chat.get_messages("A3X9K2") == [MESSAGE]
        clock.advance(timedelta(hours=24))
        assert (await app.rooms.sweep_active_rooms(), await app2.rooms.sweep_active_rooms()) == (0, 1)


@async_test
async def test_the_sweep_removes_expired_chats(path: Path) -> None:
    """sweep_active_rooms also removes the rows of expired chats, but counts only rooms."""
    clock = ManualClock()
    async with SqliteStore(path, clock=clock) as store:
        await store.chat.add_message(MESSAGE)
        clock.advance(timedelta(hours=24))
        assert await store.rooms.sweep_active_rooms() == 0
    with closing(sqlite3.connect(path)) as other:
        assert other.execute("SELECT count(*) FROM wnc_entries").fetchone() == (0,)


@async_test
async def test_a_room_without_an_expiry_is_read(path: Path) -> None:
    """A room that another program stored without an expiry is live, and its TTL is timedelta.max."""
    async with SqliteStore(path) as store:
        await store.rooms.create_room(room())
        with closing(sqlite3.connect(path)) as other, other:
            other.execute("UPDATE wnc_entries SET expires_ms = NULL")
        assert await store.rooms.room_exists("A3X9K2") is True
        assert await store.rooms.room_ttl("A3X9K2") == timedelta.max


@async_test
async def test_concurrent_joins_of_processes_are_all_kept(path: Path) -> None:
    """Users who join a room concurrently through several processes are all in it afterwards."""
    async with SqliteStore(path) as store:
        await store.rooms.create_room(room())
        command = [sys.executable, "-c", JOIN_20_TIMES, f"sqlite://{path}"]
        processes = [subprocess.Popen([*command, name]) for name in ("first", "second", "third")]  # noqa: ASYNC220, S603 - our own arguments
        assert [process.wait(60) for process in processes] == [0, 0, 0]
        stored = await store.rooms.get_room("A3X9K2")
        assert stored is not None
        assert len({user.id for user in stored.users}) == 61
        assert stored.rev == 61


def is_locked(path: Path) -> bool:
    """Return whether a read without a busy timeout fails."""
    with closing(sqlite3.connect(path, timeout=0)) as other:
        try:
            other.execute("SELECT * FROM sqlite_master")
        except sqlite3.OperationalError:
            return True
    return False


@async_test
async def test_opening_waits_for_another_program(path: Path) -> None:
    """The first use of a store waits for the transaction of another program."""
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN")
        other.execute("SELECT * FROM sqlite_master").fetchall()
        async with SqliteStore(path, LONG_TIMEOUT) as store:
            creation = asyncio.ensure_future(store.rooms.create_room(room()))
            # A pending writer blocks new readers, so the file is locked once the store waits.
            while not creation.done() and not is_locked(path):  # noqa: ASYNC110 - the lock is another thread's
                await asyncio.sleep(0.01)
            assert not creation.done()
            other.execute("ROLLBACK")
            await creation


@async_test
async def test_a_locked_file_raises_timeout(path: Path) -> None:
    """While another program holds the write lock, reads succeed and writes raise StoreTimeoutError with the path.

    Writes that wait for the store's own lock raise it too. Writes succeed after the other program has finished.
    """
    async with SqliteStore(path, SHORT_TIMEOUT) as store, SqliteStore(path, LONG_TIMEOUT) as other_store:
        await other_store.rooms.create_room(room())
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            writes = [store.rooms.create_room(room("other")) for _ in range(3)]
            errors = await asyncio.gather(*writes, return_exceptions=True)
            assert {type(error) for error in errors} == {StoreTimeoutError}
            assert all(str(path) in str(error) for error in errors)
            assert await other_store.rooms.room_exists("A3X9K2") is True
        while not await other_store.rooms.room_exists("other"):
            with suppress(StoreTimeoutError):  # the timeout is short for a slow machine
                await store.rooms.create_room(room("other"))


@async_test
async def test_closing_waits_for_a_file_that_is_being_opened(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Closing a store waits for the thread that opens the file, even if the call that began it was cancelled."""
    is_opening, may_open, connect = threading.Event(), threading.Event(), sqlite3.connect

    def connect_late(*args: Any, **options: Any) -> sqlite3.Connection:
        is_opening.set()
        may_open.wait(30)
        return connect(*args, **options)

    monkeypatch.setattr(sqlite3, "connect", connect_late)
    store = SqliteStore(path)
    call = asyncio.ensure_future(store.ping())
    assert await asyncio.to_thread(is_opening.wait, 30)
    call.cancel()
    await asyncio.wait([call])
    closing = asyncio.ensure_future(store.aclose())
    for _ in range(10):
        await asyncio.sleep(0)
    was_waiting = not closing.done()
    may_open.set()
    await closing
    assert was_waiting


@pytest.fixture(name="text_file")
def _text_file(tmp_path: Path) -> Path:
    path = tmp_path / "notes.txt"
    path.write_text("not a database " * 100)
    return path


@async_test
async def test_another_file_format_is_rejected(text_file: Path) -> None:
    """A file that is not a SQLite database raises StoreError with path and cause; a close ends the thread."""
    threads = set(threading.enumerate())
    async with SqliteStore(text_file) as store:
        with pytest.raises(StoreError, match=re.escape(str(text_file))) as caught:
            await store.ping()
    assert set(threading.enumerate()) <= threads
    assert isinstance(caught.value.__cause__, sqlite3.DatabaseError)


@async_test
async def test_a_missing_folder_is_unavailable(path: Path) -> None:
    """A missing folder raises StoreUnavailableError until the folder exists."""
    folder = path.parent / "later"
    async with SqliteStore(folder / "rooms.db") as store:
        with pytest.raises(StoreUnavailableError, match=r"later/rooms\.db"):
            await store.ping()
        folder.mkdir()
        await store.ping()


@pytest.mark.parametrize("is_replaced", [False, True])
@async_test
async def test_a_file_that_is_deleted_is_noticed(
    path: Path, monkeypatch: pytest.MonkeyPatch, is_replaced: bool
) -> None:
    """After the file is deleted or replaced, one operation raises StoreUnavailableError, the next uses the new file."""
    monkeypatch.chdir(path.parent)
    async with SqliteStore(path.name) as store:
        await store.rooms.create_room(room())
        monkeypatch.chdir("/")
        await store.rooms.add_user_to_room("A3X9K2", User(id="user", name="User"))
        for file in path.parent.glob("rooms.db*"):
            file.unlink()
        if is_replaced:
            async with SqliteStore(path) as other:
                await other.ping()
        with pytest.raises(StoreUnavailableError, match=re.escape(str(path))):
            await store.rooms.delete_room("A3X9K2")
        assert not await store.rooms.room_exists("A3X9K2")
        await store.rooms.create_room(room())
        async with SqliteStore(path) as other:
            assert await other.rooms.room_exists("A3X9K2")


class FaultyConnection(sqlite3.Connection):
    """A connection to a disk that reports an error after it has stored a commit."""

    def execute(self, sql: str, *parameters: Any) -> sqlite3.Cursor:
        """Execute a statement."""
        cursor = super().execute(sql, *parameters)
        if sql == "COMMIT":
            error = sqlite3.OperationalError("disk I/O error")
            error.sqlite_errorcode = sqlite3.SQLITE_IOERR_FSYNC
            raise error
        return cursor


@async_test
async def test_a_commit_that_fails_may_have_been_stored(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error of the disk at the commit of a write raises OutcomeUnknownError, and at that of a read another error."""
    with monkeypatch.context() as patch:
        patch.setattr(sqlite3, "connect", functools.partial(sqlite3.connect, factory=FaultyConnection))
        store = SqliteStore(path)
        with pytest.raises(OutcomeUnknownError, match=re.escape(str(path))):
            await store.rooms.create_room(room())
        with pytest.raises(StoreUnavailableError, match="disk I/O error") as caught:
            await store.ping()
        assert not isinstance(caught.value, OutcomeUnknownError)
    assert await store.rooms.room_exists("A3X9K2")
    await store.aclose()


@async_test
async def test_the_settings_of_the_connection(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No power failure corrupts the file (WAL), and neither opening the file nor a transaction exceeds the deadline."""
    monkeypatch.setattr(WorkerThread, "remaining", Mock(return_value=timedelta(milliseconds=7)))
    connect = Mock(wraps=sqlite3.connect)
    monkeypatch.setattr(sqlite3, "connect", connect)

    names = ("journal_mode", "synchronous", "busy_timeout")

    def read(transaction: KeyValueTransaction) -> list[object]:
        assert isinstance(transaction, SqliteTransaction)
        return [transaction._execute(f"PRAGMA {name}").fetchone()[0] for name in names]  # pyright: ignore[reportPrivateUsage]

    async with SqliteStore(path) as store:
        assert await store.database.transact(read, writes=False) == ["wal", 1, 7]
    connect.assert_called_once_with(path, 0.007, isolation_level=None)
