"""Three key-value libraries. A room is one value, and a join is a get and a set.

The libraries cannot append to a list, so they are not measured on chat. On Redis each uses one connection per caller.
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
from wnc_store_bench.server import Target

LIBRARY_OPERATIONS: tuple[Operation, ...] = ("get_room", "add_user_to_room")


@dataclass(frozen=True)
class Values:
    """The functions of an open library."""

    get: Callable[[str], Awaitable[Any]]
    put: Callable[[str, Any], Awaitable[object]]


Library = Callable[[Target], AbstractAsyncContextManager[Values]]


class ValuesClient:
    """The `Client` of a library. A room is a dict of JSON values with dates as strings."""

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
        raise NotImplementedError("the library does not support lists, so Contender.operations excludes this operation")

    async def get_messages(self, room_id: str) -> object:
        """See `Client.get_messages`."""
        raise NotImplementedError("the library does not support lists, so Contender.operations excludes this operation")


_GUEST = user(1).to_json()


@asynccontextmanager
async def _redis(target: Target, *, decode_responses: bool) -> AsyncGenerator[Any]:
    pool = connection_pool(target, decode_responses=decode_responses)
    async with Redis(connection_pool=pool) as client:
        yield client
    await pool.aclose()


@asynccontextmanager
async def _key_value(target: Target) -> AsyncGenerator[Values]:
    module: Any = import_module("key_value.aio.stores.redis")
    async with _redis(target, decode_responses=True) as client:
        yield _key_value_values(module.RedisStore(client=client), target.prefix)


@asynccontextmanager
async def key_value_in_memory(target: Target) -> AsyncGenerator[Values]:
    """Open py-key-value's memory store."""
    module: Any = import_module("key_value.aio.stores.memory")
    yield _key_value_values(module.MemoryStore(), target.prefix)


def _key_value_values(store: Any, prefix: str) -> Values:
    def put(key: str, value: Any) -> Awaitable[object]:
        return store.put(key, value, collection=prefix, ttl=DAY)

    return Values(lambda key: store.get(key, collection=prefix), put)


@asynccontextmanager
async def _aiocache(target: Target) -> AsyncGenerator[Values]:
    module: Any = import_module("aiocache.backends.redis")
    cache = module.RedisCache(namespace=target.prefix)
    async with _redis(target, decode_responses=False) as client:
        cache.client = client  # RedisCache does not accept a URL
        yield _aiocache_values(cache)


@asynccontextmanager
async def aiocache_in_memory(target: Target) -> AsyncGenerator[Values]:
    """Open aiocache's memory cache."""
    module: Any = import_module("aiocache")
    cache = module.SimpleMemoryCache(namespace=target.prefix)
    yield _aiocache_values(cache)
    await cache.clear(namespace=target.prefix)  # cancels its timers, which would keep the values alive


def _aiocache_values(cache: Any) -> Values:
    return Values(cache.get, lambda key, value: cache.set(key, value, ttl=DAY))


@asynccontextmanager
async def _cashews(target: Target) -> AsyncGenerator[Values]:
    options: dict[str, Any] = {"max_connections": target.connections, "socket_timeout": WAIT, "suppress": False}
    if target.waits:
        options["wait_for_connection_timeout"] = WAIT
    else:
        options["connection_pool_class"] = ConnectionPool
    async with _cashews_values(target.url, target.prefix, **options) as values:
        yield values


@asynccontextmanager
async def cashews_in_memory(target: Target) -> AsyncGenerator[Values]:
    """Open cashews' memory cache, large enough to evict nothing."""
    async with _cashews_values("mem://", target.prefix, size=10_000_000) as values:
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
    async def connect(target: Target) -> AsyncGenerator[Client]:
        async with library(target) as values:
            yield ValuesClient(values)

    async def seed(target: Target, room_ids: Sequence[str], users: int) -> None:
        async with library(target) as values:
            for room_id in room_ids:
                await values.put(room_id, room(room_id, users).to_json())

    async def users(target: Target, room_id: str) -> list[str]:
        async with library(target) as values:
            return [user["id"] for user in (await values.get(room_id))["users"]]

    return Contender(name, what, seed, users, connect, operations=LIBRARY_OPERATIONS)


_STRINGS = f"dates come back as strings; {POOL}"
KEY_VALUE = _contender("py-key-value", f"py-key-value's RedisStore; a join is get and put; {_STRINGS}", _key_value)
AIOCACHE = _contender(
    "aiocache", f"aiocache's RedisCache with its JSON serializer; a join is get and set; {_STRINGS}", _aiocache
)
CASHEWS = _contender("cashews", f"cashews on Redis, which pickles; a join is get and set; {_STRINGS}", _cashews)
