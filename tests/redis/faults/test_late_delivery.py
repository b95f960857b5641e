"""Requests that a network delivers long after their connection broke."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import pytest

from acl import permit
from chaos.outcomes import outcome_of
from chaos.server import PATIENT, DurableServer, admin
from proxy import Cut, proxy_to
from wnc_store import Snapshot, Store, open_store
from wnc_store_contract.factories import message, room, user
from wnc_store_redis import RedisStore

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
    return found, messages, leases, await store.rate_limits.peek("A")


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
