"""The contract on a real Valkey server; tests/stress/contract has other deployments of Valkey."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from packaged_servers import valkey
from redis_server import RedisServer, running
from wnc_store_contract import StoreContract
from wnc_store_contract.redis import RedisHarness


@pytest.fixture(scope="module", name="valkey_server")
def _valkey_server() -> Iterator[RedisServer]:
    """A Valkey server."""
    with running(server := RedisServer(program=valkey())):
        yield server


class TestValkey(StoreContract):
    """A valkey:// URL with a key prefix."""

    server: RedisServer

    @pytest.fixture(autouse=True)
    def _use_server(self, valkey_server: RedisServer) -> None:
        self.server = valkey_server

    def make_harness(self) -> RedisHarness:
        """Return a harness with a unique key prefix."""
        return RedisHarness(self.server.valkey_url)
