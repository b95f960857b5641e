"""Clients from URLs, and the errors of invalid ones."""

from __future__ import annotations

import ssl
from typing import Any

import pytest
from redis.asyncio.connection import Connection, SSLConnection

from local_variables import shown_with_traceback
from wnc_store import ConfigurationError, StoreSettings, open_store
from wnc_store_redis import RedisStore
from wnc_store_redis.transport.url import connect

SECRET = "SECRET-9f1c"


def options(url: str) -> dict[str, Any]:
    """Return the options of the connections of a client."""
    client: Any = connect(url, StoreSettings())
    return client.connection_pool.connection_kwargs


async def test_options_for_sentinels_are_parsed_and_apart() -> None:
    """Options that begin with sentinel_ have the types that redis-py expects, and do not reach the servers."""
    url = "redis+sentinel://host:1/party/2?sentinel_socket_timeout=60&sentinel_password=secret&socket_timeout=5"
    client: Any = connect(url, StoreSettings())
    pool = client.connection_pool
    (sentinel,) = pool.sentinel_manager.sentinels
    for_sentinels = sentinel.connection_pool.connection_kwargs
    assert (for_sentinels["socket_timeout"], for_sentinels["password"]) == (60.0, "secret")
    assert (pool.connection_kwargs["socket_timeout"], pool.connection_kwargs["db"]) == (5.0, 2)
    assert not any(name.startswith("sentinel_") for name in pool.connection_kwargs)
    assert pool.connection_kwargs.get("password") is None


@pytest.mark.parametrize("url", ["redis://{}host/0", "rediss://{}host", "redis+sentinel://{}host/party"])
def test_percent_encoded_credentials_are_decoded(url: str) -> None:
    """Special characters in the user and the password can be percent-encoded."""
    found = options(url.format("a%40pp:p%40%23%2F%3F%3A%25@"))
    assert (found["username"], found["password"]) == ("a@pp", "p@#/?:%")


def test_a_cluster_has_the_options_of_its_url() -> None:
    """Credentials and options of a redis+cluster:// URL reach every node."""
    client: Any = connect("redis+cluster://app:p%40@127.0.0.1:7000,127.0.0.2?client_name=x", StoreSettings())
    nodes = list(client.nodes_manager.startup_nodes.values())
    assert sorted((node.host, node.port) for node in nodes) == [("127.0.0.1", 7000), ("127.0.0.2", 6379)]
    for node in nodes:
        found = node.connection_kwargs
        assert (found["username"], found["password"], found["client_name"]) == ("app", "p@", "x")


def test_an_unencoded_password_is_kept() -> None:
    """Colons and percent signs in a password need no encoding, and an IPv6 address is read."""
    found = options("redis://:a:b%c@[::1]:7000/3")
    assert (found["password"], found["host"], found["port"], found["db"]) == ("a:b%c", "::1", 7000, 3)


@pytest.mark.parametrize(("url", "port"), [("redis://", 6379), ("redis://:7000/0", 7000), ("redis://:pw@/0", 6379)])
def test_the_default_host_is_this_machine(url: str, port: int) -> None:
    """A URL without a host is of this machine."""
    assert (options(url)["host"], options(url)["port"]) == ("localhost", port)


def test_the_path_of_a_socket_may_contain_an_at_sign() -> None:
    """An @ in the path of a socket or in its options is not a separator of credentials."""
    found = options("unix:///run/redis@main.sock?db=2&password=a@b")
    assert (found["path"], found["db"], found["password"]) == ("/run/redis@main.sock", 2, "a@b")
    assert options("unix://user:pw@/run/redis.sock")["username"] == "user"


@pytest.mark.parametrize(("scheme", "kind"), [("", Connection), ("s", SSLConnection)])
def test_valkey_has_the_connections_of_redis(scheme: str, kind: type[Connection]) -> None:
    """The schemes valkey:// and valkeys:// open the same connections as redis:// and rediss://."""
    for product in ("redis", "valkey"):
        client: Any = connect(f"{product}{scheme}://app:pw@host:7000/3", StoreSettings())
        pool = client.connection_pool
        assert pool.connection_class is kind
        found = pool.connection_kwargs
        assert (found["host"], found["port"], found["db"], found["password"]) == ("host", 7000, 3, "pw")


@pytest.mark.parametrize("product", ["redis", "valkey"])
@pytest.mark.parametrize(
    ("scheme", "query", "tls", "tls_of_sentinels"),
    [
        ("", "", False, False),
        ("", "?ssl=true", True, False),
        ("s", "", True, True),
        ("s", "?ssl=true", True, True),
        ("s", "?sentinel_ssl=false", True, False),
    ],
)
def test_a_scheme_selects_tls_for_servers_and_sentinels(
    product: str, scheme: str, query: str, *, tls: bool, tls_of_sentinels: bool
) -> None:
    """TLS in the scheme of a Sentinel URL applies to servers and Sentinels, unless sentinel_ssl=false."""
    client: Any = connect(f"{product}{scheme}+sentinel://host/party/2{query}", StoreSettings())
    pool = client.connection_pool
    (sentinel,) = pool.sentinel_manager.sentinels
    assert (pool.service_name, pool.connection_kwargs["db"]) == ("party", 2)
    assert issubclass(pool.connection_class, SSLConnection) is tls
    assert issubclass(sentinel.connection_pool.connection_class, SSLConnection) is tls_of_sentinels


@pytest.mark.parametrize("product", ["redis", "valkey"])
@pytest.mark.parametrize(("scheme", "tls"), [("", False), ("s", True)])
def test_a_scheme_selects_tls_for_a_cluster(product: str, scheme: str, *, tls: bool) -> None:
    """TLS in the scheme of a cluster URL applies to every node."""
    client: Any = connect(f"{product}{scheme}+cluster://host1,host2", StoreSettings())
    nodes = list(client.nodes_manager.startup_nodes.values())
    assert len(nodes) == 2
    assert all(issubclass(node.connection_class, SSLConnection) is tls for node in nodes)


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("valkey://host/abc", "the path must be the number of a database; expected a URL like valkey://user:"),
        ("valkey://host?ssl_ca_certs=/x", "which this scheme does not have; TLS needs valkeys://; "),
        (
            "valkeys://host?ssl=true",
            "it has the option ssl, which this scheme does not have; expected a URL like valkeys",
        ),
        ("valkey+sentinel://host", "expected a URL like valkey+sentinel://user:"),
        ("valkeys+cluster://host/1", "a cluster has only database 0; expected a URL like valkeys+cluster://user:"),
        ("valkeys+cluster://host?ssl=false", "the option ssl=false contradicts this scheme, which uses TLS; "),
        ("rediss+sentinel://host/party?ssl=no", "the option ssl=false contradicts this scheme, which uses TLS; "),
    ],
)
def test_the_error_of_an_invalid_url_names_its_own_schemes(url: str, problem: str) -> None:
    """The error of an invalid URL of Valkey shows a URL of Valkey, and an option cannot turn off TLS of a scheme."""
    with pytest.raises(ConfigurationError) as caught:
        connect(url, StoreSettings())
    assert str(caught.value).startswith(f"invalid {url.partition(':')[0]}:// URL: ")
    assert problem in str(caught.value)
    assert url.startswith("redis") or "redis" not in str(caught.value)


FRAGMENT = "it has a fragment; percent-encode # as %23"
AT_SIGN = "it has more than one @, or an @ behind the host; percent-encode @ as %40"
SLASHES = "the path of the socket must follow three slashes"


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        (f"redis://app:pa@{SECRET}-Rest#end@host", FRAGMENT),
        (f"redis://:7811#{SECRET}@host", FRAGMENT),
        (f"redis://host/0#{SECRET}", FRAGMENT),
        (f"redis+sentinel://:7811#{SECRET}@host/party", FRAGMENT),
        (f"redis+cluster://:7811#{SECRET}@host", FRAGMENT),
        (f"unix:///run/x.sock?password=7811#{SECRET}", FRAGMENT),
        (f"redis://app:pa@{SECRET}@host", AT_SIGN),
        (f"redis://:7811?{SECRET}@host", AT_SIGN),
        (f"redis://:7811?x={SECRET}@host", AT_SIGN),
        (f"redis://:7811/{SECRET}@host", AT_SIGN),
        (f"redis+sentinel://:pa@{SECRET}@host/party", AT_SIGN),
        (f"redis+cluster://:pa@{SECRET}@host", AT_SIGN),
        (f"unix://user:p/{SECRET}@/run/x.sock", AT_SIGN),
        (f"unix://{SECRET}/x.sock", SLASHES),
        ("unix://tmp/x.sock", SLASHES),
        ("unix://", SLASHES),
        (f"redis://:{SECRET}@host/abc", "the path must be the number of a database"),
        (f"redis+cluster://:{SECRET}@host/1", "a cluster has only database 0"),
        (f"redis+cluster://:{SECRET}@host?db=1", "a cluster has only database 0"),
        (f"redis+sentinel://:{SECRET}@host", "the name of the service must follow the addresses of the Sentinels"),
    ],
)
def test_a_url_that_does_not_mean_what_it_says_is_rejected(url: str, problem: str) -> None:
    """An error names what is wrong in a URL, and neither it nor a local variable contains a part of the URL."""
    with pytest.raises(ConfigurationError, match=f"invalid [a-z+]+:// URL: {problem}") as caught:
        open_store(url, settings=StoreSettings())
    assert SECRET not in f"{caught.value!r}"
    del url
    assert SECRET not in shown_with_traceback(caught.value)


@pytest.mark.parametrize(
    ("option", "problem"),
    [
        ("ssl_cert_reqs=CERT_NONE", "the option ssl_cert_reqs must be required, optional or none; "),
        ("protocol=4", "the option protocol must be 2 or 3; "),
        ("protocol=x", "the option protocol must be 2 or 3; "),
        ("client_name=my%20app", "the option client_name must be printable ASCII characters without spaces; "),
        ("socket_timeout=0", "the option socket_timeout must be a number of seconds, at least 0.001; "),
        ("socket_timeout=nan", "the option socket_timeout must be a number of seconds, at least 0.001; "),
        ("ssl_check_hostname=flase", "the option ssl_check_hostname must be true or false; "),
        ("ssl_ca_certs=", "the option ssl_ca_certs must be the path of a file; "),
        ("ssl_min_version=7", "the option ssl_min_version must be 771 "),
        ("ssl_ciphers=none", "the option ssl_ciphers must be a list of ciphers"),
        ("ssl_include_verify_flags=X", "the option ssl_include_verify_flags must be names of "),
        ("encoding=latin-0", "the option encoding must be the name of a text encoding of Python; "),
        ("db=-1", "the option db must be the number of a database; "),
        ("db=1&db=2", "the option db is given twice; "),
        ("family=0", "it has the option family, which this scheme does not have; "),
        ("retry=3", "it has the option retry, which this scheme does not have; "),
        ("connection_class=x", "it has the option connection_class, which this scheme does not have; "),
        (f"{SECRET}=1", "it has an unknown option; "),
    ],
)
def test_a_wrong_option_is_named(option: str, problem: str) -> None:
    """The error of an unknown option or a wrong value names the option and the valid values, but not the value."""
    with pytest.raises(ConfigurationError) as caught:
        open_store(f"rediss://:{SECRET}@host?{option}", settings=StoreSettings())
    assert str(caught.value).startswith(f"invalid rediss:// URL: {problem}")
    assert SECRET not in str(caught.value)
    assert caught.value.__cause__ is caught.value.__context__ is None


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        (
            "redis://host?ssl_ca_certs=/x",
            "the option ssl_ca_certs, which this scheme does not have; TLS needs rediss://",
        ),
        ("redis+sentinel://host/party?ssl_ca_certs=/x", "options for TLS need the option ssl=true"),
        ("redis+sentinel://host/party?sentinel_ssl_ca_certs=/x", "options for TLS need the option sentinel_ssl=true"),
        ("redis+sentinel://host/party?sentinel_protocol=4", "the option sentinel_protocol must be 2 or 3"),
        ("redis+cluster://host?ssl_ca_certs=/x", "options for TLS need the option ssl=true"),
    ],
)
def test_options_for_tls_need_tls(url: str, problem: str) -> None:
    """An option for TLS in a URL without TLS is rejected."""
    with pytest.raises(ConfigurationError, match=problem):
        connect(url, StoreSettings())


def test_options_have_the_types_of_redis_py() -> None:
    """Numbers, booleans and flags are converted."""
    found = options(
        "rediss://host?socket_connect_timeout=2.5&socket_read_size=1024&ssl_check_hostname=False&protocol=3"
        "&ssl_min_version=772&ssl_include_verify_flags=VERIFY_X509_STRICT&max_connections=7&ssl_cert_reqs=optional"
    )
    assert (found["socket_connect_timeout"], found["socket_read_size"], found["protocol"]) == (2.5, 1024, 3)
    assert (found["ssl_check_hostname"], found["ssl_min_version"]) == (False, ssl.TLSVersion.TLSv1_3)
    assert found["ssl_include_verify_flags"] == [ssl.VerifyFlags.VERIFY_X509_STRICT]


@pytest.mark.parametrize("url", [f"redis:/:{SECRET}@host", f"http://:{SECRET}@host", f"redis:/:{SECRET}@h?x=a://b"])
def test_only_a_known_scheme_is_shown(url: str) -> None:
    """What precedes :// in a URL is not shown unless it is a scheme."""
    for open_url in (RedisStore.from_url, open_store):
        with pytest.raises(ConfigurationError) as caught:
            open_url(url)
        assert SECRET.lower() not in str(caught.value).lower()
