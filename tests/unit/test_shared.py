"""The store that the parts of an app share."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from datetime import timedelta
from functools import partial
from typing import Any

import pytest

from redis_server import RedisServer
from wnc_store import ManualClock, Room, Store, StoreError, StoreSettings, User, get_store, shared, store_lifespan
from wnc_store_memory import MemoryStore
from wnc_store_redis import RedisStore


@pytest.fixture(autouse=True)
def in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment names the store in memory."""
    monkeypatch.setenv("WNC_STORE_URL", "memory://")


def test_one_store_per_event_loop() -> None:
    """get_store returns one store per event loop, and a new one after that store was closed."""

    async def use() -> Store:
        first, second = await get_store(), await get_store()
        assert first is second
        await first.aclose()
        third = await get_store()
        assert third is not first
        assert isinstance(third, MemoryStore)
        return third

    assert asyncio.run(use()) is not asyncio.run(use())


async def test_concurrent_calls_open_one_store() -> None:
    """Concurrent first calls of get_store return the same store."""
    stores = await asyncio.gather(*(get_store() for _ in range(10)))
    assert len(set(map(id, stores))) == 1


def test_a_shared_store_needs_asyncio() -> None:
    """get_store outside an event loop of asyncio, for example under Trio, raises StoreError."""
    with pytest.raises(StoreError, match="requires asyncio"):
        get_store().send(None)


def test_stores_of_closed_loops_are_removed() -> None:
    """get_store does not keep closed event loops alive."""

    async def use() -> None:
        await (await get_store()).ping()

    for _ in range(5):
        asyncio.run(use())
    assert len(shared._shared) <= 1


def test_a_shared_store_is_closed_with_its_loop() -> None:
    """Each store that get_store has opened is closed when its event loop ends."""

    async def use() -> list[Store]:
        first = await get_store()
        await first.aclose()
        return [first, await get_store()]

    assert [store.closed for store in asyncio.run(use())] == [True, True]


def test_a_store_that_fails_to_close_does_not_keep_others_open() -> None:
    """If a shared store fails to close, the others are closed, and the event loop reports the errors."""
    reported: list[BaseException | None] = []

    class FailingStore(MemoryStore):
        async def aclose(self) -> None:
            await super().aclose()
            raise ZeroDivisionError

    async def use() -> list[Store]:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _loop, context: reported.append(context.get("exception")))
        stores = (await shared._shared_stores()).opened
        stores += [MemoryStore(), FailingStore(), MemoryStore(), FailingStore()]
        return [*stores]

    assert [store.closed for store in asyncio.run(use())] == [True] * 4
    [error] = reported
    assert isinstance(error, ZeroDivisionError)
    assert isinstance(error.__context__, ZeroDivisionError)


def test_a_closed_loop_that_another_thread_has_removed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two threads can remove a closed event loop from the shared stores at the same time without an error."""

    class RacingStores(dict[Any, Any]):
        """Another thread removes the closed loops just after this thread has listed them."""

        def __iter__(self) -> Iterator[Any]:
            found = [*super().__iter__()]
            for other in found:
                del self[other]
            return iter(found)

    async def use() -> None:
        await get_store()

    monkeypatch.setattr(shared, "_shared", RacingStores())
    asyncio.run(use())
    asyncio.run(use())


def test_a_shared_redis_store_is_closed_with_its_loop(
    redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A shared store on Redis with open connections is closed when its event loop ends."""
    monkeypatch.setenv("WNC_STORE_URL", redis_server.url)

    async def use() -> Store:
        store = await get_store()
        await store.ping()
        async with store.events.subscribe("A"):
            return store

    store = asyncio.run(use())
    assert isinstance(store, RedisStore)
    assert store.closed


async def test_a_forked_process_opens_its_own_store(monkeypatch: pytest.MonkeyPatch) -> None:
    """get_store does not return the store of another process."""
    before = await get_store()
    monkeypatch.setattr(os, "getpid", lambda: -1)
    assert await get_store() is not before


async def test_a_lifespan_opens_and_closes_the_shared_store() -> None:
    """get_store returns the store of store_lifespan, which is closed at the end of the block."""
    async with store_lifespan():
        store = await get_store()
        assert not store.closed
    assert store.closed


async def test_the_store_of_an_ended_lifespan_is_not_replaced() -> None:
    """After store_lifespan has ended, get_store raises instead of opening another store, until another one begins."""
    async with store_lifespan():
        pass
    with pytest.raises(StoreError, match="the store of store_lifespan is closed"):
        await get_store()
    async with store_lifespan():
        assert not (await get_store()).closed


async def test_a_closed_store_of_a_lifespan_is_not_replaced() -> None:
    """If the store of an active store_lifespan is closed, get_store raises instead of opening another store."""
    async with store_lifespan():
        await (await get_store()).aclose()
        with pytest.raises(StoreError, match="the store of store_lifespan is closed"):
            await get_store()


async def test_a_lifespan_after_get_store() -> None:
    """store_lifespan raises if get_store has already opened another store, and begins after that store was closed."""
    early = await get_store()
    with pytest.raises(StoreError, match="already opened another store"):
        await store_lifespan().__aenter__()
    assert await get_store() is early
    await early.aclose()
    async with store_lifespan():
        assert await get_store() is not early


async def test_a_lifespan_passes_its_arguments() -> None:
    """store_lifespan opens the store with its URL, its settings and its clock; the app is an optional argument."""
    clock = ManualClock()
    settings = StoreSettings(room_ttl=timedelta(hours=2))
    async with partial(store_lifespan, url="memory://", settings=settings, clock=clock)(object()):
        rooms = (await get_store()).rooms
        await rooms.create_room(Room.hosted_by(User(id="u1", name="Ada"), room_id="A"))
        clock.advance(timedelta(hours=1))
        assert await rooms.room_ttl("A") == timedelta(hours=1)


async def test_the_last_open_store_is_shared() -> None:
    """If several lifespans are active, get_store returns the store that was opened last and is still open."""
    async with store_lifespan():
        outer = await get_store()
        async with store_lifespan():
            inner = await get_store()
            assert inner is not outer
        assert await get_store() is outer


async def test_a_failing_app_closes_its_store() -> None:
    """store_lifespan closes the store if the block raises, and the error is raised."""
    opened: list[Store] = []

    async def fail() -> None:
        async with store_lifespan():
            opened.append(await get_store())
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()
    assert opened[0].closed
