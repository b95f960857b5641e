"""Three libraries that keep values under keys: a room is one value, and a join is a get and a set.

None of them can append to a list, so they take no part in chat. On Redis each uses a connection for each caller.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from redis.asyncio import ConnectionPool, Redis

from wnc_store_bench.contenders.pool import POOL, WAIT, connection_pool
from wnc_store_bench.contenders.session import Contender
from wnc_store_bench.contenders.wire import DAY
from wnc_store_bench.load import Client, Operation
from wnc_store_bench.records import room, user
from wnc_store_bench.server import Place

LIBRARY_OPERATIONS: tuple[Operation, ...] = ("get_room", "add_user_to_room")


@dataclass(frozen=True)
class Values:
    """A library, opened: two functions."""

    get: Callable[[str], Awaitable[Any]]
    put: Callable[[str, Any], Awaitable[object]]


Library = Callable[[Place], AbstractAsyncContextManager[Values]]


class ValuesClient:
    """A library behind the contenders' protocol; a room is its JSON values, dates as strings."""

    def __init__(self, values: Values) -> None:
        self._values = values

    async def get_room(self, room_id: str) -> Any:
        """See `Client.get_room`."""
        return await self._values.get(room_id)

    async def join(self, room_id: str, user_id: str) -> Any:
        """See `Client.join`."""
        found = await self._values.get(room_id)
        users = [one for one in found["users"] if one["id"] != user_id]
        changed = {**found, "users": [*users, {**_GUEST, "id": user_id, "name": user_id}]}
        await self._values.put(room_id, changed)
        return changed

    async def add_message(self, room_id: str, message_id: str) -> object:
        """See `Client.add_message`."""
        raise NotImplementedError("it keeps no lists: `Contender.operations` leaves this out")

    async def get_messages(self, room_id: str) -> object:
        """See `Client.get_messages`."""
        raise NotImplementedError("it keeps no lists: `Contender.operations` leaves this out")


_GUEST = user(1).to_json()


@asynccontextmanager
async def _redis(place: Place, *, decode_responses: bool) -> AsyncGenerator[Any]:
    pool = connection_pool(place, decode_responses=decode_responses)
    async with Redis(connection_pool=pool) as client:
        yield client
    await pool.aclose()


@asynccontextmanager
async def _key_value(place: Place) -> AsyncGenerator[Values]:
    module: Any = import_module("key_value.aio.stores.redis")
    async with _redis(place, decode_responses=True) as client:
        yield _key_value_values(module.RedisStore(client=client), place.prefix)


@asynccontextmanager
async def key_value_in_memory(place: Place) -> AsyncGenerator[Values]:
    """Open py-key-value's memory store."""
    module: Any = import_module("key_value.aio.stores.memory")
    yield _key_value_values(module.MemoryStore(), place.prefix)


def _key_value_values(store: Any, prefix: str) -> Values:
    def put(key: str, value: Any) -> Awaitable[object]:
        return store.put(key, value, collection=prefix, ttl=DAY)

    return Values(lambda key: store.get(key, collection=prefix), put)


@asynccontextmanager
async def _aiocache(place: Place) -> AsyncGenerator[Values]:
    module: Any = import_module("aiocache.backends.redis")
    cache = module.RedisCache(namespace=place.prefix)
    async with _redis(place, decode_responses=False) as client:
        cache.client = client  # it takes no URL
        yield _aiocache_values(cache)


@asynccontextmanager
async def aiocache_in_memory(place: Place) -> AsyncGenerator[Values]:
    """Open aiocache's memory cache."""
    module: Any = import_module("aiocache")
    cache = module.SimpleMemoryCache(namespace=place.prefix)
    yield _aiocache_values(cache)
    await cache.clear(namespace=place.prefix)  # or its timers would keep it


def _aiocache_values(cache: Any) -> Values:
    return Values(cache.get, lambda key, value: cache.set(key, value, ttl=DAY))


@asynccontextmanager
async def _cashews(place: Place) -> AsyncGenerator[Values]:
    options: dict[str, Any] = {"max_connections": place.connections, "socket_timeout": WAIT, "suppress": False}
    if place.waits:
        options["wait_for_connection_timeout"] = WAIT
    else:
        options["connection_pool_class"] = ConnectionPool
    async with _cashews_values(place.url, place.prefix, **options) as values:
        yield values


@asynccontextmanager
async def cashews_in_memory(place: Place) -> AsyncGenerator[Values]:
    """Open cashews' memory cache, large enough to evict nothing."""
    async with _cashews_values("mem://", place.prefix, size=10_000_000) as values:
        yield values


@asynccontextmanager
async def _cashews_values(url: str, prefix: str, **options: Any) -> AsyncGenerator[Values]:
    module: Any = import_module("cashews")
    cache = module.Cache()
    cache.setup(url, **options)
    await cache.init()
    try:
        yield Values(
            lambda key: cache.get(f"{prefix}{key}"), lambda key, value: cache.set(f"{prefix}{key}", value, expire=DAY)
        )
    finally:
        await cache.close()


def _contender(name: str, what: str, library: Library) -> Contender:
    @asynccontextmanager
    async def connect(place: Place) -> AsyncGenerator[Client]:
        async with library(place) as values:
            yield ValuesClient(values)

    async def seed(place: Place, room_ids: Sequence[str], users: int) -> None:
        async with library(place) as values:
            for room_id in room_ids:
                await values.put(room_id, room(room_id, users).to_json())

    async def users(place: Place, room_id: str) -> list[str]:
        async with library(place) as values:
            return [user["id"] for user in (await values.get(room_id))["users"]]

    return Contender(name, what, seed, users, connect, operations=LIBRARY_OPERATIONS)


_STRINGS = f"dates come back as strings; {POOL}"
KEY_VALUE = _contender("py-key-value", f"py-key-value's RedisStore; a join is get and put; {_STRINGS}", _key_value)
AIOCACHE = _contender(
    "aiocache", f"aiocache's RedisCache with its JSON serializer; a join is get and set; {_STRINGS}", _aiocache
)
CASHEWS = _contender("cashews", f"cashews on Redis, which pickles; a join is get and set; {_STRINGS}", _cashews)
