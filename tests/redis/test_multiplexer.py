"""Many callers on one connection to a real server: what they share, and what each bears alone."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from counting import Counter
from redis_server import redis_server
from wnc_store import CorruptRecordError, Room, StoreError
from wnc_store_contract.factories import message, room, user
from wnc_store_redis import RedisStore

pytestmark = pytest.mark.usefixtures("room_a")


async def test_commands_of_one_tick_share_a_write(store: RedisStore, counter: Counter) -> None:
    """A hundred callers in one tick of the event loop are a hundred commands in one write."""
    await asyncio.gather(*(store.rooms.get_room("A") for _ in range(100)))
    counted = await counter.since()
    assert (counted["reads"], counted["get"]) == (1, 100)


async def test_a_bad_key_fails_alone(store: RedisStore, client: Any, counter: Counter) -> None:
    """Among commands that share a write, one that the server refuses fails, and its neighbours do not."""
    await client.rpush("room:bad", "x")
    await counter.start()
    results = await asyncio.gather(*(store.rooms.get_room(name) for name in ("A", "bad", "A")), return_exceptions=True)
    assert (await counter.since())["reads"] == 1
    assert [type(one) for one in results] == [Room, CorruptRecordError, Room]


async def test_an_oversized_command_fails_alone() -> None:
    """A write that is too large for the server closes the connection; its neighbours succeed all the same, once."""
    with redis_server("--proto-max-bulk-len", "1mb", "--maxmemory", "100mb") as server:
        async with RedisStore.from_url(server.url) as store:
            await store.rooms.create_room(room("A"))
            await store.chat.add_message(message(0, "A"))
            large = room("B", video_meta="x" * 2_000_000)
            results = await asyncio.gather(
                store.chat.add_message(message(1, "A")),
                store.rooms.add_user_to_room("A", user("guest")),
                store.rooms.create_room(large),
                store.rooms.get_room("A"),
                store.chat.add_message(message(2, "A")),
                return_exceptions=True,
            )
            assert [one for one in results if isinstance(one, BaseException)] == [results[2]]
            assert isinstance(results[2], StoreError)  # of the kind that fits what was read before the connection went
            assert await store.rooms.get_room("B") is None
            found = await store.rooms.get_room("A")
            assert found is not None
            assert [one.id for one in found.users] == ["host", "guest"]
            assert sorted(one.id for one in await store.chat.get_messages("A")) == ["m0", "m1", "m2"]


async def test_a_store_takes_one_connection(store: RedisStore, client: Any) -> None:
    """However many callers there are, a store has one connection."""
    others = len(await client.client_list())
    await asyncio.gather(*(store.rooms.get_room("A") for _ in range(1000)))
    assert len(await client.client_list()) == others
