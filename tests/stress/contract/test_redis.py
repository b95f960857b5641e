"""The contract on the Redis backend with every kind of connection, client, server and engine."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest

from acl import DOCUMENTED_PREFIX, permit
from packaged_servers import redis_8, valkey
from redis_cluster import Cluster, redis_cluster
from redis_harnesses import CallersClientHarness, DecodingHarness, Resp3Harness
from redis_sentinels import Service, sentinel_service
from redis_server import RedisServer, running
from tls import Authority, tls_server, tls_url
from wnc_store import StoreSettings
from wnc_store_contract import Capability, StoreContract
from wnc_store_contract.redis import RedisClusterHarness, RedisHarness
from wnc_store_redis import RedisStore


class RedisContract(StoreContract):
    """The contract on the server of a fixture.

    Attributes:
        fixture: the name of the fixture.
        on: the value of the fixture.
        harness_class: makes a harness with a unique key prefix.
        has_all_sequences: whether the state machine runs the shipped number of sequences. It repeats the same ones for
            each class, so one class for a server and one for a cluster run all of them.
    """

    has_all_sequences = False
    fixture = "redis_server"
    on: Any
    harness_class: type[RedisHarness] = RedisHarness

    @pytest.fixture(autouse=True)
    def _use_fixture(self, request: pytest.FixtureRequest) -> None:
        self.on = request.getfixturevalue(self.fixture)
        if not self.has_all_sequences:
            request.getfixturevalue("few_sequences")

    def make_harness(self) -> RedisHarness:
        """Return a new harness."""
        return self.harness_class(self.on.url)


class TestTcpWithPrefix(RedisContract):
    """TCP with a key prefix."""

    has_all_sequences = True


@pytest.mark.exhaustive
class TestBytes(RedisContract):
    """A caller's client that returns bytes."""

    harness_class = CallersClientHarness


@pytest.mark.exhaustive
class TestStringsOverUnixSocket(RedisContract):
    """A caller's client that returns strings, over a Unix socket in database 1."""

    def make_harness(self) -> RedisHarness:
        """Return a harness on the socket."""
        return DecodingHarness(self.on.unix_url)


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


class TestAclWithPrefix(RedisContract):
    """The documented user of the documented key prefix."""

    fixture = "acl_server"

    def make_harness(self) -> RedisHarness:
        """Return a harness that uses the documented prefix."""
        return AclHarness(self.on, DOCUMENTED_PREFIX)


class TestCluster(RedisContract):
    """A cluster of three masters."""

    fixture = "cluster"
    harness_class = RedisClusterHarness


class ReplicatedHarness(RedisHarness):
    """Stores whose writes wait for all replicas."""

    def settings(self, **settings: Any) -> StoreSettings:
        """Return settings with replicated durability."""
        return super().settings(durability="replicated", **settings)


@pytest.fixture(scope="class")
def service() -> Iterator[Service]:
    """A master, a replica and a Sentinel."""
    with sentinel_service(replicas=1, sentinels=1) as service:
        yield service


class TestSentinel(RedisContract):
    """Sentinel and replicated durability."""

    fixture = "service"

    def make_harness(self) -> RedisHarness:
        """Return a harness that uses all of database 0."""
        return ReplicatedHarness(self.on.url, key_prefix="")


@pytest.fixture(scope="class")
def rediss_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a server that accepts only TLS."""
    authority = Authority(tmp_path_factory.mktemp("tls") / "authority")
    with tls_server(authority, "localhost") as server:
        yield tls_url(server, authority=authority, client=authority.sign("client.example"))


class TestTlsAndNewestFirst(RedisContract):
    """TLS with a client certificate, and chats that are stored newest first, as by the Node app's successor."""

    fixture = "rediss_url"

    @pytest.fixture(autouse=True)
    def _trust_no_other_authority(self, monkeypatch: pytest.MonkeyPatch) -> None:
        # redis-py loads the system's CA certificates for each connection, which is slow; this file contains none.
        monkeypatch.setenv("SSL_CERT_FILE", os.devnull)

    def make_harness(self) -> RedisHarness:
        """Return a harness that uses all of database 0."""
        return RedisHarness(self.on, key_prefix="", chat_order="newest_first")


@pytest.fixture(scope="class")
def redis8() -> Iterator[RedisServer]:
    """A Redis 8 server."""
    with running(server := RedisServer(program=redis_8())):
        assert b"redis_version:8." in server.ask("INFO", "server")
        yield server


class TestRedis8Resp3(RedisContract):
    """Redis 8 over RESP3."""

    fixture = "redis8"
    harness_class = Resp3Harness


@pytest.fixture(scope="class")
def valkey_server() -> Iterator[RedisServer]:
    """A Valkey server."""
    with running(server := RedisServer(program=valkey())):
        assert b"server_name:valkey" in server.ask("INFO", "server")
        yield server


class ValkeyContract(RedisContract):
    """The contract with the schemes of Valkey."""

    def make_harness(self) -> RedisHarness:
        """Return a new harness."""
        return self.harness_class(self.on.url.replace("redis", "valkey", 1))


class TestValkeyResp3(ValkeyContract):
    """Valkey over RESP3. `contract_tests` uses RESP2, the default."""

    fixture = "valkey_server"
    harness_class = Resp3Harness


@pytest.fixture(scope="class")
def valkey_service() -> Iterator[Service]:
    """A master, a replica and a Sentinel of Valkey."""
    with sentinel_service(replicas=1, sentinels=1, program=valkey()) as service:
        yield service


@pytest.mark.exhaustive
class TestValkeySentinel(ValkeyContract):
    """Sentinel of Valkey and replicated durability."""

    fixture = "valkey_service"
    harness_class = ReplicatedHarness


@pytest.fixture(scope="class")
def valkey_cluster() -> Iterator[Cluster]:
    """Three masters of Valkey without replicas."""
    with redis_cluster(replicas=0, program=valkey()) as cluster:
        yield cluster


class TestValkeyCluster(ValkeyContract):
    """A cluster of three masters of Valkey."""

    fixture = "valkey_cluster"
    harness_class = RedisClusterHarness
