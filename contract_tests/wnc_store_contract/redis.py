"""The harness of the Redis backend, for any real or fake server."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, Literal, cast
from uuid import uuid4
from zlib import crc32

from wnc_store import StoreSettings
from wnc_store_contract.harness import Capability, Harness
from wnc_store_contract.redis_client import close, make_client
from wnc_store_redis import RedisStore

_UNSET = "unset"

ChatOrder = Literal["oldest_first", "newest_first"]


class RedisHarness(Harness):
    """Redis stores with a client each, and another client for raw access.

    Time advances by shortening the TTLs on the server, without waiting. The harness accesses only keys that start with
    its prefix, and removes them at the end.

    Args:
        url: The URL of a server, a cluster or a Sentinel service.
        key_prefix: The prefix of all keys; unique by default. "" uses all keys of the database.
        chat_order: The order in which chats are stored; see `StoreSettings`.
    """

    capabilities = frozenset(
        {
            Capability.CHAT,
            Capability.LISTING,
            Capability.CONNECTIONS,
            Capability.RATE_LIMITS,
            Capability.EVENTS,
            Capability.DISCONNECT,
            Capability.SHARED,
            Capability.RAW,
        }
    )

    def __init__(self, url: str, *, key_prefix: str = _UNSET, chat_order: ChatOrder = "oldest_first") -> None:
        self._url = url
        self._chat_order: ChatOrder = chat_order
        self._client_name = f"wnc-contract-{uuid4().hex}"
        self.key_prefix = f"wnc-contract-{uuid4().hex}:" if key_prefix is _UNSET else key_prefix
        self._client = self.make_client()

    def make_client(self) -> Any:
        """Return a redis-py client, so that the harness does not depend on the backend under test."""
        return make_client(self._url)

    def open_store(self, **settings: Any) -> RedisStore:
        """Return a store with its own client."""
        return RedisStore.from_url(self.named(self._url), self.settings(**settings))

    def named(self, url: str) -> str:
        """Return the URL with a client name, by which `disconnect` finds the connections."""
        return f"{url}{'&' if '?' in url else '?'}client_name={self._client_name}"

    def settings(self, **settings: Any) -> StoreSettings:
        """Return settings whose key prefix starts with the prefix of this harness."""
        key_prefix = f"{self.key_prefix}{settings.pop('key_prefix', '')}"
        chat_order = settings.pop("chat_order", self._chat_order)
        return StoreSettings(key_prefix=key_prefix, chat_order=chat_order, **settings)

    async def advance(self, seconds: float) -> None:
        """Shorten the TTL of each key, and delete keys that expire by that."""
        delta = round(seconds * 1000)
        keys = [key async for key in self._keys()]
        async with self._client.pipeline(transaction=False) as pipeline:
            for key in keys:
                pipeline.pttl(key)
            ttls = cast("list[int]", await pipeline.execute())
        async with self._client.pipeline(transaction=False) as pipeline:
            for key, ttl in zip(keys, ttls, strict=True):
                if ttl > delta:
                    pipeline.pexpire(key, ttl - delta)
                elif ttl >= 0:
                    pipeline.delete(key)
            # The score of a connection's lease is the server time at which it expires.
            for key in [key for key in keys if b"connections:" in key]:
                if await self._client.type(key) == b"zset":  # otherwise "connections:" is part of an id
                    for member in cast("list[bytes]", await self._client.zrange(key, 0, -1)):
                        pipeline.zincrby(key, -delta, member)
            await pipeline.execute()

    async def disconnect(self) -> None:
        """Kill the connections of this harness's stores."""
        await self._kill_connections()

    async def _kill_connections(self, **target: Any) -> None:
        for client in cast("list[dict[str, str]]", await self._client.client_list(**target)):
            if client["name"] == self._client_name:
                await self._client.client_kill_filter(_id=client["id"], **target)

    async def aclose(self) -> None:
        """Delete the keys with the prefix."""
        keys = [key async for key in self._keys()]
        async with self._client.pipeline(transaction=False) as pipeline:
            for key in keys:
                pipeline.delete(key)
            await pipeline.execute()
        await close(self._client)

    async def describe_existing_data(self) -> str | None:
        """Return how many keys the database contains, or None if it is empty.

        Raises:
            StoreUnavailableError: The server is unreachable.
        """
        async with self.open_store() as store:
            await store.ping()
        keys = await self._client.dbsize()
        return f"the database is not empty: it contains {keys} keys" if keys else None

    @property
    def raw(self) -> RedisRaw:
        """Raw access to the records."""
        return RedisRaw(self._client, self.key_prefix, self._chat_order)

    @property
    def raw_hits(self) -> RedisRaw:
        """Raw access to the counts of rate limits."""
        return self.raw

    async def _keys(self) -> AsyncIterator[bytes]:
        async for key in self._client.scan_iter(match=f"{self.key_prefix}*", count=1000):
            yield key


class RedisClusterHarness(RedisHarness):
    """Redis stores on a cluster."""

    @property
    def raw(self) -> RedisRaw:
        """The stored records."""
        return RedisClusterRaw(self._client, self.key_prefix, self._chat_order)

    async def disconnect(self) -> None:
        """Kill the connections to each master."""
        await self._client.initialize()
        for node in self._client.get_primaries():
            await self._kill_connections(target_nodes=node)


class RedisRaw:
    """Raw access by plain Redis commands."""

    def __init__(self, client: Any, key_prefix: str, chat_order: ChatOrder = "oldest_first") -> None:
        self._client = client
        self._prefix = key_prefix
        self._is_newest_first = chat_order == "newest_first"

    async def get_room(self, room_id: str) -> bytes | None:
        """GET."""
        return await self._client.get(self._key("room", room_id))

    async def put_room(self, room_id: str, data: bytes) -> None:
        """SET and SADD."""
        await self._client.set(self._key("room", room_id), data)
        await self.list_room(room_id)

    async def get_chat(self, room_id: str) -> list[bytes]:
        """LRANGE."""
        entries = await self._client.lrange(self._key("chat", room_id), 0, -1)
        return entries[::-1] if self._is_newest_first else entries

    async def push_chat(self, room_id: str, entry: bytes) -> None:
        """RPUSH, or LPUSH if chats are stored newest first."""
        push = self._client.lpush if self._is_newest_first else self._client.rpush
        await push(self._key("chat", room_id), entry)

    async def put_hits(self, key: str, data: bytes) -> None:
        """SET."""
        await self._client.set(f"{self._prefix}rl:{key}", data)

    async def get_hits(self, key: str) -> bytes | None:
        """GET."""
        return await self._client.get(f"{self._prefix}rl:{key}")

    async def list_room(self, room_id: str) -> None:
        """SADD."""
        await self._client.sadd(self._index(room_id), room_id)

    def _key(self, kind: str, room_id: str) -> str:
        """Return the key of a room or of its chat."""
        return f"{self._prefix}{kind}:{room_id}"

    def _index(self, _room_id: str) -> str:
        """Return the key of the index that lists a room."""
        return f"{self._prefix}active-rooms"


class RedisClusterRaw(RedisRaw):
    """The records on a cluster, where all keys of a room have the same hash tag."""

    def _key(self, kind: str, room_id: str) -> str:
        return f"{self._prefix}{kind}:{_hash_tag(room_id)}:{room_id}"

    def _index(self, room_id: str) -> str:
        return f"{self._prefix}active-rooms:{_hash_tag(room_id)}"


def _hash_tag(room_id: str) -> str:
    return f"{{{crc32(room_id.encode()) % 1024:04}}}"
