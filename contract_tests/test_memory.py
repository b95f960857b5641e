"""The memory backend keeps the contract."""

from __future__ import annotations

from wnc_store_contract import StoreContract
from wnc_store_contract.memory import MemoryHarness


class TestMemory(StoreContract):
    """On memory, with a clock that is moved by hand."""

    def make_harness(self) -> MemoryHarness:
        """Return a new database."""
        return MemoryHarness()
