"""The contract on the Postgres backend with other connections. `contract_tests` uses TCP and an empty prefix."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pgbouncer import MISSING, PROGRAM, pgbouncer
from postgres_server import PostgresServer, ServerNotFoundError, find_programs
from wnc_store_contract import Capability, StoreContract
from wnc_store_contract.postgres import PostgresHarness

try:
    find_programs()
except ServerNotFoundError as missing:
    pytest.skip(str(missing), allow_module_level=True)  # a fixture must not skip the clauses of a contract

pytestmark = pytest.mark.exhaustive


class PostgresContract(StoreContract):
    """The contract on the server of the session."""

    server: PostgresServer

    @pytest.fixture(autouse=True)
    def _use_server(self, postgres_server: PostgresServer) -> None:
        self.server = postgres_server


class TestUnixSocketWithPrefix(PostgresContract):
    """The Unix socket, with a key prefix."""

    def make_harness(self) -> PostgresHarness:
        """Return a harness with a unique prefix."""
        return PostgresHarness(self.server.unix_url())


class PooledHarness(PostgresHarness):
    """Stores whose statements go through PgBouncer, whose sessions cannot be terminated one by one."""

    capabilities = PostgresHarness.capabilities - {Capability.DISCONNECT}


@pytest.fixture(scope="module")
def pooler(postgres_server: PostgresServer) -> Iterator[int]:
    """The port of PgBouncer in transaction mode."""
    assert PROGRAM is not None, MISSING
    with pgbouncer(postgres_server) as port:
        yield port


class TestPgBouncer(PostgresContract):
    """PgBouncer in transaction mode, with events from the server itself."""

    port: int

    @pytest.fixture(autouse=True)
    def _use_pooler(self, pooler: int) -> None:
        self.port = pooler

    def make_harness(self) -> PostgresHarness:
        """Return a harness with a unique prefix."""
        url = f"postgresql://postgres@127.0.0.1:{self.port}/postgres"
        return PooledHarness(f"{url}?pgbouncer=true&direct=127.0.0.1:{self.server.port}")
