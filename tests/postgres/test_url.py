"""URLs of the Postgres backend, without a server."""

from __future__ import annotations

import pytest

from wnc_store import ConfigurationError, StoreSettings
from wnc_store_postgres.transport.url import Target, parse_url

SECRET = "SECRET-51"
BASE = f"postgresql://user:{SECRET}@db.example:5432/app"


def parsed(url: str) -> Target:
    """Return what a URL names."""
    return parse_url(url, StoreSettings())


@pytest.mark.parametrize(
    ("url", "endpoint"),
    [
        (BASE, "db.example:5432"),
        ("postgres://db.example/app", "db.example"),
        ("postgresql://a:1,b:2/app", "a:1,b:2"),
        ("postgresql://[::1]:5432/app", "[::1]:5432"),
        ("postgresql://user@/app?host=/run/socket&port=5433", "/run/socket:5433"),
        ("postgresql:///?dbname=app", "the default address, port 5432"),
    ],
)
def test_the_endpoint_names_the_servers(url: str, endpoint: str) -> None:
    """Messages name the hosts and ports of the URL, or the folder of the socket, and no user or password."""
    assert parsed(url).endpoint == endpoint


def test_own_options_are_not_sent_to_the_server() -> None:
    """The driver gets the options of libpq and of the server, and not those of this library."""
    target = parsed(f"{BASE}?sslmode=require&pool_size=3&pgbouncer=true&direct=other:1&search_path=mine")
    assert target.dsn == f"{BASE}?sslmode=require&search_path=mine"
    assert (target.pool_size, target.is_pooled) == (3, True)


def test_the_server_behind_a_pooler_has_the_same_credentials() -> None:
    """`direct` replaces only the address of the pooler."""
    target = parsed(f"{BASE}?pgbouncer=true&direct=other:1&sslmode=require")
    assert target.direct is not None
    assert target.direct.dsn == f"postgresql://user:{SECRET}@other:1/app?sslmode=require"
    assert target.direct.is_pooled is False


@pytest.mark.parametrize(("url", "expected"), [(BASE, False), ("postgresql://a,b/app", True)])
def test_several_hosts_can_fail_over(url: str, expected: bool) -> None:
    """Only a URL with several hosts lets a statement wait until another server has taken over."""
    assert parsed(url).has_failover is expected


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        (f"postgresql://user:{SECRET}@db.example", "it has no database"),
        (f"postgresql://user:{SECRET}#@db.example/app", "percent-encode # as %23"),
        (f"postgresql://user:a@{SECRET}@db.example/app", "percent-encode @ as %40"),
        (f"{BASE}?pool_size=0", "pool_size must be an integer from 1 to 1000"),
        (f"{BASE}?pool_size={SECRET}", "pool_size must be an integer from 1 to 1000"),
        (f"{BASE}?sslmode={SECRET}", "sslmode must be one of allow, disable, prefer, require, verify-ca, verify-full"),
        (f"{BASE}?target_session_attrs=standby", "target_session_attrs must be one of any, primary, read-write"),
        (f"{BASE}?pgbouncer=yes", "pgbouncer must be one of false, true"),
        (f"{BASE}?direct=other:1", "direct requires pgbouncer=true"),
        (f"{BASE}?sslmode=require&sslmode=prefer", "an option is repeated"),
        (f"{BASE}?sslmode=", "the option sslmode is empty"),
        (f"postgresql://user:{SECRET}@db.example:port/app", "expected a URL like"),
        (f"postgresql://user:{SECRET}@db.example:0/app", "expected a URL like"),
        (f"postgresql://user:{SECRET}@[::1/app", "expected a URL like"),
    ],
)
def test_an_invalid_url(url: str, problem: str) -> None:
    """The error names the problem and shows an example. Neither it nor its context contains the password."""
    with pytest.raises(ConfigurationError) as caught:
        parsed(url)
    assert problem in str(caught.value)
    assert SECRET not in str(caught.value)
    assert caught.value.__context__ is None


def test_the_repr_contains_no_password() -> None:
    """Local variables that hold a target do not show the password."""
    target = parsed(f"{BASE}?pgbouncer=true&direct=other:1")
    assert SECRET not in repr(target)
