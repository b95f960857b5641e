"""The Redis backend keeps the contract on a real server; tests/stress/contract has its other clients and engines."""

from __future__ import annotations

import pytest

from redis_server import RedisServer
from wnc_store_contract import StoreContract
from wnc_store_contract.redis import RedisHarness


class TestTcp(StoreContract):
    """Over TCP, with the names of the Node app."""

    server: RedisServer

    @pytest.fixture(autouse=True)
    def _use_server(self, redis_server: RedisServer) -> None:
        self.server = redis_server

    def make_harness(self) -> RedisHarness:
        """Return the whole of database 0."""
        return RedisHarness(self.server.url, key_prefix="")
