"""Harnesses of the Redis backend for other protocols and for clients of the caller, real and fake."""

from __future__ import annotations

from typing import Any, cast

import fakeredis
from redis.asyncio import Redis

from wnc_store_contract import Capability
from wnc_store_contract.redis import RedisHarness
from wnc_store_redis import RedisStore


class Resp3Harness(RedisHarness):
    """Stores whose connections use RESP3."""

    def open_store(self, **settings: Any) -> RedisStore:
        """Return a store with its own client."""
        return RedisStore.from_url(self.named(f"{self._url}?protocol=3"), self.settings(**settings))


class CallersClientHarness(RedisHarness):
    """Stores on clients that the harness creates and closes."""

    decode_responses = False

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self._clients: list[Redis] = []

    def make_callers_client(self) -> Redis:
        """Return a client with redis-py's defaults, as an app would create it."""
        return Redis.from_url(self.named(self._url), decode_responses=self.decode_responses)  # pyright: ignore[reportUnknownMemberType]

    def open_store(self, **settings: Any) -> RedisStore:
        """Return a store on a new client."""
        client = self.make_callers_client()
        self._clients.append(client)
        return RedisStore(client, self.settings(**settings))

    async def aclose(self) -> None:
        """Close the clients."""
        for client in self._clients:
            await client.aclose()
        await super().aclose()


class DecodingHarness(CallersClientHarness):
    """Clients that decode replies to strings."""

    decode_responses = True


class FakeHarness(CallersClientHarness):
    """Clients of a fake server in this process."""

    capabilities = CallersClientHarness.capabilities - {Capability.DISCONNECT}

    def __init__(self) -> None:
        self._server = fakeredis.FakeServer()
        super().__init__("fake://")

    def make_client(self) -> Redis:
        """Return a client of the harness's fake server."""
        return self.make_callers_client()

    def make_callers_client(self) -> Redis:
        """Return another client of that server."""
        return cast("Redis", fakeredis.FakeAsyncRedis(server=self._server, decode_responses=self.decode_responses))
