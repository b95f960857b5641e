"""Writes whose connection is lost: the outcome agrees with the rows, and nothing is written twice."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta

import asyncpg
import pytest

from loop_clock import advance_loop
from postgres_database import Connection, connected
from proxy import SIDES, Cut, Proxy, Side, proxy_to
from waiting import wait_until
from wnc_store import OutcomeUnknownError, Store, StoreSettings, StoreUnavailableError, open_store
from wnc_store_contract.factories import message, room, user
from wnc_store_postgres import PostgresStore
from wnc_store_postgres.transport.retry import MAX_LOST

PATIENT = StoreSettings(operation_timeout=timedelta(seconds=60), publish_changes=True)
_STRIDE = 97
"""A prime, so that different writes are cut at different bytes."""

Write = Callable[[Store], Awaitable[object]]
WRITES: dict[str, tuple[Write, str]] = {
    "create": (lambda store: store.rooms.create_room(room("A")), "SELECT count(*) FROM wnc_store_rooms"),
    "message": (lambda store: store.chat.add_message(message(1, "B")), "SELECT count(*) FROM wnc_store_messages"),
    "hit": (lambda store: store.rate_limits.hit("k"), "SELECT coalesce(sum(count::int), 0) FROM wnc_store_hits"),
    "acquire": (lambda store: store.connections.acquire("k", "c"), "SELECT count(*) FROM wnc_store_leases"),
}


def behind(proxied: Proxy, url: str) -> str:
    """Return the URL of a database behind a proxy."""
    host, _, database = url.rpartition("/")
    return f"{host.rpartition(':')[0]}:{proxied.port}/{database}?pool_size=1&sslmode=disable"


def port_of(url: str) -> int:
    """Return the port of a URL."""
    return int(url.rpartition("/")[0].rpartition(":")[2])


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("name", WRITES)
async def test_a_write_is_done_once_after_a_cut(url: str, plain: Connection, name: str, side: Side) -> None:
    """A write whose connection is cut at any byte, of the request or the reply, returns and has written once."""
    write, count = WRITES[name]
    async with proxy_to(port_of(url)) as proxied:
        async with open_store(behind(proxied, url), settings=PATIENT) as store:
            await store.rate_limits.hit("warm")
            after, happened = 0, True
            while happened:
                await plain.execute("DELETE FROM wnc_store_rooms; DELETE FROM wnc_store_active")
                await plain.execute("DELETE FROM wnc_store_messages; DELETE FROM wnc_store_chats")
                await plain.execute("DELETE FROM wnc_store_leases; DELETE FROM wnc_store_hits")
                proxied.arm(Cut(side, after))
                await write(store)
                happened = not proxied.cut_pending
                proxied.disarm()
                assert await plain.fetchval(count) == 1, after
                after += _STRIDE
            assert after > _STRIDE  # at least one cut happened


async def test_a_number_is_exact_after_a_lost_reply(url: str) -> None:
    """A hit whose reply is lost returns the count of its transaction, although others have counted since."""
    async with proxy_to(port_of(url)) as proxied, open_store(url) as other:
        async with open_store(behind(proxied, url), settings=PATIENT) as store:
            await store.rate_limits.hit("k")
            proxied.arm(Cut("reply", 0))
            decision = await store.rate_limits.hit("k", 10)
            await other.rate_limits.hit("k")
    assert decision.remaining == StoreSettings().rate_limit_max - 11


async def test_a_write_that_arrives_late_is_refused(url: str, plain: Connection) -> None:
    """A request that the network delivers after its outcome was determined cannot commit any more."""
    async with proxy_to(port_of(url)) as proxied:
        async with open_store(behind(proxied, url), settings=PATIENT) as store:
            await store.rate_limits.hit("k")
            proxied.arm(Cut("request", 20, late=True))
            await store.rate_limits.hit("k")
            await proxied.deliver()
            assert await plain.fetchval("SELECT count FROM wnc_store_hits WHERE key = 'k'") == "2"


async def test_a_delete_that_arrives_late_deletes_no_chat(url: str) -> None:
    """A late delete of a room that the store has deleted since leaves a newer chat with its id alone."""
    async with proxy_to(port_of(url)) as proxied:
        async with open_store(behind(proxied, url), settings=PATIENT) as store:
            await store.rooms.delete_room("A")
            await store.rooms.create_room(room("A"))
            proxied.arm(Cut("request", 20, late=True))
            assert await store.rooms.delete_room("A")
            await store.chat.add_message(message(1, "A"))
            await proxied.deliver()
            assert [one.id for one in await store.chat.get_messages("A")] == [message(1, "A").id]


async def test_an_unreachable_server_leaves_the_outcome_open(url: str) -> None:
    """If the server stays unreachable after a request was sent, the write raises OutcomeUnknownError."""
    async with proxy_to(port_of(url)) as proxied:
        async with PostgresStore(behind(proxied, url), PATIENT) as store:
            await store.rate_limits.hit("k")
            store._executor.timeout = 0.5
            proxied.close_hole()
            with pytest.raises(OutcomeUnknownError) as caught:
                await store.rate_limits.hit("k")
            assert caught.value.final_after is not None
            proxied.cut_all()


async def test_an_unknown_outcome_is_final_after_a_while(url: str, plain: Connection) -> None:
    """A request that arrives after `final_after` changes nothing, also if the store could not ask about its outcome."""
    async with proxy_to(port_of(url)) as proxied:
        async with PostgresStore(behind(proxied, url), PATIENT) as store:
            await store.rate_limits.hit("k")
            store._executor.timeout = 0.5
            proxied.arm(Cut("request", 20, late=True, stay_down=True))
            with pytest.raises(OutcomeUnknownError) as caught:
                await store.rate_limits.hit("k")
            assert caught.value.final_after == timedelta(seconds=1)
            now = await plain.fetchval("SELECT clock_timestamp()")

            async def is_final() -> bool:
                return await plain.fetchval("SELECT clock_timestamp() > $1", now + timedelta(seconds=1))

            await wait_until(is_final)
            assert b"WNC03" in (await proxied.deliver())[0]
            assert await plain.fetchval("SELECT count FROM wnc_store_hits WHERE key = 'k'") == "1"


async def test_a_server_whose_clock_was_set_forward(url: str, plain: Connection) -> None:
    """If the server rejects a write as late because its clock has changed, the store reads the clock and repeats it."""
    async with PostgresStore(url, PATIENT) as store:
        await store.rate_limits.hit("k")
        store._executor._clock._difference -= 3600
        await store.rate_limits.hit("k")
        assert await plain.fetchval("SELECT count FROM wnc_store_hits WHERE key = 'k'") == "2"
        assert store.statistics()["retries"] == 1


async def test_the_outcome_is_found_when_the_server_returns(url: str) -> None:
    """While connections are accepted and closed, as by a proxy of a server that restarts, the outcome stays open."""
    async with proxy_to(port_of(url)) as proxied:
        async with open_store(behind(proxied, url), settings=PATIENT) as store:
            await store.rate_limits.hit("k")
            proxied.arm(Cut("reply", 0, stay_down=True))
            hit = asyncio.ensure_future(store.rate_limits.hit("k"))
            enough = proxied.connections + 2 * MAX_LOST
            await wait_until(lambda: hit.done() or proxied.connections >= enough)
            proxied.disarm()
            assert (await hit).remaining == StoreSettings().rate_limit_max - 2


async def test_a_cancelled_fence_is_repeated(url: str, plain: Connection) -> None:
    """If an administrator cancels the statement that determines the outcome of a write, the store sends it again."""
    running = (
        "SELECT pid, query_start FROM pg_stat_activity "
        "WHERE state = 'active' AND query LIKE '%wnc_store_' || $1 || '_v1(%'"
    )
    async with proxy_to(port_of(url)) as proxied, connected(url) as admin:
        async with open_store(behind(proxied, url), settings=PATIENT) as store:
            await store.rate_limits.hit("k")
            async with plain.transaction():
                await plain.execute("SELECT FROM wnc_store_writers FOR UPDATE")
                hit = asyncio.ensure_future(store.rate_limits.hit("k"))
                await wait_until(lambda: admin.fetchrow(running, "hit"))
                proxied.cut_all()
                await wait_until(lambda: admin.fetchrow(running, "fence"))
                fence = await admin.fetchrow(running, "fence")
                assert fence is not None
                await admin.execute("SELECT pg_cancel_backend($1)", fence["pid"])

                async def is_repeated() -> bool:
                    return hit.done() or await admin.fetchrow(running, "fence") not in {None, fence}

                await wait_until(is_repeated)
            assert (await hit).remaining == StoreSettings().rate_limit_max - 2


async def test_a_write_that_waited_for_a_connection_has_time(url: str) -> None:
    """A write that gets its connection late has most of the remaining time, so that its connection is not given up."""
    timeout = timedelta(hours=1)
    async with PostgresStore(f"{url}?pool_size=1", StoreSettings(operation_timeout=timeout)) as store:
        await store.ping()
        pool, loop = store._executor._pool, asyncio.get_running_loop()
        held = await pool.acquire(loop.time() + timeout.total_seconds())
        hit = asyncio.ensure_future(store.rate_limits.hit("k"))
        for _ in range(10):
            await asyncio.sleep(0)
        advance_loop(0.9 * timeout.total_seconds())
        await pool.release(held)
        await hit
        assert store.statistics()["connections"] == 1


async def test_a_burst_uses_as_many_writers_as_connections(url: str, plain: Connection) -> None:
    """Concurrent writes leave at most one row of a writer for each connection, also on a pool of the caller."""
    count = "SELECT count(*) FROM wnc_store_writers"
    async with open_store(f"{url}?pool_size=2", settings=PATIENT) as store:
        await asyncio.gather(*(store.rate_limits.hit(f"k{number}") for number in range(30)))
        assert await plain.fetchval(count) <= 2
    assert await plain.fetchval(count) == 0
    async with asyncpg.create_pool(url, min_size=2, max_size=2) as pool, PostgresStore(pool, PATIENT) as store:
        await asyncio.gather(*(store.rate_limits.hit(f"k{number}") for number in range(30)))
        assert await plain.fetchval(count) <= 2


async def test_writers_that_were_removed(url: str, plain: Connection) -> None:
    """If all writers of a store are removed, as by a restored backup, the next write is repeated once."""
    async with open_store(url, settings=PATIENT) as store:
        assert isinstance(store, PostgresStore)
        await asyncio.gather(*(store.rate_limits.hit(f"k{number}") for number in range(20)))
        await plain.execute("DELETE FROM wnc_store_writers")
        before = store.statistics()["retries"]
        await store.rate_limits.hit("k")
        assert store.statistics()["retries"] == before + 1


async def test_a_lock_that_is_held_too_long(url: str, plain: Connection) -> None:
    """A write that waits for a lock until its time-out raises an error and does not happen later."""
    settings = StoreSettings(operation_timeout=timedelta(seconds=5))
    async with open_store(url, settings=settings) as store:
        await store.rooms.create_room(room("A"))
        async with plain.transaction():
            await plain.execute("SELECT FROM wnc_store_rooms FOR UPDATE")
            with pytest.raises(StoreUnavailableError) as caught:
                await store.rooms.add_user_to_room("A", user("guest"))
        assert not isinstance(caught.value, OutcomeUnknownError)
        found = await store.rooms.get_room("A")
        assert found is not None
        assert [one.id for one in found.users] == ["host"]


async def test_terminated_sessions_are_replaced(url: str, plain: Connection) -> None:
    """A write during which an administrator terminates the sessions is done once."""
    terminate = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'victim'"
    counts: list[int] = []
    async with open_store(f"{url}?application_name=victim", settings=PATIENT) as store:
        for _ in range(60):
            hit = asyncio.ensure_future(store.rate_limits.hit("k"))
            await plain.execute(terminate)
            counts.append(StoreSettings().rate_limit_max - (await hit).remaining)
    assert counts == [*range(1, 61)]


async def test_the_connection_of_a_cancelled_call_is_used_again(url: str) -> None:
    """Calls that are cancelled at any moment leave no connection behind: the only one serves the next call."""
    async with open_store(f"{url}?pool_size=1", settings=PATIENT) as store:
        await store.ping()
        for steps in range(30):
            call = asyncio.ensure_future(store.rate_limits.hit("k"))
            for _ in range(steps):
                await asyncio.sleep(0)
            call.cancel()
            await asyncio.gather(call, return_exceptions=True)
        await store.ping()
