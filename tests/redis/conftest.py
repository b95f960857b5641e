"""Fixtures of the Redis tests: an empty database, clients of it, and a proxy."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from chaos.server import admin, emptied
from counting import Counter
from proxy import Proxy, proxy_to
from redis_server import RedisServer
from wnc_store_contract.factories import message, room
from wnc_store_redis import RedisStore


@pytest.fixture
async def url(redis_server: RedisServer) -> AsyncIterator[str]:
    """URL of a database that is emptied before and after the test."""
    url = redis_server.url.replace("/0", "/2")
    async with emptied(url):
        yield url


@pytest.fixture
async def client(url: str) -> AsyncIterator[Any]:
    """A redis-py client of the database."""
    async with admin(url) as client:
        yield client


@pytest.fixture
async def store(url: str) -> AsyncIterator[RedisStore]:
    """A store on the database."""
    async with RedisStore.from_url(url) as store:
        yield store


@pytest.fixture
async def room_a(store: RedisStore) -> None:
    """A room A with a message. Afterwards the store is connected and its scripts are in the script cache."""
    await store.rooms.create_room(room("A"))
    await store.chat.add_message(message(0, "A"))


@pytest.fixture
async def counter(client: Any) -> Counter:
    """A started counter of commands."""
    counter = Counter(client)
    await counter.start()
    return counter


@pytest.fixture
async def proxy(redis_server: RedisServer) -> AsyncIterator[Proxy]:
    """A proxy to database 0 of the server."""
    async with proxy_to(redis_server.port) as proxy:
        yield proxy
