"""The state machine in the form that is shipped, where contract_tests/ runs it in its quick form."""

from __future__ import annotations

import pytest

from fake_redis import FakeHarness
from redis_server import RedisServer
from wnc_store_contract.memory import MemoryHarness
from wnc_store_contract.redis import RedisHarness
from wnc_store_contract.statemachine import StateMachineClauses


class TestMemory(StateMachineClauses):
    """On memory."""

    def make_harness(self) -> MemoryHarness:
        """Return a new database."""
        return MemoryHarness()


class TestFakeRedis(StateMachineClauses):
    """On a fake server."""

    def make_harness(self) -> FakeHarness:
        """Return a new fake server."""
        return FakeHarness()


class TestTcp(StateMachineClauses):
    """On a real server."""

    server: RedisServer

    @pytest.fixture(autouse=True)
    def _use_server(self, redis_server: RedisServer) -> None:
        self.server = redis_server

    def make_harness(self) -> RedisHarness:
        """Return a namespace of its own."""
        return RedisHarness(self.server.url)
