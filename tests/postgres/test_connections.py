"""Ways to connect to a server: TCP, Unix socket, TLS and several hosts."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode

import pytest

from local_variables import shown_with_traceback
from postgres_database import PATIENT, connected
from postgres_server import PostgresServer, find_programs_with_tls
from redis_server import free_port
from tcp import tcp_server
from tls import Authority
from wnc_store import ConfigurationError, StoreError, StoreUnavailableError, open_store
from wnc_store_contract.factories import room
from wnc_store_postgres.transport.executor import session_options
from wnc_store_postgres.transport.pool import OwnPool
from wnc_store_postgres.transport.statistics import Statistics
from wnc_store_postgres.transport.url import parse_url

SECRET = "SECRET-9f1c"
HBA = """
local all all trust
host all postgres 127.0.0.1/32 trust
{connection} all wnc 127.0.0.1/32 scram-sha-256
"""


async def works(url: str) -> None:
    """Check that a store at a URL writes and reads."""
    async with open_store(url) as store:
        await store.rooms.create_room(room("A"))
        assert await store.rooms.delete_room("A")


async def refused(url: str, error: type[StoreError] = ConfigurationError) -> str:
    """Return the error of the URL or of a write, after a check that no frame or exception contains the password."""
    with pytest.raises(error) as caught:
        async with open_store(url) as store:
            await store.rooms.create_room(room("A"))
    assert SECRET not in shown_with_traceback(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("scheme", ["postgresql", "postgres"])
async def test_a_unix_socket(postgres_server: PostgresServer, shared: str, scheme: str) -> None:
    """A URL without a host and with ?host=/folder connects over the Unix socket in that folder."""
    await works(postgres_server.unix_url(shared).replace("postgresql", scheme))


async def test_the_first_of_several_hosts_is_down(postgres_server: PostgresServer, shared: str) -> None:
    """A URL with several hosts uses one that is reachable."""
    hosts = f"127.0.0.1:{free_port()},127.0.0.1:{postgres_server.port}"
    await works(postgres_server.url(shared).replace(f"127.0.0.1:{postgres_server.port}", hosts))


async def test_a_server_that_is_down() -> None:
    """A server that does not listen is unavailable, and the error names its address."""
    port = free_port()
    message = await refused(f"postgresql://wnc:{SECRET}@127.0.0.1:{port}/wnc", StoreUnavailableError)
    assert f"127.0.0.1:{port}" in message


async def test_a_server_that_stops_while_tls_is_negotiated() -> None:
    """If TLS is optional, a server that declines it and stops is unavailable, not misconfigured."""

    async def decline_and_stop(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(8)
        writer.write(b"NE\x00\x00\x00\x18SFATAL\x00C57P02\x00Mend\x00\x00")

    async with tcp_server(decline_and_stop) as port:
        await refused(f"postgresql://wnc:{SECRET}@127.0.0.1:{port}/wnc", StoreUnavailableError)


def role_url(server: PostgresServer, *, host: str = "127.0.0.1", password: str = SECRET, **options: str) -> str:
    """Return the URL of the role with a password."""
    return f"postgresql://wnc:{password}@{host}:{server.port}/wnc?{urlencode(options)}"


def run_with_role(server: PostgresServer) -> None:
    """Start a server, and create a role with a password and its database."""

    async def create() -> None:
        async with connected(server.url()) as admin:
            await admin.execute(f"CREATE ROLE wnc LOGIN PASSWORD '{SECRET}'")
            await admin.execute("CREATE DATABASE wnc OWNER wnc")

    server.start()
    asyncio.run(create())


@pytest.fixture(scope="module")
def guarded(postgres_server: PostgresServer) -> Iterator[PostgresServer]:
    """A server that requires the password of the role."""
    assert postgres_server  # skips the tests if there is none
    server = PostgresServer(hba=HBA.format(connection="host"))
    try:
        run_with_role(server)
        yield server
    finally:
        server.end()


async def test_a_password(guarded: PostgresServer) -> None:
    """The password of the URL is used."""
    await works(role_url(guarded))


async def test_a_wrong_password(guarded: PostgresServer) -> None:
    """A wrong password is an error of the configuration, and does not appear in it."""
    assert "rejected the credentials" in await refused(role_url(guarded, password=f"{SECRET}-wrong"))


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """The authority of the server's certificate."""
    return Authority(tmp_path_factory.mktemp("tls") / "ours")


@pytest.fixture(scope="module")
def tls(authority: Authority) -> Iterator[PostgresServer]:
    """A server for localhost, which accepts the role only over TLS."""
    programs = find_programs_with_tls()
    if programs is None:
        pytest.skip("found no PostgreSQL server with TLS: install one, for example with `apt-get install postgresql`")
    server = PostgresServer(programs=programs, hba=HBA.format(connection="hostssl"), ssl="on")
    try:
        signed = authority.sign("localhost")
        for name, source in (("ssl_cert_file", signed.certificate), ("ssl_key_file", signed.key)):
            copy = Path(shutil.copy(source, server.folder / name))
            copy.chmod(0o600)
            server.set(**{name: str(server.give(copy))})
        run_with_role(server)
        yield server
    finally:
        server.end()


def verified_url(server: PostgresServer, authority: Authority, host: str = "localhost") -> str:
    """Return a URL that requires a valid certificate of an authority."""
    return role_url(server, host=host, sslmode="verify-full", sslrootcert=str(authority.certificate))


async def test_tls(tls: PostgresServer, authority: Authority) -> None:
    """With sslmode=verify-full, a certificate of the named authority for the host of the URL is accepted."""
    await works(verified_url(tls, authority))


async def test_a_certificate_for_another_host(tls: PostgresServer, authority: Authority) -> None:
    """With sslmode=verify-full, a certificate for another host is rejected, and the error says so."""
    assert "certificate is not valid" in await refused(verified_url(tls, authority, "127.0.0.1"))


async def test_a_certificate_of_another_authority(tls: PostgresServer, tmp_path: Path) -> None:
    """A certificate of an unknown authority is rejected, and the error names the option for its file."""
    assert "sslrootcert" in await refused(verified_url(tls, Authority(tmp_path / "theirs")))


async def test_a_server_without_tls(guarded: PostgresServer, authority: Authority) -> None:
    """A server without TLS is rejected if the URL requires it, and the error names sslmode."""
    message = await refused(verified_url(guarded, authority))
    assert "does not accept TLS" in message
    assert "sslmode" in message


async def test_a_role_that_needs_tls(tls: PostgresServer) -> None:
    """A server that accepts a role only over TLS rejects sslmode=disable, and the error names pg_hba.conf."""
    assert "pg_hba.conf" in await refused(role_url(tls, sslmode="disable"))


async def test_a_missing_file(guarded: PostgresServer) -> None:
    """A file of the URL that does not exist is an error of the configuration that names the option."""
    assert "sslrootcert" in await refused(role_url(guarded, sslmode="verify-full", sslrootcert="/nowhere/ca.pem"))


async def test_waiting_calls_are_served_in_order(url: str) -> None:
    """A connection that is released goes to the call that has waited longest, and not to a call that just arrives."""
    pool = OwnPool(parse_url(f"{url}?pool_size=1", PATIENT), session_options(PATIENT), Statistics())
    deadline = asyncio.get_running_loop().time() + PATIENT.operation_timeout.total_seconds()
    served: list[int] = []

    async def use(number: int) -> None:
        connection = await pool.acquire(deadline)
        served.append(number)
        await pool.release(connection)

    held = await pool.acquire(deadline)
    waiting = [asyncio.ensure_future(use(number)) for number in range(3)]
    await asyncio.sleep(0)
    waiting[1].cancel()
    await pool.release(held)
    await use(3)
    await asyncio.gather(*waiting, return_exceptions=True)
    await pool.aclose()
    assert served == [0, 2, 3]
