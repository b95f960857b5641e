"""Messages whose reply was lost: a retry determines the outcome and never adds the message twice."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from chaos.outcomes import outcome_of
from chaos.server import PATIENT, DurableServer
from proxy import Cut, Proxy, Side, proxy_to
from waiting import wait_until
from wnc_store import Store, open_store
from wnc_store_contract.factories import message, room
from wnc_store_redis import RedisStore

Step = Callable[[Store], Awaitable[object]]


async def _clear(other: Store) -> None:
    await other.chat.clear_messages("A")


async def _clear_and_add_an_older_one(other: Store) -> None:
    await other.chat.clear_messages("A")
    await other.chat.add_message(message(0, "A"))


async def _remove(other: Store) -> None:
    assert await other.chat.remove_message("A", "m1") is True


async def _begin_the_next_room(other: Store) -> None:
    await other.rooms.delete_room("A")
    await other.rooms.create_room(room("A"))


async def _begin_the_next_room_with_an_older_one(other: Store) -> None:
    await _begin_the_next_room(other)
    await other.chat.add_message(message(0, "A"))


async def _trim(other: Store) -> None:
    for number in range(2, 30):
        await other.chat.add_message(message(number, "A"))


@pytest.mark.parametrize(
    "step",
    [_remove, _clear, _clear_and_add_an_older_one, _begin_the_next_room, _begin_the_next_room_with_an_older_one, _trim],
    ids=lambda step: step.__name__.strip("_"),
)
@pytest.mark.parametrize("known", [True, False], ids=["known", "unknown"])
async def test_a_removed_message_is_not_added_again(  # noqa: PLR0913, PLR0917 - fixtures and parameters
    server: DurableServer, proxy: Proxy, store: RedisStore, other: Store, step: Step, known: bool
) -> None:
    """A message whose reply was lost is not added again after another client has removed it."""
    await other.rooms.create_room(room("A"))
    await other.chat.add_message(message(0, "A"))
    await store.chat.add_message(message(0, "before"))
    if known:
        await store.chat.get_messages("A")
    proxy.arm(Cut("reply", 0, "reset", stay_down=True))
    adding = asyncio.ensure_future(outcome_of(store.chat.add_message(message(1, "A"))))
    await wait_until(lambda: not proxy.cut_pending)
    await step(other)
    proxy.disarm()
    outcome = await adding
    assert store.statistics()["retries"] > 0
    assert outcome.kind == "unknown"
    assert [entry["id"] for entry in server.ledger().chats["A"] if entry].count("m1") == 1


@pytest.mark.parametrize("side", ["request", "reply"])
async def test_an_added_message_is_never_reported_as_failed(server: DurableServer, side: Side) -> None:
    """A message that was added is never reported as failed, wherever its retry is cut."""
    async with open_store(server.url) as direct:
        await direct.chat.add_message(message(0, "before"))
        kinds: dict[int, str] = {}
        for after in range(0, 900, 45):
            async with proxy_to(server.port) as proxy, RedisStore.from_url(proxy.url, PATIENT) as store:
                await store.chat.get_messages(f"A{after}")
                proxy.arm(Cut("reply", 0, "reset", then=Cut(side, after, "reset", stay_down=True)))
                adding = asyncio.ensure_future(outcome_of(store.chat.add_message(message(1, f"A{after}"))))
                while not (adding.done() or proxy.refusing):  # noqa: ASYNC110 - the proxy sets no event
                    await asyncio.sleep(0.001)
                assert store.statistics()["retries"] > 0
                await store.aclose()
                kinds[after] = (await adding).kind
        counts = [len(server.ledger().chats[f"A{after}"]) for after in kinds]
    assert counts == [1] * len(kinds)
    assert set(kinds.values()) == {"done", "unknown"}, kinds


async def test_a_retry_adds_a_message_once(server: DurableServer, proxy: Proxy, store: RedisStore) -> None:
    """A retry adds the message if the first attempt was lost before it ran, and does nothing if it ran."""
    await store.chat.add_message(message(0, "A"))
    for number, cut in enumerate((Cut("request", 20), Cut("reply", 0), Cut("reply", 0, "reset")), 1):
        proxy.arm(cut)
        await store.chat.add_message(message(number, "A"))
        assert store.statistics()["retries"] >= number
    assert [one.id for one in await store.chat.get_messages("A")] == [f"m{number}" for number in range(4)]
    assert len(server.ledger().chats["A"]) == 4


async def test_a_damaged_entry_leaves_the_outcome_unknown(proxy: Proxy, store: RedisStore, client: Any) -> None:
    """A retry recognizes its message by its bytes, so a damaged entry with the same id leaves the outcome unknown."""
    damaged = '{"id":"m1","roomId":"A","userId":"u","userName":"U","message":"x","timestamp":"yesterday"}'
    await store.chat.add_message(message(0, "A"))
    await client.rpush("chat:A", damaged)
    proxy.arm(Cut("reply", 0, "reset"))
    assert (await outcome_of(store.chat.add_message(message(1, "A")))).kind == "unknown"
    assert await client.llen("chat:A") == 2
    await store.chat.add_message(message(1, "A"))
    proxy.arm(Cut("reply", 0, "reset"))
    await store.chat.add_message(message(1, "A"))
    assert store.statistics()["retries"] >= 2
    assert [one.id for one in await store.chat.get_messages("A")] == ["m0", "m1"]


@pytest.mark.parametrize("message_id", ["a-b", "a.b", "a:b", "_", "-", "a" * 128, "A-z_0.9:-"])
async def test_a_message_is_recognized_by_any_id(server: DurableServer, message_id: str) -> None:
    """A message is recognized by its id, with any characters in it."""
    said: Any = message(1, "A", id=message_id)
    like: Any = message(1, "A", id=message_id.replace(".", "x").replace("-", "") + "x"[: len(message_id) < 128])
    async with open_store(server.url) as store, open_store(server.url) as other:
        await other.chat.add_message(like)
        await store.chat.add_message(said)
        await other.chat.add_message(said)
        assert await store.chat.get_messages("A") == ([like, said] if like.id != said.id else [said])
