"""The Redis backend keeps the contract: on a real server, over TCP and a Unix socket, with and without a prefix."""

from __future__ import annotations

import pytest

from redis_server import RedisServer
from wnc_store_contract import StoreContract
from wnc_store_contract.redis import RedisHarness


class OnRealRedis:
    """A harness on the server of the test run."""

    server: RedisServer

    @pytest.fixture(autouse=True)
    def _use_server(self, redis_server: RedisServer) -> None:
        self.server = redis_server


class TestTcp(OnRealRedis, StoreContract):
    """Over TCP, with the names of the Node app."""

    def make_harness(self) -> RedisHarness:
        """Return the whole of database 0."""
        return RedisHarness(self.server.url, key_prefix="")


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
