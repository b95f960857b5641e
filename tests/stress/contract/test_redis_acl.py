"""The Redis backend keeps the contract as a user that may do only what docs/redis-acl.md grants."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from acl import DOCUMENTED_PREFIX, permit
from redis_server import RedisServer, redis_server
from wnc_store_contract import Capability, StoreContract
from wnc_store_contract.redis import RedisHarness
from wnc_store_redis import RedisStore


class AclHarness(RedisHarness):
    """Stores as the user of their prefix; what goes behind their backs goes as the default user."""

    capabilities = RedisHarness.capabilities - {Capability.DISCONNECT}  # the user may not give connections a name

    def __init__(self, server: RedisServer, key_prefix: str) -> None:
        super().__init__(server.url, key_prefix=key_prefix)
        self._server = server

    def open_store(self, **settings: Any) -> RedisStore:
        """Return a store on a client of its own."""
        wanted = self.settings(**settings)
        return RedisStore.from_url(permit(self._server, wanted.key_prefix), wanted)


@pytest.fixture(scope="module", name="guarded_server")
def _guarded_server() -> Iterator[RedisServer]:
    """A server whose users come and go with these tests."""
    with redis_server() as server:
        yield server


class OnGuardedRedis:
    """A harness on that server."""

    server: RedisServer

    @pytest.fixture(autouse=True)
    def _use_server(self, guarded_server: RedisServer) -> None:
        self.server = guarded_server


class TestAcl(OnGuardedRedis, StoreContract):
    """With the names of the Node app."""

    def make_harness(self) -> AclHarness:
        """Return the whole of database 0."""
        return AclHarness(self.server, "")


class TestAclWithPrefix(OnGuardedRedis, StoreContract):
    """Behind the documented prefix."""

    def make_harness(self) -> AclHarness:
        """Return the keys with the prefix."""
        return AclHarness(self.server, DOCUMENTED_PREFIX)
