"""A database for the tests of the Redis backend alone."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from redis.asyncio import Redis

from counting import Counter
from proxy import Proxy, proxy_to
from redis_server import RedisServer
from wnc_store_contract.factories import message, room
from wnc_store_redis import RedisStore


@pytest.fixture
async def url(redis_server: RedisServer) -> AsyncIterator[str]:
    """Its URL; it is empty at first and at last."""
    url = redis_server.url.replace("/0", "/2")
    await _empty(url)
    yield url
    await _empty(url)


async def _empty(url: str) -> None:
    plain: Any = Redis.from_url(url)  # pyright: ignore[reportUnknownMemberType]
    async with plain as client:
        await client.flushdb()


@pytest.fixture
async def client(url: str) -> AsyncIterator[Any]:
    """A plain client of it."""
    plain: Any = Redis.from_url(url, protocol=2)  # pyright: ignore[reportUnknownMemberType]
    async with plain as made:
        yield made


@pytest.fixture
async def store(url: str) -> AsyncIterator[RedisStore]:
    """A store on it."""
    async with RedisStore.from_url(url) as made:
        yield made


@pytest.fixture
async def room_a(store: RedisStore) -> None:
    """A room A with a message, so that the store is connected and the server knows its scripts."""
    await store.rooms.create_room(room("A"))
    await store.chat.add_message(message(0, "A"))


@pytest.fixture
async def counter(client: Any) -> Counter:
    """A counter that has started, after the fixtures that a module uses."""
    made = Counter(client)
    await made.start()
    return made


@pytest.fixture
async def proxy(redis_server: RedisServer) -> AsyncIterator[Proxy]:
    """A proxy to the server's database 0."""
    async with proxy_to(redis_server.port) as made:
        yield made
