"""The contract on a key-value database in memory."""

from __future__ import annotations

from tiny_database import TinyHarness
from wnc_store_contract import StoreContract


class TestKeyValue(StoreContract):
    """The kit for key-value databases, without a driver."""

    def make_harness(self) -> TinyHarness:
        """Return a harness on an empty database."""
        return TinyHarness()
