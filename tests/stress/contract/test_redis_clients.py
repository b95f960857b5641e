"""The contract on the Redis backend with every kind of connection and with clients that the caller creates."""

from __future__ import annotations

import pytest

from fake_redis import CallersClientHarness, DecodingHarness
from redis_server import RedisServer
from resp3 import Resp3Harness
from wnc_store_contract import StoreContract
from wnc_store_contract.redis import RedisHarness


class OnRealRedis:
    """A test class that uses the server of the test run."""

    server: RedisServer

    @pytest.fixture(autouse=True)
    def _use_server(self, redis_server: RedisServer) -> None:
        self.server = redis_server


class TestTcpWithPrefix(OnRealRedis, StoreContract):
    """TCP with a key prefix."""

    def make_harness(self) -> RedisHarness:
        """Return a harness with a unique key prefix."""
        return RedisHarness(self.server.url)


class TestUnixSocket(OnRealRedis, StoreContract):
    """A Unix socket."""

    def make_harness(self) -> RedisHarness:
        """Return a harness that uses all of database 1."""
        return RedisHarness(self.server.unix_url, key_prefix="")


class TestResp3(OnRealRedis, StoreContract):
    """RESP3."""

    def make_harness(self) -> Resp3Harness:
        """Return a harness with a unique key prefix."""
        return Resp3Harness(self.server.url)


class TestBytes(OnRealRedis, StoreContract):
    """A caller's client that returns bytes."""

    def make_harness(self) -> CallersClientHarness:
        """Return a harness with a unique key prefix."""
        return CallersClientHarness(self.server.url)


class TestStrings(OnRealRedis, StoreContract):
    """A caller's client that returns strings."""

    def make_harness(self) -> DecodingHarness:
        """Return a harness with a unique key prefix."""
        return DecodingHarness(self.server.url)
