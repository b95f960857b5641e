"""The harness of the Redis backend, on any real or fake server."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, cast
from uuid import uuid4
from zlib import crc32

from wnc_store import StoreSettings
from wnc_store_contract.harness import Capability, Harness
from wnc_store_contract.redis_client import client_of, close
from wnc_store_redis import RedisStore

_UNSET = "unset"


class RedisHarness(Harness):
    """Redis stores with a client each, and one more client behind their backs.

    Time passes by shortening the TTLs that the server counts: 24 hours take no time. Only keys that begin with the
    prefix are touched, and they are removed at the end.

    Args:
        url: of a server, a cluster, or a service of Sentinels.
        key_prefix: of all keys; one that nobody else has if left out. "" takes the whole database for its own.
    """

    capabilities = frozenset(Capability)

    def __init__(self, url: str, *, key_prefix: str = _UNSET) -> None:
        self._url = url
        self._client_name = f"wnc-contract-{uuid4().hex}"
        self.key_prefix = f"wnc-contract-{uuid4().hex}:" if key_prefix is _UNSET else key_prefix
        self._client = self.make_client()

    def make_client(self) -> Any:
        """Return a client; redis-py's own way, so that the harness does not depend on what it checks."""
        return client_of(self._url)

    def open_store(self, **settings: Any) -> RedisStore:
        """Return a store on a client of its own."""
        return RedisStore.from_url(self.named(self._url), self.settings(**settings))

    def named(self, url: str) -> str:
        """Return a URL whose connections bear a name, by which `cut` finds them."""
        return f"{url}{'&' if '?' in url else '?'}client_name={self._client_name}"

    def settings(self, **settings: Any) -> StoreSettings:
        """Return settings with the prefix of this harness before their own."""
        key_prefix = f"{self.key_prefix}{settings.pop('key_prefix', '')}"
        return StoreSettings(key_prefix=key_prefix, **settings)

    async def advance(self, seconds: float) -> None:
        """Shorten the TTL of each key, and delete those whose time is over."""
        delta = round(seconds * 1000)
        keys = [key async for key in self._keys()]
        async with self._client.pipeline(transaction=False) as asked:
            for key in keys:
                asked.pttl(key)
            lefts = cast("list[int]", await asked.execute())
        async with self._client.pipeline(transaction=False) as told:
            for key, left in zip(keys, lefts, strict=True):
                if left > delta:
                    told.pexpire(key, left - delta)
                elif left >= 0:
                    told.delete(key)
            # The leases of connections are scored by the server's time at which they end: they end so much sooner.
            for key in keys:
                if b"connections:" in key:
                    for member in cast("list[bytes]", await self._client.zrange(key, 0, -1)):
                        told.zincrby(key, -delta, member)
            await told.execute()

    async def disconnect(self) -> None:
        """Have the server close the connections that subscribe to channels, and no other."""
        await self._cut()

    async def _cut(self, **where: Any) -> None:
        for client in cast("list[dict[str, str]]", await self._client.client_list(_type="pubsub", **where)):
            if client["name"] == self._client_name:
                await self._client.client_kill_filter(_id=client["id"], **where)

    async def aclose(self) -> None:
        """Remove the keys with the prefix, and no other."""
        keys = [key async for key in self._keys()]
        async with self._client.pipeline(transaction=False) as told:
            for key in keys:
                told.delete(key)
            await told.execute()
        await close(self._client)

    async def describe_existing_data(self) -> str | None:
        """Tell how many keys the database holds.

        Raises:
            StoreUnavailableError: the server can't be reached.
        """
        async with self.open_store() as store:
            await store.ping()
        keys = await self._client.dbsize()
        return f"the Redis database is not empty: it holds {keys} keys" if keys else None

    @property
    def raw(self) -> RedisRaw:
        """The stored records."""
        return RedisRaw(self._client, self.key_prefix)

    @property
    def raw_hits(self) -> RedisRaw:
        """The counts of the rate limits."""
        return self.raw

    async def _keys(self) -> AsyncIterator[bytes]:
        async for key in self._client.scan_iter(match=f"{self.key_prefix}*", count=1000):
            yield key


class RedisClusterHarness(RedisHarness):
    """Redis stores on a cluster."""

    @property
    def raw(self) -> RedisRaw:
        """The stored records."""
        return RedisClusterRaw(self._client, self.key_prefix)

    async def disconnect(self) -> None:
        """Do so on each master."""
        await self._client.initialize()
        for node in self._client.get_primaries():
            await self._cut(target_nodes=node)


class RedisRaw:
    """The records as plain commands see them."""

    def __init__(self, client: Any, key_prefix: str) -> None:
        self._client = client
        self._prefix = key_prefix

    async def get_room(self, room_id: str) -> bytes | None:
        """GET."""
        return await self._client.get(self._key("room", room_id))

    async def put_room(self, room_id: str, data: bytes) -> None:
        """SET and SADD."""
        await self._client.set(self._key("room", room_id), data)
        await self.list_room(room_id)

    async def get_chat(self, room_id: str) -> list[bytes]:
        """LRANGE."""
        return await self._client.lrange(self._key("chat", room_id), 0, -1)

    async def push_chat(self, room_id: str, entry: bytes) -> None:
        """RPUSH."""
        await self._client.rpush(self._key("chat", room_id), entry)

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
