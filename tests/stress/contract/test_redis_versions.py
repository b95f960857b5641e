"""The contract on the Redis backend with Redis 8 over both protocols, and with Valkey."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from packaged_servers import redis_8, valkey
from redis_server import RedisServer, running
from resp3 import Resp3Harness
from wnc_store_contract import StoreContract
from wnc_store_contract.redis import RedisHarness


@pytest.fixture(scope="module", name="redis8")
def _redis8() -> Iterator[RedisServer]:
    """A Redis 8 server."""
    server = RedisServer(program=redis_8())
    with running(server):
        yield server


@pytest.fixture(scope="module", name="valkey_server")
def _valkey_server() -> Iterator[RedisServer]:
    """A Valkey server."""
    server = RedisServer(program=valkey())
    with running(server):
        yield server


class OnRedis8:
    """A test class that uses the Redis 8 server."""

    server: RedisServer

    @pytest.fixture(autouse=True)
    def _use_server(self, redis8: RedisServer) -> None:
        assert b"redis_version:8." in redis8.ask("INFO", "server")
        self.server = redis8


class TestRedis8(OnRedis8, StoreContract):
    """Redis 8 over RESP2, the default."""

    def make_harness(self) -> RedisHarness:
        """Return a harness with a unique key prefix."""
        return RedisHarness(self.server.url)


class TestRedis8Resp3(OnRedis8, StoreContract):
    """Redis 8 over RESP3."""

    def make_harness(self) -> Resp3Harness:
        """Return a harness with a unique key prefix."""
        return Resp3Harness(self.server.url)


class TestValkey(StoreContract):
    """Valkey."""

    server: RedisServer

    @pytest.fixture(autouse=True)
    def _use_server(self, valkey_server: RedisServer) -> None:
        assert b"server_name:valkey" in valkey_server.ask("INFO", "server")
        self.server = valkey_server

    def make_harness(self) -> RedisHarness:
        """Return a harness with a unique key prefix."""
        return RedisHarness(self.server.url)
