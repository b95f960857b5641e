"""TLS on real servers with test certificates: accepted and rejected clients, and the errors."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from redis import exceptions as driver
from redis.asyncio import Redis

from redis_server import RedisServer, redis_server, running, wait_for_reply
from tls import Authority, Signed, tls_server, tls_url
from wnc_store import OutcomeUnknownError, StoreSettings, StoreUnavailableError, open_store
from wnc_store_contract.factories import message, room
from wnc_store_redis import RedisStore
from wnc_store_redis.transport.errors import to_store_error

SECRET = "SECRET-9f1c"


@dataclass(frozen=True)
class Tls:
    """A server for localhost and 127.0.0.1, with its authority and a client certificate."""

    server: RedisServer
    authority: Authority
    client: Signed

    def url(self, **changes: Any) -> str:
        """Return the working URL with changes."""
        parts: dict[str, Any] = {"authority": self.authority, "client": self.client, **changes}
        return tls_url(self.server, **parts)


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tls]:
    """The server of these tests."""
    authority = Authority(tmp_path_factory.mktemp("tls") / "ours")
    with tls_server(authority, "localhost", "127.0.0.1") as server:
        yield Tls(server, authority, authority.sign("client.example"))


@pytest.fixture(scope="module")
def elsewhere(tls: Tls) -> Iterator[Tls]:
    """A server whose certificate is for another host."""
    with tls_server(tls.authority, "elsewhere.example") as server:
        yield replace(tls, server=server)


@pytest.fixture
def other_authority(tmp_path: Path) -> Authority:
    """An authority that the server does not trust."""
    return Authority(tmp_path / "theirs")


async def refused(url: str, operation_timeout: timedelta = timedelta(seconds=3)) -> StoreUnavailableError:
    """Return the error of a write, after a check that it does not contain the URL's password."""
    async with open_store(url, settings=StoreSettings(operation_timeout=operation_timeout)) as store:
        with pytest.raises(StoreUnavailableError) as caught:
            await store.rooms.create_room(room("A"))
    assert not isinstance(caught.value, OutcomeUnknownError)
    assert len(str(caught.value)) < 300
    link: BaseException | None = caught.value
    while link is not None:
        assert SECRET not in f"{link!r}{link}"
        link = link.__cause__ or link.__context__
    return caught.value


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
async def test_a_room_lives_over_tls(tls: Tls, host: str) -> None:
    """With the CA and a client certificate in the URL, a room can be created, used and deleted."""
    async with open_store(tls.url(host=host)) as store:
        await store.ping()
        await store.rooms.create_room(room("A"))
        await store.chat.add_message(message(1, "A"))
        assert [one async for one in store.rooms.active_room_ids()] == ["A"]
        assert await store.rooms.delete_room("A") is True
        assert await store.chat.get_messages("A") == []


@pytest.mark.parametrize("has_certificate", [False, True])
async def test_a_wrong_client_is_rejected(tls: Tls, other_authority: Authority, *, has_certificate: bool) -> None:
    """Without a client certificate, or with one of another CA, a write fails, and the error names the option."""
    client = other_authority.sign("client.example") if has_certificate else None
    assert "ssl_certfile" in str(await refused(tls.url(client=client)))
    async with open_store(tls.url()) as store:
        assert not await store.rooms.room_exists("A")


async def test_a_mismatched_key_is_reported(tls: Tls, other_authority: Authority) -> None:
    """A key that does not match the client certificate raises an error that names ssl_keyfile."""
    mixed = replace(tls.client, key=other_authority.sign("client.example").key)
    error = await refused(tls.url(client=mixed))
    assert "key values mismatch: set ssl_keyfile" in str(error)


@pytest.mark.parametrize("has_authority", [True, False])
async def test_a_wrong_authority_is_reported(tls: Tls, other_authority: Authority, *, has_authority: bool) -> None:
    """If the URL trusts another CA, or none beside the machine's, the error reports that and the option to set."""
    authority = other_authority if has_authority else None
    error = await refused(tls.url(authority=authority, user=f"user:{SECRET}@"))
    assert "certificate verify failed: " in str(error)
    assert "?ssl_ca_certs=" in str(error)
    assert isinstance(error.__cause__, driver.ConnectionError)


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
async def test_the_host_name_is_checked(elsewhere: Tls, host: str) -> None:
    """By default a certificate for another host is rejected, by name and by address, and the error explains it."""
    error = await refused(elsewhere.url(host=host, user=f"user:{SECRET}@"))
    assert f"mismatch, certificate is not valid for '{host}': connect to a host name" in str(error)


async def test_the_host_name_is_checked_for_a_callers_client(elsewhere: Tls) -> None:
    """redis-py's defaults reject a certificate for another host, too, and the error explains it."""
    client: Any = Redis.from_url(elsewhere.url())  # pyright: ignore[reportUnknownMemberType]
    async with client, RedisStore(client) as store:
        with pytest.raises(StoreUnavailableError, match="not valid for 'localhost'"):
            await store.ping()


async def test_the_url_can_disable_the_host_name_check(elsewhere: Tls) -> None:
    """With ssl_check_hostname=false in the URL, a certificate for another host is accepted."""
    async with open_store(elsewhere.url(ssl_check_hostname="false")) as store:
        await store.ping()


async def test_an_expired_certificate_is_reported(tls: Tls) -> None:
    """A server whose certificate has expired is rejected, and the error explains it."""
    with tls_server(tls.authority, "localhost", expires=datetime.now(UTC) - timedelta(days=1)) as server:
        error = await refused(replace(tls, server=server).url())
    assert "certificate has expired: renew it" in str(error)


async def test_a_missing_file_is_reported(tls: Tls, tmp_path: Path) -> None:
    """The error of a missing CA file names the problem."""
    error = await refused(tls.url(authority=None, ssl_ca_certs=str(tmp_path / "none.pem")))
    assert "a file does not exist" in str(error)


async def test_plain_redis_on_a_tls_port_is_rejected(tls: Tls) -> None:
    """A redis:// URL with a TLS port raises an error that names rediss://."""
    error = await refused(tls.server.url)
    assert "rediss://" in str(error)


async def test_tls_on_a_plain_port_is_rejected(tls: Tls, redis_server: RedisServer) -> None:
    """A rediss:// URL with a port without TLS raises an error that names TLS."""
    error = await refused(replace(tls, server=redis_server).url(), operation_timeout=timedelta(milliseconds=500))
    assert f"Redis at localhost:{redis_server.port} over TLS did not reply in time" in str(error)
    assert str(error).endswith("check the server and the network, and that the port accepts TLS")


async def test_verification_can_be_disabled(elsewhere: Tls, other_authority: Authority) -> None:
    """With ssl_cert_reqs=none in the URL, any certificate of any authority is accepted."""
    async with open_store(elsewhere.url(authority=other_authority, ssl_cert_reqs="none")) as store:
        await store.ping()


CLOSED = "the server closed the connection; it may require TLS"
ALERT = "tlsv13 alert certificate required: name a certificate that the server trusts"


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (ssl.SSLError(1, "[SSL: WRONG_VERSION_NUMBER] wrong version number (_ssl.c:1006)"), "wrong version number: "),
        (
            ssl.SSLError(1, "[SSL: X] tlsv1 alert protocol version (_ssl.c:1006)"),
            "protocol version: check that the port",
        ),
        (ssl.SSLError("anything"), "TLS failed: check that the port accepts TLS"),
        (driver.ConnectionError("Error 1. [SSL: X] certificate is not yet valid (_ssl.c:1)."), "set the clock"),
        (driver.ConnectionError("x : (1, '[SSL: X] tlsv13 alert certificate required (_ssl.c:2580)')"), ALERT),
        (driver.ConnectionError("Connection closed by server."), CLOSED),
        (ConnectionResetError(104, "Connection reset by peer"), CLOSED),
        (OSError("Connect call failed"), "check that the server is running, and check the URL"),
    ],
)
def test_openssl_messages_are_recognized(error: Exception, text: str) -> None:
    """The cause is recognized in the message of an error as well as in its chained errors."""
    outer = driver.ConnectionError("x")
    outer.__context__ = error
    for shown in (error, outer):
        assert text in str(to_store_error(shown, endpoint="h:1", key=""))


async def test_the_callers_exception_is_not_reported() -> None:
    """An exception that the caller was handling before the call is not reported as the cause."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    async with open_store(f"redis://127.0.0.1:{port}") as store:
        try:
            raise ssl.SSLError(1, "[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed (_ssl.c:1)")  # noqa: TRY301
        except ssl.SSLError:
            with pytest.raises(StoreUnavailableError, match="check that the server is running"):
                await store.ping()


def test_a_cyclic_chain_of_errors_ends() -> None:
    """An error whose chain of causes is cyclic is reported like any other."""
    one, two = driver.ConnectionError("x"), driver.ConnectionError("y")
    one.__cause__, two.__cause__ = two, one
    assert isinstance(to_store_error(one, endpoint="h:1", key=""), StoreUnavailableError)


@pytest.fixture
def certificates(tls: Tls) -> dict[str, str]:
    """The options of a server that uses TLS for clients, replicas and other servers."""
    own = tls.authority.sign("127.0.0.1")
    return {
        "tls-cert-file": str(own.certificate),
        "tls-key-file": str(own.key),
        "tls-ca-cert-file": str(tls.authority.certificate),
        "tls-auth-clients": "no",
        "tls-replication": "yes",
    }


async def connects_only_with(authority: Authority, url: str, *options: str) -> None:
    """Check that a store works with the TLS of a URL, and that it verifies the server's certificate.

    Options turn TLS on, unless the scheme does.
    """
    flags = [] if url.startswith(("rediss", "valkeys")) else [f"{option}=true" for option in options]
    trusted = [*flags, *(f"{option}_ca_certs={authority.certificate}" for option in options)]
    async with open_store(f"{url}?{'&'.join(trusted)}") as store:
        await store.rooms.create_room(room("A"))
        assert await store.rooms.delete_room("A")
    await refused(f"{url}?{'&'.join(flags)}", timedelta(milliseconds=500))


@pytest.mark.parametrize("scheme", ["redis+sentinel", "rediss+sentinel", "valkeys+sentinel"])
async def test_sentinels_and_their_master_over_tls(tls: Tls, certificates: dict[str, str], scheme: str) -> None:
    """With TLS in the scheme, or in the options, Sentinels and servers are used over TLS and are verified."""
    arguments = [part for name, value in certificates.items() for part in (f"--{name}", value)]
    lines = [f"{name} {value}" for name, value in certificates.items()]
    with redis_server(tls=arguments) as master:
        sentinel = RedisServer(
            f"sentinel monitor party 127.0.0.1 {master.port} 1", *lines, sentinel=True, tls=arguments
        )
        with running(sentinel):
            wait_for_reply("status=ok", sentinel, to=("INFO", "sentinel"))
            await connects_only_with(
                tls.authority, f"{scheme}://127.0.0.1:{sentinel.port}/party", "ssl", "sentinel_ssl"
            )


@pytest.mark.parametrize("scheme", ["redis+cluster", "rediss+cluster", "valkeys+cluster"])
async def test_a_cluster_over_tls(tls: Tls, certificates: dict[str, str], scheme: str) -> None:
    """With TLS in the scheme, or in the options, the nodes of a cluster are used over TLS and are verified."""
    arguments = [part for name, value in certificates.items() for part in (f"--{name}", value)]
    with redis_server("--cluster-enabled", "yes", "--tls-cluster", "yes", tls=arguments) as node:
        node.ask("CLUSTER", "ADDSLOTSRANGE", "0", "16383")
        wait_for_reply("cluster_state:ok", node, to=("CLUSTER", "INFO"))
        await connects_only_with(tls.authority, f"{scheme}://127.0.0.1:{node.port}", "ssl")
