"""The contract on the Redis backend as a user with only the permissions of docs/redis-acl.md."""

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
    """Stores that connect as the user of their prefix; raw access uses the default user."""

    capabilities = RedisHarness.capabilities - {Capability.DISCONNECT}  # the user may not run CLIENT SETNAME

    def __init__(self, server: RedisServer, key_prefix: str) -> None:
        super().__init__(server.url, key_prefix=key_prefix)
        self._server = server

    def open_store(self, **settings: Any) -> RedisStore:
        """Return a store with its own client."""
        store_settings = self.settings(**settings)
        return RedisStore.from_url(permit(self._server, store_settings.key_prefix), store_settings)


@pytest.fixture(scope="module", name="acl_server")
def _acl_server() -> Iterator[RedisServer]:
    """A server whose users exist only for these tests."""
    with redis_server() as server:
        yield server


class OnAclServer:
    """A test class that uses the server with the ACL users."""

    server: RedisServer

    @pytest.fixture(autouse=True)
    def _use_server(self, acl_server: RedisServer) -> None:
        self.server = acl_server


class TestAcl(OnAclServer, StoreContract):
    """The key names of the Node app."""

    def make_harness(self) -> AclHarness:
        """Return a harness that uses all of database 0."""
        return AclHarness(self.server, "")


class TestAclWithPrefix(OnAclServer, StoreContract):
    """The documented key prefix."""

    def make_harness(self) -> AclHarness:
        """Return a harness that uses the documented prefix."""
        return AclHarness(self.server, DOCUMENTED_PREFIX)
