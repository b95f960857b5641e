"""A network that cuts, delays, slices or drops traffic."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest
from redis.asyncio import Redis

from chaos.outcomes import comparable, outcome_of
from chaos.server import PATIENT, DurableServer, admin, quiet
from chaos.writes import WRITES, Write
from counting import Counter
from loop_clock import advance_until_done
from proxy import Cut, Proxy, proxy_to
from waiting import wait_until
from wnc_store import OutcomeUnknownError, Store, StoreUnavailableError, open_store
from wnc_store_contract.factories import message, room, user
from wnc_store_redis import RedisStore


async def test_a_batch_with_a_deletion_has_an_unknown_outcome(proxy: Proxy, store: RedisStore, other: Store) -> None:
    """Updates batched with the last leave have an unknown outcome if the reply is lost and the room is gone."""
    await other.rooms.create_room(room("A"))
    await store.rooms.get_room("A")
    await other.rooms.delete_room("A")
    proxy.arm(Cut("request", 0, "reset"))
    told = await asyncio.gather(
        store.rooms.add_user_to_room("A", user("late")),
        store.rooms.remove_user_from_room("A", "host"),
        store.rooms.remove_user_from_room("A", "late"),
        return_exceptions=True,
    )
    assert store.statistics()["retries"] > 0
    assert [type(one) for one in told] == [OutcomeUnknownError, OutcomeUnknownError, type(None)]


@pytest.mark.parametrize("attribute", ["delay", "slice_bytes"])
async def test_delayed_and_sliced_replies(server: DurableServer, attribute: str) -> None:
    """Every operation returns the correct result over a network that delays chunks or sends single bytes."""
    async with (
        proxy_to(server.port) as proxy,
        open_store(proxy.url, settings=PATIENT) as store,
        open_store(server.url, settings=PATIENT) as direct,
    ):
        setattr(proxy, attribute, 0.002 if attribute == "delay" else 1)
        for write in WRITES:
            name = write.name.replace(" ", "-")
            results: list[Any] = []
            for one, suffix in ((direct, "fast"), (store, "slow")):
                if write.prepare:
                    await write.prepare(one, f"{name}.{suffix}")
                results.append(await outcome_of(write.call(one, f"{name}.{suffix}")))
            assert results[0] == results[1], write.name


async def test_a_deleted_room_is_not_created_again(
    server: DurableServer, proxy: Proxy, store: RedisStore, other: Store
) -> None:
    """A room whose create reply was lost is not created again after another client has deleted it."""
    await store.rooms.create_room(room("before"))
    proxy.arm(Cut("reply", 0, "reset", stay_down=True))
    creating = asyncio.ensure_future(outcome_of(store.rooms.create_room(room("A"))))
    await wait_until(lambda: other.rooms.delete_room("A"))
    proxy.disarm()
    outcome = await creating
    assert store.statistics()["retries"] > 0
    assert outcome.kind in {"done", "unknown"}
    assert [state and state["rev"] for state in server.ledger().rooms["A"]] == [1, None]


@pytest.mark.parametrize("connected", [False, True], ids=["new", "connected"])
async def test_every_call_into_a_black_hole_ends(proxy: Proxy, store: RedisStore, connected: bool) -> None:
    """Calls to a silent server fail at their deadline, health reports an error, and the store works again later."""
    if connected:
        await store.ping()
    proxy.close_hole()
    writes = [WRITES[number % len(WRITES)] for number in range(200)]
    calls = [asyncio.ensure_future(write.call(store, f"swallowed.{n}")) for n, write in enumerate(writes)]
    calls += [asyncio.ensure_future(read) for read in _reads(store)]
    health = asyncio.ensure_future(store.health())
    await advance_until_done(*calls, health)
    assert not (await health).ok
    ended = await asyncio.gather(*calls, return_exceptions=True)
    assert {isinstance(one, StoreUnavailableError | OutcomeUnknownError) for one in ended} == {True}
    proxy.open_hole()
    await store.chat.add_message(message(1, "after"))
    assert [one.id for one in await store.chat.get_messages("after")] == ["m1"]


def _reads(store: RedisStore) -> list[Coroutine[Any, Any, Any]]:
    """Return calls that read, list or query the server."""

    async def listed() -> list[str]:
        return [one async for one in store.rooms.active_room_ids()]

    return [
        store.rooms.get_room("A"),
        store.rooms.room_exists("A"),
        store.rooms.room_ttl("A"),
        store.rooms.sweep_active_rooms(),
        store.chat.get_messages("A"),
        store.chat.chat_ttl("A"),
        store.connections.count("A"),
        store.rate_limits.peek("A"),
        store.rate_limits.reset("A"),
        store.ping(),
        listed(),
    ]


@pytest.mark.parametrize("write", WRITES, ids=[write.name for write in WRITES])
async def test_retries_of_a_callers_client_are_disabled(server: DurableServer, write: Any) -> None:
    """A write through a caller's client with its own retries is applied once if its reply is lost."""
    async with proxy_to(server.port) as proxy, open_store(server.url) as direct:
        own: Any = Redis(host="127.0.0.1", port=proxy.port)  # by default, redis-py retries ten times
        async with own, RedisStore(own, PATIENT) as store:
            if write.prepare:
                await write.prepare(direct, "A")
            await write.read(store, "A")
            before = server.ledger().changes(f"{write.key}:A")
            proxy.arm(Cut("reply", 0, "reset"))
            outcome = await outcome_of(write.call(store, "A"))
    async with admin(server.url) as client:
        await direct.aclose()
        await quiet(client)
    steps = server.ledger().changes(f"{write.key}:A") - before
    assert outcome.kind in {"done", "unknown"}
    assert steps == 1 or (write.repeatable and steps > 0) or (outcome.kind == "unknown" and steps == 0)


@pytest.mark.parametrize("name", ["create", "join", "last leave", "message"])
async def test_a_close_before_the_retry_leaves_the_outcome_unknown(server: DurableServer, name: str) -> None:
    """A write whose reply was lost has an unknown outcome if the store is closed before the retry."""
    write = next(one for one in WRITES if one.name == name)
    async with proxy_to(server.port) as proxy, open_store(server.url) as direct:
        await _begin(direct, write)
        store = open_store(proxy.url, settings=PATIENT)
        await write.read(store, "A")
        before = await _state(direct, write)
        proxy.arm(Cut("reply", 0, "reset", stay_down=True))
        call = asyncio.ensure_future(write.call(store, "A"))
        await wait_until(lambda: not proxy.cut_pending)
        await store.aclose()
        assert (await outcome_of(call)).kind == "unknown"
        assert await _state(direct, write) != before


async def _begin(store: Store, write: Write) -> None:
    """Prepare a write to A. The server loads its script, so that the first reply belongs to the write."""
    for name in ("A", "B"):
        if write.prepare:
            await write.prepare(store, name)
    await write.call(store, "B")


async def _state(store: Store, write: Write) -> Any:
    """Return the data that a write changes."""
    return comparable(await write.read(store, "A"))


@pytest.mark.parametrize("name", ["acquire", "release"])
async def test_a_rejected_retry_leaves_the_outcome_unknown(server: DurableServer, name: str) -> None:
    """A write whose reply was lost has an unknown outcome if the server rejects the retry."""
    write = next(one for one in WRITES if one.name == name)
    async with proxy_to(server.port) as proxy, open_store(server.url) as direct, admin(server.url) as client:
        await _begin(direct, write)
        async with RedisStore.from_url(proxy.url, PATIENT) as store:
            await write.read(store, "A")
            before = await _state(direct, write)
            proxy.arm(Cut("reply", 0, "reset", stay_down=True))
            call = asyncio.ensure_future(write.call(store, "A"))
            await wait_until(lambda: not proxy.cut_pending)
            await client.config_set("min-replicas-to-write", 1)
            proxy.disarm()
            await wait_until(lambda: proxy.passed["reply"])
            await advance_until_done(call)
            assert (await outcome_of(call)).kind == "unknown"
            await client.config_set("min-replicas-to-write", 0)
            assert await _state(direct, write) != before


@pytest.mark.parametrize(
    ("name", "command", "count"), [("message", "pexpire", 2), ("join", "set", 2), ("last leave", "sadd", 1)]
)
async def test_a_retry_that_finds_its_write_writes_again(
    server: DurableServer, name: str, command: str, count: int
) -> None:
    """A retry that finds its write applied writes without an effect, because WAIT covers only its own connection."""
    write = next(one for one in WRITES if one.name == name)
    async with proxy_to(server.port) as proxy, open_store(server.url) as direct, admin(server.url) as client:
        await _begin(direct, write)
        async with RedisStore.from_url(proxy.url, PATIENT) as store:
            await write.read(store, "A")
            counter = Counter(client)
            await counter.start()
            proxy.arm(Cut("reply", 0, "reset"))
            await write.call(store, "A")
            assert store.statistics()["retries"] > 0
            assert (await counter.since())[command] == count
