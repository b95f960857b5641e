"""Unusual circumstances: a second event loop, a fork, eager tasks, settings of a role, and rooms that nobody sweeps."""

from __future__ import annotations

import asyncio
import sys
from datetime import timedelta

import asyncpg
import pytest

from eager_tasks import use_eager_tasks
from every_operation import refusals
from postgres_database import Connection
from processes import run
from waiting import wait_until
from wnc_store import AppEvent, ConfigurationError, Store, StoreError, StoreSettings
from wnc_store_contract.factories import message, room
from wnc_store_postgres import PostgresStore

PATIENT = StoreSettings(operation_timeout=timedelta(seconds=60))

FORKING = """
import asyncio, os, sys, warnings
from wnc_store import AppEvent, Room, StoreError, StoreSettings, User, open_store

warnings.simplefilter("ignore", DeprecationWarning)  # of fork, which is tested here
URL, SETTINGS = sys.argv[1], StoreSettings(operation_timeout=60)

async def child(store, reading):
    await reading.__aexit__(None, None, None)  # as the garbage collector of the child would
    for call in (store.rooms.add_user_to_room("A", User(id="child", name="child")), store.chat.get_messages("A")):
        try:
            async with asyncio.timeout(60):
                await call
        except StoreError as error:
            assert "fork" in str(error) or "event loop" in str(error), error
        else:
            return 8
    await store.aclose()
    async with open_store(URL, settings=SETTINGS) as own:
        assert (await own.rooms.get_room("A")).host_id == "u"
    return 7

async def main():
    async with open_store(URL, settings=SETTINGS) as store:
        await store.rooms.create_room(Room(id="A", host_id="u", host_name="u"))
        reading = store.events.subscribe("A")
        events = await reading.__aenter__()
        joining = asyncio.ensure_future(store.rooms.add_user_to_room("A", User(id="u", name="u")))
        await asyncio.sleep(0)  # the child inherits a change in progress, too
        pid = os.fork()
        if not pid:
            asyncio._set_running_loop(None)
            code = 9
            try:
                code = asyncio.new_event_loop().run_until_complete(child(store, reading))
            finally:
                os._exit(code)
        await joining
        for number in range(10):
            await store.rate_limits.hit("k")
        _, status = os.waitpid(pid, 0)
        assert os.waitstatus_to_exitcode(status) == 7, status
        await store.events.publish("A", AppEvent(room_id="A", name="last"))
        async with asyncio.timeout(60):
            assert await anext(events) == AppEvent(room_id="A", name="last")
        await reading.__aexit__(None, None, None)

asyncio.run(main())
"""


async def test_a_store_is_rejected_in_a_forked_child(url: str) -> None:
    """In a forked child the parent's store raises a clear error, a new store works, and the parent is unaffected."""
    done = await asyncio.to_thread(run, sys.executable, "-c", FORKING, url)
    assert done.stderr == ""


async def test_a_second_event_loop_is_rejected(store: Store) -> None:
    """A store that is used or closed on another loop raises a StoreError, and works on its own loop."""
    await store.ping()
    async with store.events.subscribe("A") as events:
        for call in (store.rooms.create_room(room("A")), store.rooms.get_room("A"), store.aclose()):
            with pytest.raises(StoreError, match="event loop"):
                await asyncio.to_thread(asyncio.run, call)
        await store.events.publish("A", AppEvent(room_id="A", name="still open"))
        assert isinstance(await anext(events), AppEvent)
        assert await store.rooms.get_room("A") is None


@pytest.mark.parametrize("level", ["repeatable read", "serializable"])
async def test_another_isolation_level_is_rejected(url: str, plain: Connection, level: str) -> None:
    """A pool whose transactions have another isolation level is refused, because its snapshot precedes the lock."""
    settings = {"default_transaction_isolation": level}
    async with asyncpg.create_pool(url, min_size=1, max_size=1, server_settings=settings) as pool:
        async with PostgresStore(pool) as store:
            with pytest.raises(ConfigurationError, match="read committed"):
                await store.rooms.create_room(room("A"))
    assert await plain.fetchval("SELECT count(*) FROM wnc_store_rooms") == 0


async def test_the_isolation_level_of_own_connections_is_set(url: str) -> None:
    """The store's own connections use READ COMMITTED, whatever the URL or the role says."""
    async with PostgresStore(f"{url}?default_transaction_isolation=serializable") as store:
        await store.rooms.create_room(room("A"))


async def test_the_lock_timeout_of_a_role_does_not_apply(url: str, plain: Connection) -> None:
    """A write waits for a lock until the deadline of the store, also if the role gives up after a millisecond."""
    async with PostgresStore(f"{url}?lock_timeout=1&idle_in_transaction_session_timeout=1", PATIENT) as store:
        await store.rate_limits.hit("k")
        async with plain.transaction():
            await plain.execute("SELECT FROM wnc_store_hits FOR UPDATE")
            hit = asyncio.ensure_future(store.rate_limits.hit("k"))
            await wait_until(lambda: hit.done() or _is_waiting(plain))
        await hit


async def _is_waiting(plain: Connection) -> bool:
    blocked = "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE pg_backend_pid() = ANY (pg_blocking_pids(pid)))"
    return bool(await plain.fetchval(blocked))


async def test_every_operation_works_with_eager_tasks(url: str) -> None:
    """On an event loop that runs the first step of a task at once, every operation works."""
    use_eager_tasks()
    async with PostgresStore(url, PATIENT.model_copy(update={"publish_changes": True})) as store:
        assert await refusals(store) == []
        hits = await asyncio.gather(*(store.rate_limits.hit("k") for _ in range(20)))
        assert len({hit.remaining for hit in hits}) == 20


async def test_old_rows_are_purged(url: str, plain: Connection) -> None:
    """A sweep deletes the rows of records that expired before this hour, and no others. The index counts as swept."""
    async with PostgresStore(url, PATIENT) as store:
        await _check_purge(store, plain)


async def _check_purge(store: Store, plain: Connection) -> None:
    for name in ("OLD", "LIVE", "NEVER"):
        await store.rooms.create_room(room(name))
        await store.chat.add_message(message(1, name))
        await store.connections.acquire(name, "c")
        await store.rate_limits.hit(name)
    for table, column in (("rooms", "room_id"), ("chats", "room_id"), ("leases", "key"), ("hits", "key")):
        await plain.execute(
            f"UPDATE wnc_store_{table} SET expires_at = now() - interval '2 hours' WHERE {column} = 'OLD'"  # noqa: S608
        )
    await plain.execute("UPDATE wnc_store_rooms SET expires_at = NULL WHERE room_id = 'NEVER'")
    await plain.execute("UPDATE wnc_store_writers SET created_at = now() - interval '2 days'")
    assert await store.rooms.sweep_active_rooms() == 1
    for table, column in (("rooms", "room_id"), ("messages", "room_id"), ("leases", "key"), ("hits", "key")):
        rows = await plain.fetch(f"SELECT {column} FROM wnc_store_{table} ORDER BY 1")  # noqa: S608
        assert [row[0] for row in rows] == ["LIVE", "NEVER"], table
    assert await plain.fetchval("SELECT count(*) FROM wnc_store_writers") == 0
    await store.rooms.create_room(room("AFTER"))  # with a writer that the server has forgotten
