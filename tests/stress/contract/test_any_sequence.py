"""The state machine with the shipped number of sequences, which contract_tests/ reduces."""

from __future__ import annotations

from redis_harnesses import FakeHarness
from wnc_store_contract.memory import MemoryHarness
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
