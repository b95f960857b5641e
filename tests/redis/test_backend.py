"""Tests of the Redis backend beyond the contract."""

from __future__ import annotations

import asyncio
import logging
import sys
from datetime import timedelta
from typing import Any

import pytest

from counting import Counter
from processes import start
from wnc_store import CorruptRecordError, StoreSettings
from wnc_store_contract.factories import room
from wnc_store_contract.redis import RedisHarness
from wnc_store_redis import RedisStore

SECRET = "SECRET-9f1c"


async def test_the_index_outlives_a_shorter_room(url: str, store: RedisStore, client: Any) -> None:
    """A room with a short TTL does not shorten the TTL of the index."""
    await store.rooms.create_room(room("long"))
    settings = StoreSettings(room_ttl=timedelta(minutes=1))
    async with RedisStore.from_url(url, settings) as brief:
        await brief.rooms.create_room(room("short"))
    assert await client.pttl("active-rooms") > 43_200_000


async def test_a_corrupt_message_is_logged_once(
    store: RedisStore, client: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """A corrupt chat entry is logged once, with its key and without its text."""
    await client.rpush("chat:A", f'{{"message":"{SECRET}"')
    with caplog.at_level(logging.WARNING, logger="wnc_store"):
        for _ in range(3):
            assert await store.chat.get_messages("A") == []
    assert len(caplog.records) == 1
    assert "chat:A" in caplog.text
    assert SECRET not in caplog.text


async def test_invalid_index_entries_are_not_listed(store: RedisStore, client: Any) -> None:
    """Index entries that are not valid ids are not listed, and are swept if their rooms do not exist."""
    await client.sadd("active-rooms", b"\xff", "a b", "")
    await client.set("room:a b", "x")
    await store.rooms.create_room(room("A"))
    assert [room_id async for room_id in store.rooms.active_room_ids()] == ["A"]
    assert await store.rooms.sweep_active_rooms() == 2
    assert await client.smismember("active-rooms", ["a b", "A"]) == [1, 1]


async def test_a_hit_and_a_peek_are_atomic(store: RedisStore, client: Any, counter: Counter) -> None:
    """A hit is one script, and so is a peek, so the count and its TTL belong to the same window."""
    await store.rate_limits.hit("ip")
    await store.rate_limits.peek("ip")
    await counter.start()
    await store.rate_limits.hit("ip")
    assert (await counter.since()).items() >= {"evalsha": 1, "get": 1}.items()
    await counter.start()
    await store.rate_limits.peek("ip")
    assert (await counter.since()).items() >= {"evalsha": 1, "get": 1, "pttl": 1}.items()
    assert await client.get("rl:ip") == b"2"
    assert 0 < await client.pttl("rl:ip") <= 60_000


async def test_a_limiter_key_of_another_type_is_corrupt(store: RedisStore, client: Any) -> None:
    """Reading a limiter key of another Redis type raises a CorruptRecordError, and the key is not changed."""
    await client.rpush("rl:ip", "x")
    await client.rpush("connections:ip", "x")
    for call in (store.rate_limits.peek, store.connections.count):
        with pytest.raises(CorruptRecordError):
            await call("ip")
    assert await client.lrange("rl:ip", 0, -1) == await client.lrange("connections:ip", 0, -1) == [b"x"]


async def test_a_huge_ttl_is_capped(store: RedisStore, client: Any) -> None:
    """A TTL that exceeds timedelta.max is returned as timedelta.max."""
    await store.rooms.create_room(room("A"))
    await client.pexpireat("room:A", 9_000_000_000_000_000_000)
    assert await store.rooms.room_ttl("A") == timedelta.max
    assert await store.rooms.room_exists("A") is True


LEASES = """
import asyncio, sys
from wnc_store import open_store

async def main():
    async with open_store(sys.argv[1]) as store:
        for number in range(50):
            await store.connections.acquire("ip", f"c{number}", limit=50)
        print("acquired", flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""


async def test_the_leases_of_a_killed_process_expire(url: str, store: RedisStore) -> None:
    """The leases of a process that was killed are counted until connection_ttl ends, and not after that."""
    with start(sys.executable, "-c", LEASES, url) as process:
        assert process.stdout is not None
        assert await asyncio.to_thread(process.stdout.readline) == "acquired\n"
        process.kill()
        await asyncio.to_thread(process.wait)
    assert await store.connections.count("ip") == 50
    harness = RedisHarness(url, key_prefix="")
    await harness.advance(3600)
    assert await store.connections.count("ip") == 0
    await harness.aclose()
