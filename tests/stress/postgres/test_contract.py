"""The contract on the Postgres backend with other connections. `contract_tests` uses TCP and an empty prefix."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import asyncpg
import pytest

from pgbouncer import MISSING, PROGRAM, pgbouncer
from postgres_server import PostgresServer
from wnc_store_contract import Capability, StoreContract
from wnc_store_contract.postgres import PostgresHarness
from wnc_store_postgres import PostgresStore

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


class CallersPoolHarness(PostgresHarness):
    """Stores on pools that the harness closes."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self._pools: list[Any] = []

    def open_store(self, **settings: Any) -> PostgresStore:
        """Return a store on a new pool."""
        pool = asyncpg.create_pool(self.named(self._url), min_size=0, max_size=4)
        self._pools.append(pool)
        return PostgresStore(pool, self.settings(**settings), listen_url=self.named(self._url))

    async def aclose(self) -> None:
        """Close the pools."""
        for pool in self._pools:
            await pool.close()
        await super().aclose()


class TestCallersPool(PostgresContract):
    """A pool of the caller."""

    def make_harness(self) -> PostgresHarness:
        """Return a harness with a unique prefix."""
        return CallersPoolHarness(self.server.url())


class PooledHarness(PostgresHarness):
    """Stores whose statements go through PgBouncer, whose sessions cannot be terminated one by one."""

    capabilities = PostgresHarness.capabilities - {Capability.DISCONNECT}


@pytest.mark.skipif(PROGRAM is None, reason=MISSING)
class TestPgBouncer(PostgresContract):
    """PgBouncer in transaction mode, with events from the server itself."""

    port: int

    @pytest.fixture(autouse=True, scope="class")
    def _use_pooler(self, postgres_server: PostgresServer) -> Iterator[None]:
        with pgbouncer(postgres_server) as port:
            type(self).port = port
            yield

    def make_harness(self) -> PostgresHarness:
        """Return a harness with a unique prefix."""
        pooler = f"postgresql://postgres@127.0.0.1:{self.port}/postgres"
        return PooledHarness(f"{pooler}?pgbouncer=true&direct=127.0.0.1:{self.server.port}")
