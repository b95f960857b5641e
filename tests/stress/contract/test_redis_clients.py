"""The Redis backend keeps the contract on a client of the caller's: of either `decode_responses`."""

from __future__ import annotations

import pytest

from fake_redis import CallersClientHarness, DecodingHarness
from redis_server import RedisServer
from wnc_store_contract import StoreContract


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
