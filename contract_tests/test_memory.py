"""The contract on the memory backend."""

from __future__ import annotations

from wnc_store_contract import StoreContract
from wnc_store_contract.memory import MemoryHarness


class TestMemory(StoreContract):
    """Memory stores with a manual clock."""

    def make_harness(self) -> MemoryHarness:
        """Return a harness with a new database."""
        return MemoryHarness()
