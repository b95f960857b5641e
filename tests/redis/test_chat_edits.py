"""Edits of messages that conflict, and edits that wait for one another."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from typing import Any

import pytest

from local_variables import shown_with_traceback
from loop_clock import advance_loop, advance_until_done
from proxy import Proxy
from redis_server import RedisServer
from wnc_store import ChatMessage, ConflictError, Store, StoreSettings, StoreUnavailableError, to_wire
from wnc_store_contract.calls import like
from wnc_store_contract.factories import message
from wnc_store_redis import RedisStore

HOURS = StoreSettings(operation_timeout=timedelta(hours=1))
SECRET = "SECRET-9f1c"


async def _store(url: str) -> AsyncIterator[RedisStore]:
    """A store on the database, with a message."""
    async with RedisStore.from_url(url, HOURS) as store:
        await store.chat.add_message(message(1, "A"))
        yield store


first, second = pytest.fixture(_store, name="first"), pytest.fixture(_store, name="second")


def before_each_script(store: RedisStore, step: Any) -> None:
    """Await a step before each script of a store."""
    commands: Any = store._commands
    call_script = commands.call_script

    async def call(*arguments: Any) -> Any:
        await step()
        return await call_script(*arguments)

    commands.call_script = call


async def test_an_edit_is_repeated_on_the_newer_message(first: RedisStore, second: RedisStore) -> None:
    """After a conflict the function gets the newer message, from the reply of the script."""
    others = iter(range(3))

    async def edit_first() -> None:
        if next(others, None) is not None:
            await second.chat.edit_message("A", "m1", like)

    seen: list[int] = []

    def change(before: ChatMessage) -> ChatMessage:
        seen.append(before.model_extra.get("likes", 0))
        return like(before)

    before_each_script(first, edit_first)
    assert await first.chat.edit_message("A", "m1", change) == message(1, "A", likes=4)
    assert seen == [0, 1, 2, 3]
    assert first.statistics()["retries"] == 3


async def test_an_edit_that_always_conflicts_raises(first: RedisStore, second: RedisStore) -> None:
    """An edit raises ConflictError, with the number of attempts, before another attempt would miss its deadline."""
    attempts = 0

    async def edit_first() -> None:
        nonlocal attempts
        attempts += 1
        await second.chat.edit_message("A", "m1", like)
        if attempts == 4:
            advance_loop(timedelta(minutes=50).total_seconds())

    before_each_script(first, edit_first)
    with pytest.raises(ConflictError, match="chat of room 'A' was changed concurrently during each of 4 attempts"):
        await first.chat.edit_message("A", "m1", lambda found: found.model_copy(update={"message": "lost"}))
    assert await second.chat.get_messages("A") == [message(1, "A", likes=4)]


async def test_an_id_that_is_added_during_an_edit_is_not_edited(
    first: RedisStore, second: RedisStore, client: Any
) -> None:
    """An edit that begins before the Node app adds the id again is applied before that."""

    async def add_again() -> None:
        await client.rpush("chat:A", to_wire(message(1, "A", message="again")))

    before_each_script(first, add_again)
    assert await first.chat.edit_message("A", "m1", like) == message(1, "A", likes=1)
    assert await second.chat.get_messages("A") == [message(1, "A", likes=1), message(1, "A", message="again")]


async def test_waiting_edits_end_with_the_server(redis_server: RedisServer, proxy: Proxy) -> None:
    """Edits of one chat that wait for one another all fail at their deadline if the server is silent."""
    assert redis_server
    async with RedisStore.from_url(proxy.url, HOURS) as store:
        await store.ping()
        proxy.close_hole()
        edits = [asyncio.ensure_future(store.chat.edit_message("A", "m1", like)) for _ in range(5)]
        await advance_until_done(*edits)
        ended = await asyncio.gather(*edits, return_exceptions=True)
        assert [isinstance(one, StoreUnavailableError) for one in ended] == [True] * 5
        proxy.open_hole()
        assert await store.chat.edit_message("A", "m1", like) is None


async def test_a_cancelled_edit_lets_the_next_one_begin(first: RedisStore) -> None:
    """Cancelling edits that wait or run does not block the others."""
    edits = [asyncio.ensure_future(first.chat.edit_message("A", "m1", like)) for _ in range(6)]
    for cancelled in (0, 2, 3):
        await asyncio.sleep(0)
        edits[cancelled].cancel()
    await asyncio.gather(*edits, return_exceptions=True)
    assert [edits[number].cancelled() for number in (1, 4, 5)] == [False] * 3
    (found,) = await first.chat.get_messages("A")
    assert found.model_extra["likes"] in {3, 4}


WRITES: dict[str, Callable[[Store], Awaitable[object]]] = {
    "add": lambda store: store.chat.add_message(message(2, "A", message=f"{SECRET} 2")),
    "edit": lambda store: store.chat.edit_message("A", "m1", lambda found: found.replace(message=f"{SECRET} 3")),
    "remove": lambda store: store.chat.remove_message("A", "m1"),
}


@pytest.mark.parametrize("name", WRITES)
async def test_no_local_variable_of_a_refused_write_shows_a_message(url: str, client: Any, name: str) -> None:
    """The traceback of a write to a chat that the server refuses shows no text, with all local variables."""
    await client.rpush("chat:A", to_wire(message(0, "A", message=SECRET)), to_wire(message(1, "A", message=SECRET)))
    async with RedisStore.from_url(url, StoreSettings(publish_changes=True)) as store:
        await store.chat.add_message(message(3, "A", message=SECRET))
        await store.chat.get_messages("A")
        await client.config_set("min-replicas-to-write", "1")
        try:
            with pytest.raises(StoreUnavailableError) as caught:
                await WRITES[name](store)
        finally:
            await client.config_set("min-replicas-to-write", "0")
    assert SECRET not in shown_with_traceback(caught.value)


async def test_no_local_variable_of_a_conflict_shows_a_message(
    first: RedisStore, second: RedisStore, client: Any
) -> None:
    """The traceback of an edit that always conflicts shows no text of the chat, with all local variables."""
    await client.rpush("chat:A", to_wire(message(2, "A", message=SECRET)))

    async def edit_first() -> None:
        await second.chat.edit_message("A", "m2", like)
        advance_loop(timedelta(minutes=50).total_seconds())

    before_each_script(first, edit_first)
    with pytest.raises(ConflictError) as caught:
        await first.chat.edit_message("A", "m2", like)
    assert SECRET not in shown_with_traceback(caught.value)
