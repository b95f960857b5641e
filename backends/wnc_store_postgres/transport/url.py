"""URLs of PostgreSQL servers."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NoReturn
from urllib.parse import SplitResult, parse_qsl, quote, unquote, urlencode, urlsplit

from wnc_store import ConfigurationError, StoreSettings

DEFAULT_POOL_SIZE = 10
"""Largest number of connections of a store, besides the one that listens."""

_EXAMPLE = "postgresql://user:password@host:5432/database"
_CHOICES = {
    "sslmode": {"disable", "allow", "prefer", "require", "verify-ca", "verify-full"},
    "target_session_attrs": {"any", "primary", "read-write"},
    "pgbouncer": {"true", "false"},
}
"""Options with a fixed set of values. A store writes, so it cannot use a standby."""

_FILES = ("sslrootcert", "sslcert", "sslkey", "sslcrl", "passfile")
"""Options that name a file."""

_OWN_OPTIONS = {"direct", "pgbouncer", "pool_size"}
_MAX_POOL_SIZE = 1000


@dataclass(frozen=True)
class Target:
    """What a store connects to.

    Attributes:
        dsn: the URL for asyncpg, which may contain a password.
        endpoint: the hosts and ports, or the directory of the socket, for messages.
        has_failover: whether there are several hosts.
        pool_size: largest number of connections.
        is_pooled: whether the URL leads to PgBouncer, so that a session may change its server process at any time.
        direct: where to listen for events if `is_pooled`; None if no address is given.
    """

    dsn: str = field(repr=False)
    endpoint: str
    has_failover: bool = False
    pool_size: int = DEFAULT_POOL_SIZE
    is_pooled: bool = False
    direct: Target | None = None


class _InvalidUrlError(ValueError):
    """Raised when a URL is invalid. The message contains no part of the URL except the names of options."""


def parse_url(url: str, settings: StoreSettings) -> Target:
    """Return what a URL names.

    Options: those of libpq that asyncpg implements, such as `host`, `sslmode`, `sslrootcert` and
    `target_session_attrs`, settings of the server, such as `search_path` and `synchronous_commit`, and

    - `pool_size`: largest number of connections; 10 by default. A subscription uses one more.
    - `pgbouncer=true`: the URL leads to PgBouncer or to another pooler that works by transaction.
    - `direct=host:port`: the server behind the pooler, which events need.

    Raises:
        ConfigurationError: the URL is invalid. The message contains no part of the URL except the names of options,
            because the URL may contain a password.
    """
    del settings
    problem = ""
    try:
        return _parse(url)
    except _InvalidUrlError as error:
        problem = f"{error}; "
    except (ValueError, LookupError):
        pass
    # Raised outside the handlers, because their exceptions may contain the URL.
    message = f"invalid postgresql:// URL: {problem}expected a URL like {_EXAMPLE}"
    raise ConfigurationError(message)


def _parse(url: str) -> Target:
    if "#" in url:
        _reject("it has a fragment; percent-encode # as %23")
    parts = urlsplit(str(url))
    if parts.scheme not in {"postgresql", "postgres"}:
        raise ValueError
    if parts.netloc.count("@") > 1 or "@" in parts.path:
        _reject("it has more than one @; percent-encode @ as %40, / as %2F and ? as %3F")
    options = _options(parts.query)
    if not (unquote(parts.path.removeprefix("/"), errors="strict") or options.get("dbname") or options.get("database")):
        _reject("it has no database")
    target = Target(
        dsn=_dsn(parts, {name: value for name, value in options.items() if name not in _OWN_OPTIONS}),
        endpoint=_endpoint(parts, options),
        has_failover="," in (parts.netloc.rpartition("@")[2] or options.get("host", "")),
        pool_size=_pool_size(options),
        is_pooled=options.get("pgbouncer") == "true",
    )
    direct = options.get("direct")
    if direct is None:
        return target
    if not target.is_pooled:
        _reject("direct requires pgbouncer=true")
    return replace(target, direct=_direct(parts, options, direct))


def _options(query: str) -> dict[str, str]:
    pairs = parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query), errors="strict")
    options = dict(pairs)
    if len(options) < len(pairs):
        _reject("an option is repeated")
    for name, value in options.items():
        if not value:
            _reject(f"the option {name} is empty")
        if value not in _CHOICES.get(name, {value}):
            _reject(f"{name} must be one of {', '.join(sorted(_CHOICES[name]))}")
        if name in _FILES and not Path(value).is_file():
            _reject(f"the file of the option {name} does not exist")
    return options


def _direct(parts: SplitResult, options: dict[str, str], address: str) -> Target:
    """Return the server behind a pooler: the same user, password, database and options."""
    credentials = parts.netloc.rpartition("@")[0]
    _check_hosts(address)
    others = {name: value for name, value in options.items() if name not in {*_OWN_OPTIONS, "host", "port"}}
    netloc = f"{credentials}@{address}" if credentials else address
    return Target(_dsn(parts._replace(netloc=netloc), others), address, has_failover="," in address)


def _dsn(parts: SplitResult, options: dict[str, str]) -> str:
    return parts._replace(scheme="postgresql", query=urlencode(options, quote_via=quote)).geturl()


def _endpoint(parts: SplitResult, options: dict[str, str]) -> str:
    hosts = parts.netloc.rpartition("@")[2]
    if hosts:
        _check_hosts(hosts)
        return unquote(hosts)
    host, port = options.get("host"), options.get("port", "5432")
    for number in port.split(","):
        int(number)
    return f"{host}:{port}" if host else f"the default address, port {port}"


def _check_hosts(hosts: str) -> None:
    for host in hosts.split(","):
        address = urlsplit(f"//{host}")
        if not address.hostname or address.port == 0:
            raise ValueError


def _pool_size(options: dict[str, str]) -> int:
    text = options.get("pool_size", str(DEFAULT_POOL_SIZE))
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= _MAX_POOL_SIZE):
        _reject(f"pool_size must be an integer from 1 to {_MAX_POOL_SIZE}")
    return int(text)


def _reject(problem: str) -> NoReturn:
    raise _InvalidUrlError(problem)
