"""Redis over TLS: a test certificate authority, its certificates, and a server that requires them."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from urllib.parse import urlencode

import trustme

from redis_server import RedisServer, redis_server


@dataclass(frozen=True)
class Signed:
    """The files of a certificate and its key."""

    certificate: Path
    key: Path


class Authority:
    """A certificate authority that writes its files into a folder."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self._folder = folder
        self._authority = trustme.CA()
        self.certificate = folder / "ca.pem"
        self._authority.cert_pem.write_to_path(str(self.certificate))

    def sign(self, *names: str, expires: datetime | None = None) -> Signed:
        """Return a certificate for host names and addresses."""
        made = self._authority.issue_cert(*names, not_after=expires)
        files = Signed(self._folder / f"{names[0]}.pem", self._folder / f"{names[0]}.key")
        files.certificate.write_bytes(b"".join(part.bytes() for part in made.cert_chain_pems))
        made.private_key_pem.write_to_path(str(files.key))
        return files


@contextmanager
def tls_server(authority: Authority, *names: str, expires: datetime | None = None) -> Generator[RedisServer]:
    """Run a redis-server that accepts only TLS and only clients with a certificate."""
    own = authority.sign(*names, expires=expires)
    files = ["--tls-cert-file", str(own.certificate), "--tls-key-file", str(own.key)]
    clients = ["--tls-ca-cert-file", str(authority.certificate), "--tls-auth-clients", "yes"]
    with redis_server(tls=[*files, *clients]) as server:
        yield server


def tls_url(
    server: RedisServer,
    *,
    authority: Authority | None = None,
    client: Signed | None = None,
    host: str = "localhost",
    user: str = "",
    **options: str,
) -> str:
    """Return a rediss:// URL that trusts an authority and presents a client certificate."""
    if authority is not None:
        options["ssl_ca_certs"] = str(authority.certificate)
    if client is not None:
        options |= {"ssl_certfile": str(client.certificate), "ssl_keyfile": str(client.key)}
    return f"rediss://{user}{host}:{server.port}/0?{urlencode(options)}"
