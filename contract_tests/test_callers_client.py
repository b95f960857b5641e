"""The Redis backend keeps the contract on a client of the caller's: of either `decode_responses`, real or fake."""

from __future__ import annotations

from typing import Any, cast

import fakeredis
import pytest
from redis.asyncio import Redis

from redis_server import RedisServer
from wnc_store_contract import StoreContract
from wnc_store_contract.redis import RedisHarness
from wnc_store_redis import RedisStore


class CallersClientHarness(RedisHarness):
    """Stores on clients that the harness makes and closes."""

    decode_responses = False

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self._clients: list[Redis] = []

    def make_callers_client(self) -> Redis:
        """Return a client as an app would make it, with redis-py's defaults."""
        return Redis.from_url(self._url, decode_responses=self.decode_responses)  # pyright: ignore[reportUnknownMemberType]

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
    """Clients that turn replies into strings."""

    decode_responses = True


class FakeHarness(CallersClientHarness):
    """Clients of a fake server in this process."""

    def make_client(self) -> Redis:
        """Return a client of the harness's own fake server."""
        self._server = fakeredis.FakeServer()
        return self.make_callers_client()

    def make_callers_client(self) -> Redis:
        """Return another client of that server."""
        return cast("Redis", fakeredis.FakeAsyncRedis(server=self._server, decode_responses=self.decode_responses))


class OnRealRedis:
    """A harness on the server of the test run."""

    server: RedisServer

    @pytest.fixture(autouse=True)
    def _use_server(self, redis_server: RedisServer) -> None:
        self.server = redis_server


class TestBytes(OnRealRedis, StoreContract):
    """A client that returns bytes."""

    def make_harness(self) -> CallersClientHarness:
        """Return a namespace of its own."""
        return CallersClientHarness(self.server.url)


class TestStrings(OnRealRedis, StoreContract):
    """A client that returns strings."""

    def make_harness(self) -> DecodingHarness:
        """Return a namespace of its own."""
        return DecodingHarness(self.server.url)


class TestFakeRedis(StoreContract):
    """A fake server: quick, and no proof."""

    def make_harness(self) -> FakeHarness:
        """Return a new fake server."""
        return FakeHarness("fake://")
