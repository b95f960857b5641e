"""Edits and removals of messages whose reply was lost: a retry determines the outcome, and never applies them twice."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from chaos.outcomes import outcome_of
from counting import Counter
from proxy import Cut, Proxy
from waiting import wait_until
from wnc_store import Store, to_wire
from wnc_store_contract.calls import like
from wnc_store_contract.factories import message
from wnc_store_redis import RedisStore

Step = Callable[[Store], Awaitable[object]]
CUTS = {
    "the request was lost": Cut("request", 20, "reset"),
    "the reply was lost": Cut("reply", 0, "reset"),
}


async def likes(store: Store) -> list[int]:
    """Return the likes of each message of A."""
    return [one.model_extra.get("likes", 0) for one in await store.chat.get_messages("A")]


def edit(store: Store) -> Awaitable[object]:
    """Edit the message m1."""
    return store.chat.edit_message("A", "m1", like)


def remove(store: Store) -> Awaitable[object]:
    """Remove the message m1."""
    return store.chat.remove_message("A", "m1")


async def _edit_again(other: Store) -> None:
    assert await edit(other) is not None


async def _clear_and_add_again(other: Store) -> None:
    await other.chat.clear_messages("A")
    await other.chat.add_message(message(1, "A"))


async def _remove(other: Store) -> None:
    await remove(other)


async def _trim(other: Store) -> None:
    for number in range(10, 40):
        await other.chat.add_message(message(number, "A"))


def cut_next_script(store: RedisStore, proxy: Proxy, cut: Cut) -> None:
    """Arm a cut when the store sends its next script, which follows the read of an edit or removal."""
    commands: Any = store._commands
    call_script = commands.call_script

    def send(*args: Any) -> Any:
        commands.call_script = call_script
        proxy.arm(cut)
        return call_script(*args)

    commands.call_script = send


@pytest.mark.parametrize("where", CUTS)
@pytest.mark.parametrize("write", [edit, remove], ids=["edit", "remove"])
async def test_a_retry_determines_the_outcome(
    proxy: Proxy, store: RedisStore, other: Store, write: Step, where: str
) -> None:
    """If no other client has changed the chat, an edit or removal whose reply was lost is applied once and returns."""
    for number in range(3):
        await other.chat.add_message(message(number, "A"))
    await store.chat.edit_message("A", "m0", like)  # the server has the script
    cut_next_script(store, proxy, CUTS[where])
    result = await write(store)
    assert store.statistics()["retries"] > 0
    if write is edit:
        assert result == message(1, "A", likes=1)
        assert await likes(other) == [1, 1, 0]
    else:
        assert result is True
        assert await likes(other) == [1, 0]


async def test_an_empty_entry_does_not_prove_a_removal(proxy: Proxy, store: RedisStore, client: Any) -> None:
    """A removal whose request was lost is repeated, although another app has added an empty entry to the chat."""
    for number in range(2):
        await store.chat.add_message(message(number, "A"))
    await store.chat.edit_message("A", "m0", like)
    await client.lpush("chat:A", "")
    cut_next_script(store, proxy, CUTS["the request was lost"])
    assert await remove(store) is True
    assert store.statistics()["retries"] > 0
    assert await likes(store) == [1]


STEPS = [
    (edit, _edit_again),
    *((write, step) for write in (edit, remove) for step in (_remove, _clear_and_add_again, _trim)),
]


@pytest.mark.parametrize(
    ("write", "step"), STEPS, ids=[f"{write.__name__}, {step.__name__.strip('_')}" for write, step in STEPS]
)
async def test_a_change_in_between_leaves_the_outcome_unknown(
    proxy: Proxy, store: RedisStore, other: Store, write: Step, step: Step
) -> None:
    """A change whose reply was lost is unknown, and not repeated, after another client changed the message."""
    await other.chat.add_message(message(1, "A"))
    await store.chat.edit_message("A", "m1", lambda before: before)
    cut_next_script(store, proxy, Cut("reply", 0, "reset", stay_down=True))
    changing = asyncio.ensure_future(outcome_of(write(store)))
    await wait_until(lambda: proxy.refusing)
    await step(other)
    before = await likes(other)
    proxy.disarm()
    outcome = await changing
    assert store.statistics()["retries"] > 0
    assert await likes(other) == before
    assert outcome.kind == "unknown"


@pytest.mark.parametrize("write", [edit, remove], ids=["edit", "remove"])
async def test_a_retry_that_finds_its_change_writes_again(
    proxy: Proxy, store: RedisStore, client: Any, write: Step
) -> None:
    """A retry that finds its change applied writes without an effect, because WAIT covers only its own connection."""
    for number in range(2):
        await store.chat.add_message(message(number, "A"))
    await store.chat.edit_message("A", "m0", like)
    counter = Counter(client)
    await counter.start()
    cut_next_script(store, proxy, CUTS["the reply was lost"])
    await write(store)
    assert (await counter.since())["pexpire"] == 2


async def test_a_removal_without_other_messages_leaves_the_outcome_unknown(proxy: Proxy, store: RedisStore) -> None:
    """A removal whose reply was lost is unknown if it left no message that proves it."""
    await store.chat.add_message(message(1, "A"))
    await store.chat.edit_message("A", "m1", like)
    cut_next_script(store, proxy, Cut("reply", 0, "reset"))
    assert (await outcome_of(remove(store))).kind == "unknown"
    assert await likes(store) == []


async def test_an_edit_of_a_node_message_is_not_repeated(proxy: Proxy, store: RedisStore, client: Any) -> None:
    """An entry without a nonce proves nothing to a retry: another writer may store equal bytes again."""
    await store.chat.add_message(message(0, "A"))
    await store.chat.edit_message("A", "m0", like)
    await client.rpush("chat:A", to_wire(message(1, "A")))
    cut_next_script(store, proxy, CUTS["the request was lost"])
    assert (await outcome_of(edit(store))).kind == "unknown"
    assert await likes(store) == [1, 0]
    cut_next_script(store, proxy, CUTS["the reply was lost"])
    assert (await outcome_of(edit(store))).kind == "done"
    assert await likes(store) == [1, 1]
