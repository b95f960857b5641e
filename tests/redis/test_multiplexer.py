"""Tests of the multiplexed connection on a server."""

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
    """A hundred calls in one tick of the event loop are sent in one write."""
    await asyncio.gather(*(store.rooms.get_room("A") for _ in range(100)))
    counted = await counter.since()
    assert (counted["reads"], counted["get"]) == (1, 100)


async def test_a_corrupt_key_fails_alone(store: RedisStore, client: Any, counter: Counter) -> None:
    """A command that the server rejects fails alone among the commands of one write."""
    await client.rpush("room:bad", "x")
    await counter.start()
    results = await asyncio.gather(*(store.rooms.get_room(name) for name in ("A", "bad", "A")), return_exceptions=True)
    assert (await counter.since())["reads"] == 1
    assert [type(result) for result in results] == [Room, CorruptRecordError, Room]


async def test_an_oversized_command_fails_alone() -> None:
    """A command that is too large makes the server close the connection; the other commands still succeed, once."""
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
            assert [result for result in results if isinstance(result, BaseException)] == [results[2]]
            assert isinstance(results[2], StoreError)  # the type depends on what was read before the connection closed
            assert await store.rooms.get_room("B") is None
            updated = await store.rooms.get_room("A")
            assert updated is not None
            assert [joined.id for joined in updated.users] == ["host", "guest"]
            assert sorted(m.id for m in await store.chat.get_messages("A")) == ["m0", "m1", "m2"]
