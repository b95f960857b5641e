"""The SQLite backend keeps the contract."""

from __future__ import annotations

from wnc_store_contract import StoreContract
from wnc_store_sqlite.harness import SqliteHarness


class TestSqlite(StoreContract):
    """On a new file for each clause, with a clock that is moved by hand."""

    def make_harness(self) -> SqliteHarness:
        """Return a harness on a new file."""
        return SqliteHarness()
