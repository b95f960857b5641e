"""The contract on the Redis backend over TLS with a client certificate."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tls import Authority, tls_server, tls_url
from wnc_store_contract import StoreContract
from wnc_store_contract.redis import RedisHarness


@pytest.fixture(scope="module")
def rediss_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a server that accepts only TLS."""
    authority = Authority(tmp_path_factory.mktemp("tls") / "authority")
    with tls_server(authority, "localhost") as server:
        yield tls_url(server, authority=authority, client=authority.sign("client.example"))


class TestTls(StoreContract):
    """TLS with the key names of the Node app."""

    url: str

    @pytest.fixture(autouse=True)
    def _use_server(self, rediss_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
        self.url = rediss_url
        # redis-py loads the system's CA certificates for each connection, which is slow; this file contains none.
        monkeypatch.setenv("SSL_CERT_FILE", os.devnull)

    def make_harness(self) -> RedisHarness:
        """Return a harness that uses all of database 0."""
        return RedisHarness(self.url, key_prefix="")
