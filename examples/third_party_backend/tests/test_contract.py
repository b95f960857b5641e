"""The contract on the SQLite backend."""

from __future__ import annotations

from wnc_store_contract import StoreContract
from wnc_store_sqlite.harness import SqliteHarness


class TestSqlite(StoreContract):
    """A new file and a manual clock for each clause."""

    def make_harness(self) -> SqliteHarness:
        """Return a harness on a new file."""
        return SqliteHarness()
