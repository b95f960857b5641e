"""The Redis backend keeps the contract on every kind of connection to a server, and on a client of the caller's."""

from __future__ import annotations

import pytest

from fake_redis import CallersClientHarness, DecodingHarness
from redis_server import RedisServer
from resp3 import Resp3Harness
from wnc_store_contract import StoreContract
from wnc_store_contract.redis import RedisHarness


class OnRealRedis:
    """A harness on the server of the test run."""

    server: RedisServer

    @pytest.fixture(autouse=True)
    def _use_server(self, redis_server: RedisServer) -> None:
        self.server = redis_server


class TestTcpWithPrefix(OnRealRedis, StoreContract):
    """Over TCP, behind a prefix."""

    def make_harness(self) -> RedisHarness:
        """Return a namespace of its own."""
        return RedisHarness(self.server.url)


class TestUnixSocket(OnRealRedis, StoreContract):
    """Over a Unix socket."""

    def make_harness(self) -> RedisHarness:
        """Return the whole of database 1."""
        return RedisHarness(self.server.unix_url, key_prefix="")


class TestResp3(OnRealRedis, StoreContract):
    """Over RESP3."""

    def make_harness(self) -> Resp3Harness:
        """Return a namespace of its own."""
        return Resp3Harness(self.server.url)


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
