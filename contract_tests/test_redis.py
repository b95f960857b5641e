"""The contract on the Redis backend with a real server; tests/stress/contract has other clients and engines."""

from __future__ import annotations

import pytest

from redis_server import RedisServer
from wnc_store_contract import StoreContract
from wnc_store_contract.redis import RedisHarness


class TestTcp(StoreContract):
    """TCP, with the key names of the Node app."""

    server: RedisServer

    @pytest.fixture(autouse=True)
    def _use_server(self, redis_server: RedisServer) -> None:
        self.server = redis_server

    def make_harness(self) -> RedisHarness:
        """Return a harness that uses all of database 0."""
        return RedisHarness(self.server.url, key_prefix="")
