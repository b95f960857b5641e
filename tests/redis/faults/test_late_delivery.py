"""Requests that a network delivers long after their connection broke."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import pytest

from acl import permit
from chaos.outcomes import outcome_of
from chaos.server import PATIENT, DurableServer, admin
from proxy import Cut, proxy_to
from wnc_store import OutcomeUnknownError, Resync, Snapshot, Store, open_store
from wnc_store_contract.factories import message, room, user
from wnc_store_redis import RedisStore
from wnc_store_redis.room_storage import IndexPage
from wnc_store_redis.transport.multiplexer import MultiplexedConnection

Step = Callable[[Any], Awaitable[object]]


async def _greet(store: Store) -> None:
    await store.chat.add_message(message(0, "A"))


async def _clear(store: Store) -> None:
    await store.chat.clear_messages("A")


async def _talk(store: Store) -> None:
    for number in range(2, 27):
        await store.chat.add_message(message(number, "A"))


async def _begin_the_next_room(store: Store) -> None:
    await store.rooms.delete_room("A")
    await store.rooms.create_room(room("A"))


async def _delete(store: Store) -> None:
    await store.rooms.delete_room("A")


async def _restore_the_first(store: Any) -> None:
    await store.restore(Snapshot(room("A"), timedelta(hours=1)), replace=True)


async def _acquire(store: Store) -> None:
    await store.connections.acquire("A", "c")


async def _release(store: Store) -> None:
    await store.connections.release("A", "c")


async def _add(store: Store) -> None:
    await store.chat.add_message(message(1, "A"))


async def _join(store: Store) -> None:
    await store.rooms.add_user_to_room("A", user("guest"))


async def _create(store: Store) -> None:
    await store.rooms.create_room(room("A"))


_HURRIED = PATIENT.model_copy(update={"operation_timeout": timedelta(seconds=0.2)})

LATE: dict[str, tuple[Step, Step, Step]] = {
    "add, then clear": (_greet, _add, _clear),
    "add, then 25 messages": (_greet, _add, _talk),
    "add, then the next room": (_greet, _add, _begin_the_next_room),
    "join, then restore": (_restore_the_first, _join, _restore_the_first),
    "create, then delete": (_greet, _create, _delete),
    "acquire, then release": (_greet, _acquire, _release),
    "release, then acquire": (_acquire, _release, _acquire),
}
"""The preparation, the write whose first attempt is late, and what happens between its retry and its late delivery."""


async def _state(store: Store, client: Any) -> Any:
    found = await store.rooms.get_room("A")
    messages = await store.chat.get_messages("A")
    leases = await client.zrange("connections:A", 0, -1, withscores=True)
    return found, messages, leases, (await store.rate_limits.peek("A")).remaining


@pytest.mark.parametrize("name", LATE)
async def test_an_attempt_that_was_repeated_never_runs_late(server: DurableServer, name: str) -> None:
    """After the retry of a write has returned, the late first attempt does not run."""
    prepare, write, after = LATE[name]
    async with (
        proxy_to(server.port) as proxy,
        RedisStore.from_url(proxy.url, PATIENT) as store,
        open_store(server.url) as other,
        admin(server.url) as client,
    ):
        await prepare(other)
        await store.rooms.get_room("A")
        await store.chat.get_messages("A")
        await store.chat.add_message(message(0, "before"))
        proxy.arm(Cut("request", 0, "reset", late=True))
        await outcome_of(write(store))
        assert not proxy.cut_pending
        await after(other)
        before = await _state(other, client)
        assert await proxy.deliver() == [b""]
        assert await _state(other, client) == before


@pytest.mark.parametrize("word", ["+client|info", "+client|kill"])
async def test_a_write_is_not_repeated_without_permission_to_end_its_connection(
    server: DurableServer, word: str
) -> None:
    """If the user may not identify or kill its connections, a write without a reply is not sent again."""
    url = permit(server, without=word)
    async with (
        proxy_to(server.port) as proxy,
        RedisStore.from_url(url.replace(f":{server.port}/", f":{proxy.port}/"), PATIENT) as store,
    ):
        await _acquire(store)
        proxy.arm(Cut("request", 0, "reset"))
        outcome = await outcome_of(store.connections.release("A", "c"))
        assert (outcome.kind, await store.connections.count("A")) == ("unknown", 1)
        assert "CLIENT KILL" in str(outcome.error)


async def _hit(store: Store) -> None:
    await store.rate_limits.hit("A", 10)


async def _reset(store: Store) -> None:
    await store.rate_limits.reset("A")


async def _sweep(store: Store) -> None:
    rooms: Any = store.rooms
    (outcome,) = await rooms._storage.prune_index([IndexPage(b"", [b"A"])])
    if isinstance(outcome, Exception):
        raise outcome


async def _publish(store: Store) -> None:
    await store.events.publish("A", Resync(room_id="A"))


ONCE: dict[str, tuple[Step, Step]] = {
    "delete": (_delete, _create),
    "clear": (_clear, _add),
    "reset": (_reset, _hit),
    "hit": (_hit, _add),
    "sweep": (_sweep, _create),
    "publish": (_publish, _create),
}
"""Writes that are sent once, and what happens between their failure and their late delivery."""


@pytest.mark.parametrize("name", ONCE)
async def test_an_unknown_outcome_is_final(server: DurableServer, name: str) -> None:
    """A write whose outcome is unknown does not run after the time that the error states."""
    write, after = ONCE[name]
    async with (
        proxy_to(server.port) as proxy,
        RedisStore.from_url(proxy.url, _HURRIED) as store,
        open_store(server.url) as other,
        admin(server.url) as client,
    ):
        await write(other)  # the server now has the script
        await store.ping()
        if name == "sweep":
            await client.sadd("active-rooms", "A")
        proxy.arm(Cut("request", 0, "reset", late=True))
        with pytest.raises(OutcomeUnknownError) as caught:
            await write(store)
        assert caught.value.final_after is not None
        await after(other)
        before = await _state(other, client)
        await asyncio.sleep(caught.value.final_after.total_seconds())
        assert [reply[:9] for reply in await proxy.deliver()] == [b"-EXPIRED "]
        assert await _state(other, client) == before


async def test_a_clock_that_was_set_does_not_fail_writes(server: DurableServer) -> None:
    """If the server's clock was set forward, the next write is refused, sent again and done once."""
    async with RedisStore.from_url(server.url, PATIENT) as store:
        await store.ping()
        router: Any = store._commands._router
        connection: MultiplexedConnection = router._node
        connection._session = connection._session._replace(clock=0)
        await _hit(store)
        hit = await store.rate_limits.hit("A")
        assert hit.limit - hit.remaining == 11
        assert store.statistics()["retries"] == 1


async def test_the_clock_is_queried_again(server: DurableServer) -> None:
    """A connection that writes queries the server's time again after a minute."""
    async with RedisStore.from_url(server.url, PATIENT) as store:
        await store.ping()
        router: Any = store._commands._router
        connection: MultiplexedConnection = router._node
        connection._session, connection._clock_due = connection._session._replace(clock=9e9), 0
        await _hit(store)
        await store.ping()
        assert abs(connection._session.clock + asyncio.get_running_loop().time() - time.time()) < 3600
