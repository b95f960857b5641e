"""What the contract does not ask for: the file, its URL, other processes, a database that can't be used."""

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

import pytest

from wnc_store import (
    Backend,
    ChatMessage,
    ConfigurationError,
    ManualClock,
    Room,
    StoreClosedError,
    StoreError,
    StoreSettings,
    StoreTimeoutError,
    StoreUnavailableError,
    SystemClock,
    User,
    open_store,
)
from wnc_store_sqlite import SqliteStore, open_sqlite

P = ParamSpec("P")

MESSAGE = ChatMessage(room_id="A3X9K2", user_id="host", user_name="Host", message="text")
IMPATIENT = StoreSettings(operation_timeout=timedelta(milliseconds=200))
PATIENT = StoreSettings(operation_timeout=timedelta(minutes=1))

JOIN_20_TIMES = """
import asyncio, sys
from wnc_store import User, open_store

async def join(url, name):
    async with open_store(url) as store:
        for number in range(20):
            await store.rooms.add_user_to_room("A3X9K2", User(id=f"{name}-{number}", name=name))

asyncio.run(join(*sys.argv[1:]))
"""


def in_a_loop(test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """Run an async test without a pytest plugin."""

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


@in_a_loop
async def test_the_url_names_the_file(tmp_path: Path) -> None:
    """open_store finds this backend by the scheme; the URL is the path of the file, percent-encoded where need be."""
    async with open_store(f"sqlite://{tmp_path}/watch%20party.db") as store:
        await store.ping()
    assert isinstance(store, SqliteStore)
    assert (tmp_path / "watch party.db").exists()


@pytest.mark.parametrize("rest", ["", "/", "rooms.db", "host/rooms.db", "/folder/", "/rooms.db?mode=ro", "/rooms.db#1"])
def test_a_wrong_url_is_refused(rest: str) -> None:
    """A URL that is more or less than an absolute path is a ConfigurationError that shows the right form."""
    with pytest.raises(ConfigurationError, match=r"sqlite:///var/lib/app/rooms\.db"):
        open_sqlite(f"sqlite://{rest}", StoreSettings(), SystemClock())


def test_opening_touches_nothing(path: Path) -> None:
    """No file is made before the store is used."""
    backend: Backend = open_sqlite
    backend(f"sqlite://{path}", StoreSettings(), SystemClock())
    assert not path.exists()


@in_a_loop
async def test_data_survives_reopening(path: Path) -> None:
    """What one store wrote, a later one on the same file reads, and the TTLs went on meanwhile."""
    clock = ManualClock()
    async with SqliteStore(path, clock=clock) as store:
        await store.rooms.create_room(room())
        await store.chat.add_message(MESSAGE)
    clock.advance(timedelta(hours=23))
    async with SqliteStore(path, clock=clock) as store:
        assert await store.rooms.room_ttl("A3X9K2") == timedelta(hours=1)
        assert await store.chat.get_messages("A3X9K2") == [MESSAGE]


@in_a_loop
async def test_prefixes_are_apart(path: Path) -> None:
    """Stores of different key prefixes share a file and no data, even if one prefix begins with the other."""
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


@in_a_loop
async def test_the_sweep_frees_expired_chats(path: Path) -> None:
    """sweep_active_rooms removes the rows of expired chats, too, and counts rooms only."""
    clock = ManualClock()
    async with SqliteStore(path, clock=clock) as store:
        await store.chat.add_message(MESSAGE)
        clock.advance(timedelta(hours=24))
        assert await store.rooms.sweep_active_rooms() == 0
    with closing(sqlite3.connect(path)) as other:
        assert other.execute("SELECT count(*) FROM wnc_messages").fetchone() == (0,)


@in_a_loop
async def test_a_row_may_never_expire(path: Path) -> None:
    """A room that another program left without an end lives, and its TTL is timedelta.max."""
    async with SqliteStore(path) as store:
        await store.rooms.create_room(room())
        with closing(sqlite3.connect(path)) as other, other:
            other.execute("UPDATE wnc_rooms SET expires_ms = 9223372036854775807")
        assert await store.rooms.room_exists("A3X9K2") is True
        assert await store.rooms.room_ttl("A3X9K2") == timedelta.max


@in_a_loop
async def test_processes_join_at_the_same_moment(path: Path) -> None:
    """Users who join one room through several processes are all in it."""
    async with SqliteStore(path) as store:
        await store.rooms.create_room(room())
        command = [sys.executable, "-c", JOIN_20_TIMES, f"sqlite://{path}"]
        processes = [subprocess.Popen([*command, name]) for name in ("first", "second", "third")]  # noqa: ASYNC220, S603 - our own arguments
        assert [process.wait(60) for process in processes] == [0, 0, 0]
        found = await store.rooms.get_room("A3X9K2")
        assert found is not None
        assert len({user.id for user in found.users}) == 61
        assert found.rev == 61


def is_locked(path: Path) -> bool:
    """Return whether a connection that reads, and waits for nobody, is refused."""
    with closing(sqlite3.connect(path, timeout=0)) as witness:
        try:
            witness.execute("SELECT * FROM sqlite_master")
        except sqlite3.OperationalError:
            return True
    return False


@in_a_loop
async def test_opening_waits_for_another_program(path: Path) -> None:
    """A store that is first used while another program is at the file waits until that is done."""
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN")
        other.execute("SELECT * FROM sqlite_master").fetchall()
        async with SqliteStore(path, PATIENT) as store:
            creation = asyncio.ensure_future(store.rooms.create_room(room()))
            # Who wants to write and waits for those who read keeps new ones from reading.
            while not creation.done() and not is_locked(path):  # noqa: ASYNC110 - another thread's
                await asyncio.sleep(0.01)
            assert not creation.done()
            other.execute("ROLLBACK")
            await creation


@in_a_loop
async def test_a_locked_database_is_unavailable(path: Path) -> None:
    """While another program is writing, reads work and writes raise StoreTimeoutError with the path; later they work.

    A StoreTimeoutError is a StoreUnavailableError. Those who wait for their turn behind the first one get it as well.
    """
    async with SqliteStore(path, IMPATIENT) as store, SqliteStore(path, PATIENT) as patient:
        await patient.rooms.create_room(room())
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            writes = [store.rooms.create_room(room("other")) for _ in range(3)]
            errors = await asyncio.gather(*writes, return_exceptions=True)
            assert {type(error) for error in errors} == {StoreTimeoutError}
            assert all(str(path) in str(error) for error in errors)
            assert await patient.rooms.room_exists("A3X9K2") is True
        while not await patient.rooms.room_exists("other"):
            with suppress(StoreTimeoutError):  # a slow machine may take longer than this store waits
                await store.rooms.create_room(room("other"))


@in_a_loop
async def test_closing_lets_one_finish(path: Path) -> None:
    """Closing a store waits for the operation that is running; those that wait behind it raise StoreClosedError."""
    store = SqliteStore(path)
    await store.ping()
    creations = [asyncio.ensure_future(store.rooms.create_room(room(f"room-{number}"))) for number in range(5)]
    await asyncio.sleep(0)
    await store.aclose()
    results = await asyncio.gather(*creations, return_exceptions=True)
    assert [type(result) for result in results] == [type(None)] + [StoreClosedError] * 4


@pytest.fixture(name="text_file")
def _text_file(tmp_path: Path) -> Path:
    path = tmp_path / "notes.txt"
    path.write_text("not a database " * 100)
    return path


@in_a_loop
async def test_a_file_of_something_else_is_refused(text_file: Path) -> None:
    """A file that is no SQLite database is a StoreError that names it and keeps its cause; no thread is left behind."""
    threads = set(threading.enumerate())
    async with SqliteStore(text_file) as store:
        with pytest.raises(StoreError, match=re.escape(str(text_file))) as caught:
            await store.ping()
        for thread in set(threading.enumerate()) - threads:
            thread.join(30)  # it may be about to end
        assert set(threading.enumerate()) <= threads
    assert isinstance(caught.value.__cause__, sqlite3.DatabaseError)


@in_a_loop
async def test_a_missing_folder_is_unavailable(path: Path) -> None:
    """A path in a folder that is not there is a StoreUnavailableError, and works as soon as the folder is there."""
    folder = path.parent / "later"
    async with SqliteStore(folder / "rooms.db") as store:
        with pytest.raises(StoreUnavailableError, match=r"later/rooms\.db"):
            await store.ping()
        folder.mkdir()
        await store.ping()
