"""The Redis backend keeps the contract over TLS, with a client certificate."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tls import Authority, tls_server, tls_url
from wnc_store_contract import StoreContract
from wnc_store_contract.redis import RedisHarness


@pytest.fixture(scope="module")
def rediss_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a server that takes TLS only."""
    authority = Authority(tmp_path_factory.mktemp("tls") / "authority")
    with tls_server(authority, "localhost") as server:
        yield tls_url(server, authority=authority, client=authority.sign("client.example"))


class TestTls(StoreContract):
    """Over TLS, with the names of the Node app."""

    url: str

    @pytest.fixture(autouse=True)
    def _use_server(self, rediss_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
        self.url = rediss_url
        # redis-py reads the machine's own CAs for each connection, which takes longer than all the rest; here are none.
        monkeypatch.setenv("SSL_CERT_FILE", os.devnull)

    def make_harness(self) -> RedisHarness:
        """Return the whole of database 0."""
        return RedisHarness(self.url, key_prefix="")
