"""A network that cuts, delays, slices and swallows: callers are told the truth, in time, and work goes on."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest
from redis.asyncio import Redis

from chaos.load import load
from chaos.outcomes import comparable, outcome_in_time, outcome_of
from chaos.server import DurableServer, admin, quiet
from chaos.worker import SETTINGS
from chaos.writes import WRITES, Write
from proxy import Cut, Proxy, Side, proxy_to
from waiting import until
from wnc_store import OutcomeUnknownError, Store, StoreSettings, StoreUnavailableError, open_store
from wnc_store_contract.samples import message, room, user
from wnc_store_redis import RedisStore

SIDES: Sequence[Side] = ("request", "reply")
HURRIED = StoreSettings(operation_timeout=timedelta(seconds=0.3))


async def test_cuts_at_random_bytes_break_no_promise(server: DurableServer, *, soak: bool) -> None:
    """Connections that are cut at random bytes again and again leave every caller with the truth."""
    async with proxy_to(server.port) as proxy:
        proxy.cut_at_random(mean_bytes=20_000, seed=1)

        chance = random.Random(1)

        async def cut() -> None:
            proxy.arm(Cut(chance.choice(SIDES), chance.randrange(2000), "reset"))

        done = await load(server, cut, url=proxy.url, seconds=20 if soak else 1)
        proxy.disarm()
    assert done.problems == []
    assert proxy.connections > 5


async def test_a_deletion_among_others_acknowledges_nothing_that_did_not_happen(server: DurableServer) -> None:
    """Changes that were to go with the last leave are unknown if, after a loss, the room is found gone: by whom?"""
    async with proxy_to(server.port) as proxy, open_store(proxy.url) as store, open_store(server.url) as other:
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
    assert [type(one) for one in told] == [OutcomeUnknownError, OutcomeUnknownError, type(None)]


async def test_killed_clients_break_no_promise(server: DurableServer, *, soak: bool) -> None:
    """Connections that the server kills under load leave every caller with the truth."""

    async def kill() -> None:
        async with admin(server.url) as client:
            await client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")

    done = await load(server, kill, url=server.url, seconds=20 if soak else 1, every=0.02)
    assert done.problems == []
    assert done.report.operations["ok"] > 50


@pytest.mark.parametrize("attribute", ["delay", "slice_bytes"])
async def test_slow_and_sliced_replies_are_whole(server: DurableServer, attribute: str) -> None:
    """Every operation gives what it should over a network that delays each chunk, or brings bytes one by one."""
    async with proxy_to(server.port) as proxy, open_store(proxy.url) as store, open_store(server.url) as direct:
        setattr(proxy, attribute, 0.002 if attribute == "delay" else 1)
        for write in WRITES:
            name = write.name.replace(" ", "-")
            results: list[Any] = []
            for one, suffix in ((direct, "fast"), (store, "slow")):
                if write.prepare:
                    await write.prepare(one, f"{name}.{suffix}")
                results.append(await outcome_of(write.call(one, f"{name}.{suffix}")))
            assert results[0] == results[1], write.name


async def test_a_message_that_was_cleared_does_not_come_back(server: DurableServer) -> None:
    """A message whose reply was lost is not appended once more after somebody has cleared the chat."""
    async with proxy_to(server.port) as proxy, open_store(proxy.url) as store, open_store(server.url) as other:
        await store.chat.add_message(message(0, "before"))
        proxy.arm(Cut("reply", 0, "reset", stay_down=True))
        adding = asyncio.ensure_future(outcome_of(store.chat.add_message(message(1, "A"))))
        await until(lambda: other.chat.get_messages("A"))
        await other.chat.clear_messages("A")
        proxy.disarm()
        outcome = await adding
    assert outcome.kind in {"done", "unknown"}
    assert [entry and entry["id"] for entry in server.ledger().chats["A"]] == ["m1", None]


async def test_a_room_that_was_deleted_does_not_come_back(server: DurableServer) -> None:
    """A room whose creation was not answered is not created once more after somebody has deleted it."""
    async with proxy_to(server.port) as proxy, open_store(proxy.url) as store, open_store(server.url) as other:
        await store.rooms.create_room(room("before"))
        proxy.arm(Cut("reply", 0, "reset", stay_down=True))
        creating = asyncio.ensure_future(outcome_of(store.rooms.create_room(room("A"))))
        await until(lambda: other.rooms.delete_room("A"))
        proxy.disarm()
        outcome = await creating
    assert outcome.kind in {"done", "unknown"}
    assert [state and state["rev"] for state in server.ledger().rooms["A"]] == [1, None]


async def swallowed(proxy: Proxy, store: RedisStore, callers: int) -> list[BaseException | None]:
    """Return how calls ended, of all kinds of writes, while the network swallowed everything."""
    proxy.close_hole()
    calls = [WRITES[number % len(WRITES)].call(store, f"swallowed.{number}") for number in range(callers)]
    async with asyncio.timeout(5 * 0.3 + 10):
        ended = await asyncio.gather(*calls, return_exceptions=True)
    return [one if isinstance(one, BaseException) else None for one in ended]


@pytest.mark.parametrize("connected", [False, True], ids=["new", "connected"])
async def test_every_call_into_a_black_hole_ends(server: DurableServer, connected: bool) -> None:
    """All of 500 callers are told in time that the server does not answer, and the store works when it does again."""
    async with proxy_to(server.port) as proxy, RedisStore.from_url(proxy.url, HURRIED) as store:
        if connected:
            await store.ping()
        ended = await swallowed(proxy, store, 500)
        assert {isinstance(error, StoreUnavailableError) for error in ended} == {True}
        proxy.open_hole()
        assert (await outcome_in_time(lambda: store.chat.add_message(message(1, "after")))).kind in {"done", "unknown"}
        await store.chat.add_message(message(1, "after"))
        assert [one.id for one in await store.chat.get_messages("after")] == ["m1"]


async def test_reads_into_a_black_hole_end(server: DurableServer) -> None:
    """Reads, listings, the ping and the look at the server's health end, too."""
    async with proxy_to(server.port) as proxy, RedisStore.from_url(proxy.url, HURRIED) as store:
        await store.rooms.create_room(room("A"))
        proxy.close_hole()

        async def listed() -> list[str]:
            return [one async for one in store.rooms.active_room_ids()]

        calls = [
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
        async with asyncio.timeout(10):
            ended = await asyncio.gather(*calls, return_exceptions=True)
            assert not (await store.health()).ok
        assert [one for one in ended if not isinstance(one, StoreUnavailableError)] == []


@pytest.mark.parametrize("write", WRITES, ids=[write.name for write in WRITES])
async def test_a_callers_hidden_retries_do_no_harm(server: DurableServer, write: Any) -> None:
    """A client that would repeat a write by itself when the reply is lost does not: it happens once."""
    async with proxy_to(server.port) as proxy, open_store(server.url) as direct:
        own: Any = Redis(host="127.0.0.1", port=proxy.port)  # redis-py gives it ten retries
        async with own, RedisStore(own, SETTINGS) as store:
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
async def test_a_close_between_two_attempts_leaves_the_outcome_unknown(server: DurableServer, name: str) -> None:
    """A write whose reply was lost is of unknown outcome, where a close keeps the server from being asked again."""
    write = next(one for one in WRITES if one.name == name)
    async with proxy_to(server.port) as proxy, open_store(server.url) as direct:
        await _begin(direct, write)
        store = open_store(proxy.url)
        await write.read(store, "A")
        before = await _state(direct, write)
        proxy.arm(Cut("reply", 0, "reset", stay_down=True))
        call = asyncio.ensure_future(write.call(store, "A"))
        await until(lambda: not proxy.cut_pending)
        await store.aclose()
        assert (await outcome_of(call)).kind == "unknown"
        assert await _state(direct, write) != before


async def _begin(store: Store, write: Write) -> None:
    """Make ready for a write to A; the server knows its script, so that the first reply is that of the write."""
    for name in ("A", "B"):
        if write.prepare:
            await write.prepare(store, name)
    await write.call(store, "B")


async def _state(store: Store, write: Write) -> Any:
    """Return what a write changes."""
    return comparable(await write.read(store, "A"))


@pytest.mark.parametrize("name", ["acquire", "release"])
async def test_a_repetition_that_is_refused_leaves_the_outcome_unknown(server: DurableServer, name: str) -> None:
    """A write whose reply was lost is of unknown outcome, not refused, where the server takes no repetition of it."""
    write = next(one for one in WRITES if one.name == name)
    async with proxy_to(server.port) as proxy, open_store(server.url) as direct, admin(server.url) as client:
        await _begin(direct, write)
        async with open_store(proxy.url, settings=HURRIED) as store:
            await write.read(store, "A")
            before = await _state(direct, write)
            proxy.delay = 0.02  # so that the server takes no more writes before it is asked again
            proxy.arm(Cut("reply", 0, "reset"))
            call = asyncio.ensure_future(write.call(store, "A"))
            await until(lambda: not proxy.cut_pending)
            await client.config_set("min-replicas-to-write", 1)
            assert (await outcome_of(call)).kind == "unknown"
            await client.config_set("min-replicas-to-write", 0)
            assert await _state(direct, write) != before
