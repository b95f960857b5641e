"""The state machine with the shipped number of sequences, which contract_tests/ reduces."""

from __future__ import annotations

import pytest

from redis_harnesses import FakeHarness
from redis_server import RedisServer
from wnc_store_contract.memory import MemoryHarness
from wnc_store_contract.redis import RedisHarness
from wnc_store_contract.statemachine import StateMachineClauses


class TestMemory(StateMachineClauses):
    """The memory backend."""

    def make_harness(self) -> MemoryHarness:
        """Return a harness with a new database."""
        return MemoryHarness()


class TestFakeRedis(StateMachineClauses):
    """The Redis backend on a fake server."""

    def make_harness(self) -> FakeHarness:
        """Return a harness with a new fake server."""
        return FakeHarness()


class TestTcp(StateMachineClauses):
    """The Redis backend on a real server."""

    server: RedisServer

    @pytest.fixture(autouse=True)
    def _use_server(self, redis_server: RedisServer) -> None:
        self.server = redis_server

    def make_harness(self) -> RedisHarness:
        """Return a harness with a unique key prefix."""
        return RedisHarness(self.server.url)
