"""Clients from URLs, and routers for clients."""

from __future__ import annotations

import re
from typing import Any, cast
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from redis.asyncio import ConnectionPool, Redis, RedisCluster
from redis.asyncio.cluster import ClusterNode
from redis.asyncio.connection import Connection, SSLConnection, UnixDomainSocketConnection
from redis.asyncio.sentinel import Sentinel, SentinelConnectionPool
from redis.exceptions import RedisError

from wnc_store import ConfigurationError, StoreSettings
from wnc_store_redis.transport.cluster import ClusterRouter
from wnc_store_redis.transport.connection import ConnectionFactory
from wnc_store_redis.transport.errors import OVER_TLS
from wnc_store_redis.transport.node import open_node
from wnc_store_redis.transport.routing import SingleNodeRouter
from wnc_store_redis.transport.sentinel import SentinelRouter
from wnc_store_redis.transport.statistics import Statistics
from wnc_store_redis.transport.url_options import InvalidUrlError, Pairs, parse_options

Client = Redis | RedisCluster

_DATABASE = re.compile(r"/?(\d*)")
_SERVICE = re.compile(r"/([^/]+)(?:/(\d*))?")
_SENTINEL_PREFIX = "sentinel_"
"""Prefix of the URL options for the Sentinels. Options without it are for the servers."""

_SENTINEL_TIMEOUT = 1.0
"""Default time-out of the Sentinels in seconds."""

_SINGLE = "redis://user:password@host:6379/0 or unix:///path?db=0"
_EXAMPLES = {
    "redis": _SINGLE,
    "rediss": _SINGLE,
    "unix": _SINGLE,
    "redis+sentinel": "redis+sentinel://user:password@sentinel1:26379,sentinel2:26379/SERVICE/0?sentinel_password=...",
    "redis+cluster": "redis+cluster://user:password@host1:6379,host2:6379",
}


def connect(url: str, settings: StoreSettings) -> Client:
    """Return a client for a URL of any supported scheme. It never connects: the store makes its own connections.

    Options in the URL's query are passed to redis-py (`?ssl_ca_certs=/path&client_name=parties`), and override the
    defaults of this library.

    Raises:
        ConfigurationError: the URL is invalid. The message contains only its scheme and names of options, because the
            URL may contain a password.
    """
    scheme, problem = url.partition("://")[0].lower(), ""
    try:
        return _make_client(url, settings.operation_timeout.total_seconds())
    except InvalidUrlError as error:
        problem = f"{error}; "
    except (ValueError, TypeError, LookupError, RedisError):
        pass
    # Raised outside the handlers, because their exceptions may contain the URL.
    shown = f"{scheme}:// URL" if scheme in _EXAMPLES else "URL"
    message = f"invalid {shown}: {problem}expected a URL like {_EXAMPLES.get(scheme, _SINGLE)}"
    raise ConfigurationError(message)


def router_for(client: Client, settings: StoreSettings, statistics: Statistics) -> SingleNodeRouter | ClusterRouter:
    """Return a router to the servers of a client.

    Raises:
        ConfigurationError: the client is not asynchronous, or was made by `Sentinel.slave_for`.
    """
    timeout = settings.operation_timeout.total_seconds()
    is_replicated = settings.durability == "replicated"
    if isinstance(client, RedisCluster):
        return ClusterRouter(client, timeout, statistics, is_replicated=is_replicated)
    if not isinstance(client, Redis):  # pyright: ignore[reportUnnecessaryIsInstance] - callers without a type checker
        kinds = "redis.asyncio.Redis or redis.asyncio.RedisCluster"
        message = f"RedisStore expects a client of type {kinds}, got {type(client).__name__}"
        raise ConfigurationError(message)
    pool = client.connection_pool
    if not isinstance(pool, SentinelConnectionPool):
        factory = ConnectionFactory(pool.connection_class, pool.connection_kwargs)
        node = open_node(factory, timeout, statistics, is_replicated=is_replicated)
        return SingleNodeRouter(factory, node, _endpoint(pool))
    if not cast("Any", pool).is_master:
        message = "RedisStore expects a client of the master, got one of a replica; use Sentinel.master_for(...)"
        raise ConfigurationError(message)
    return SentinelRouter(pool, timeout, statistics, is_replicated=is_replicated)


def database(client: Client) -> int:
    """Return the number of the client's database; 0 for a cluster, which has only one."""
    if isinstance(client, RedisCluster):
        return 0
    return int(client.connection_pool.connection_kwargs.get("db") or 0)


def _make_client(url: str, timeout: float) -> Client:
    if "#" in url:
        message = "it has a fragment; percent-encode # as %23"
        raise InvalidUrlError(message)
    parts = urlsplit(str(url))  # its parts are plain strings, which redis-py shows
    has_host = parts.scheme != "unix" or parts.netloc
    if parts.netloc.count("@") > 1 or (has_host and "@" in parts.path + parts.query):
        message = "it has more than one @, or an @ behind the host; percent-encode @ as %40, / as %2F and ? as %3F"
        raise InvalidUrlError(message)
    credentials, _, hosts = parts.netloc.rpartition("@")
    user, _, password = credentials.partition(":")
    options: dict[str, Any] = {
        "socket_timeout": timeout,
        "socket_connect_timeout": timeout,
        "protocol": 2,  # redis-py 8.1 hands out dead idle connections over RESP3
    }
    options |= {
        name: unquote(value, errors="strict") for name, value in (("username", user), ("password", password)) if value
    }
    pairs = parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query), errors="strict")
    make = {"redis+sentinel": _sentinel, "redis+cluster": _cluster}.get(parts.scheme, _standalone)
    return make(parts, hosts, pairs, options)


def _standalone(parts: SplitResult, hosts: str, pairs: Pairs, options: dict[str, Any]) -> Redis:
    if parts.scheme == "unix":
        if hosts or parts.path in {"", "/"}:
            message = "the path of the socket must follow three slashes"
            raise InvalidUrlError(message)
        connection_class, address = UnixDomainSocketConnection, {"path": unquote(parts.path, errors="strict")}
    else:
        connection_class = {"redis": Connection, "rediss": SSLConnection}[parts.scheme]
        host, port = _address(hosts if hosts[:1] not in {"", ":"} else f"localhost{hosts}", 6379)
        address = {"host": host, "port": port, "db": _database(parts.path)}
    options |= {**address, **parse_options(pairs, connection_class)}
    return Redis(connection_pool=ConnectionPool(connection_class=connection_class, **options))


def _sentinel(parts: SplitResult, hosts: str, pairs: Pairs, options: dict[str, Any]) -> Redis:
    service = _SERVICE.fullmatch(parts.path)
    if service is None:
        message = "the name of the service must follow the addresses of the Sentinels"
        raise InvalidUrlError(message)
    options["db"] = int(service[2] or 0)
    sentinel_pairs = [pair for pair in pairs if pair[0].startswith(_SENTINEL_PREFIX)]
    options |= parse_options([pair for pair in pairs if pair not in sentinel_pairs], Redis)
    timeouts = {"socket_timeout": _SENTINEL_TIMEOUT, "socket_connect_timeout": _SENTINEL_TIMEOUT, "protocol": 2}
    sentinel_options = timeouts | parse_options(sentinel_pairs, Redis, _SENTINEL_PREFIX)
    addresses = [_address(host, 26379) for host in hosts.split(",")]
    manager: Any = Sentinel(addresses, sentinel_kwargs=sentinel_options, **options)
    client: Redis = manager.master_for(service[1])
    return client


def _cluster(parts: SplitResult, hosts: str, pairs: Pairs, options: dict[str, Any]) -> RedisCluster:
    options |= parse_options(pairs, RedisCluster)
    if _database(parts.path) or options.pop("db", 0):
        message = "a cluster has only database 0"
        raise InvalidUrlError(message)
    nodes = [ClusterNode(*_address(host, 6379)) for host in hosts.split(",")]
    return RedisCluster(startup_nodes=nodes, **options)


def _database(path: str) -> int:
    match = _DATABASE.fullmatch(path)
    if match is None:
        message = "the path must be the number of a database"
        raise InvalidUrlError(message)
    return int(match[1] or 0)


def _address(host: str, default_port: int) -> tuple[str, int]:
    address = urlsplit(f"//{host}")
    if not address.hostname or "," in address.hostname or address.port == 0:
        raise ValueError
    return unquote(address.hostname), address.port or default_port


def _endpoint(pool: ConnectionPool) -> str:
    """Return host and port, or the path of the socket."""
    options = pool.connection_kwargs
    if "path" in options:
        return str(options["path"])
    tls = OVER_TLS if issubclass(pool.connection_class, SSLConnection) else ""
    return f"{options.get('host', 'localhost')}:{options.get('port', 6379)}{tls}"
