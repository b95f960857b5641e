"""The contract on the Postgres backend with a real server; tests/stress/contract has other connections."""

from __future__ import annotations

import pytest

from postgres_server import PostgresServer, ServerNotFoundError, find_programs
from wnc_store_contract import StoreContract
from wnc_store_contract.postgres import PostgresHarness

try:
    find_programs()
except ServerNotFoundError as missing:
    pytest.skip(str(missing), allow_module_level=True)  # a fixture must not skip the clauses of a contract


class TestTcp(StoreContract):
    """TCP, with an empty key prefix."""

    server: PostgresServer

    @pytest.fixture(autouse=True)
    def _use_server(self, postgres_server: PostgresServer) -> None:
        self.server = postgres_server

    def make_harness(self) -> PostgresHarness:
        """Return a harness that uses all rows of a database."""
        return PostgresHarness(self.server.url(), key_prefix="")
