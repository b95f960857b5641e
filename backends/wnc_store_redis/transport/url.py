"""Clients from URLs, and routers for clients."""

from __future__ import annotations

import re
from typing import Any, NamedTuple, cast
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from redis.asyncio import ConnectionPool, Redis, RedisCluster
from redis.asyncio.cluster import ClusterNode
from redis.asyncio.connection import AbstractConnection, Connection, SSLConnection, UnixDomainSocketConnection
from redis.asyncio.sentinel import Sentinel, SentinelConnectionPool
from redis.exceptions import RedisError

from wnc_store import ConfigurationError, StoreSettings
from wnc_store_redis.transport.cluster import ClusterRouter
from wnc_store_redis.transport.connection import ConnectionFactory
from wnc_store_redis.transport.errors import OVER_TLS
from wnc_store_redis.transport.node import open_node
from wnc_store_redis.transport.product import REDIS, VALKEY, Product
from wnc_store_redis.transport.routing import SingleNodeRouter
from wnc_store_redis.transport.sentinel import SentinelRouter
from wnc_store_redis.transport.statistics import Statistics
from wnc_store_redis.transport.url_options import InvalidUrlError, Pairs, parse_options

Client = Redis | RedisCluster

_SCHEME = re.compile(r"(redis|valkey)(s?)(?:\+(sentinel|cluster))?")
_DATABASE = re.compile(r"/?(\d*)")
_SERVICE = re.compile(r"/([^/]+)(?:/(\d*))?")
_SENTINEL_PREFIX = "sentinel_"
"""Prefix of the URL options for the Sentinels. Options without it are for the servers."""

_SENTINEL_TIMEOUT = 1.0
"""Default time-out of the Sentinels in seconds."""

_EXAMPLES = {
    "standalone": "{scheme}://user:password@host:6379/0 or unix:///path?db=0",
    "unix": "redis://user:password@host:6379/0 or unix:///path?db=0",
    "sentinel": "{scheme}://user:password@sentinel1:26379,sentinel2:26379/SERVICE/0?sentinel_password=...",
    "cluster": "{scheme}://user:password@host1:6379,host2:6379",
}


class _Scheme(NamedTuple):
    """The scheme of a URL.

    Attributes:
        name: the scheme itself.
        product: the product.
        deployment: the deployment, a key of `_EXAMPLES`.
        is_tls: whether connections use TLS.
    """

    name: str
    product: Product
    deployment: str
    is_tls: bool


def connect(url: str, settings: StoreSettings) -> Client:
    """Return a client for a URL of any supported scheme. It never connects: the store makes its own connections.

    Options in the URL's query are passed to redis-py (`?ssl_ca_certs=/path&client_name=parties`), and override the
    defaults of this library.

    Raises:
        ConfigurationError: the URL is invalid. The message contains only its scheme and names of options, because the
            URL may contain a password.
    """
    problem = ""
    try:
        return _make_client(url, settings.operation_timeout.total_seconds())
    except InvalidUrlError as error:
        problem = f"{error}; "
    except (ValueError, TypeError, LookupError, RedisError):
        pass
    # Raised outside the handlers, because their exceptions may contain the URL.
    scheme = _scheme_of(url)
    if scheme is None:
        message = f"invalid URL: expected a URL like {_EXAMPLES['unix']}"
    else:
        example = _EXAMPLES[scheme.deployment].format(scheme=scheme.name)
        message = f"invalid {scheme.name}:// URL: {scheme.product.localize(problem)}expected a URL like {example}"
    raise ConfigurationError(message)


def product_of(url: str) -> Product:
    """Return the product that a URL names; Redis if its scheme does not name one."""
    scheme = _scheme_of(url)
    return REDIS if scheme is None else scheme.product


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


def _scheme_of(url: str) -> _Scheme | None:
    """Return the scheme of a URL, or None if it is unknown."""
    name = url.partition("://")[0].lower()
    if name == "unix":
        return _Scheme(name, REDIS, "unix", is_tls=False)
    match = _SCHEME.fullmatch(name)
    if match is None:
        return None
    product = VALKEY if match[1] == VALKEY.scheme else REDIS
    return _Scheme(match[0], product, match[3] or "standalone", is_tls=bool(match[2]))


def _make_client(url: str, timeout: float) -> Client:
    scheme = _scheme_of(url)
    if scheme is None:
        raise ValueError
    if "#" in url:
        message = "it has a fragment; percent-encode # as %23"
        raise InvalidUrlError(message)
    parts = urlsplit(str(url))  # its parts are plain strings, which redis-py shows
    has_host = scheme.deployment != "unix" or parts.netloc
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
    make = {"unix": _unix, "sentinel": _sentinel, "cluster": _cluster}.get(scheme.deployment, _standalone)
    return make(parts, hosts, pairs, options, is_tls=scheme.is_tls)


def _unix(parts: SplitResult, hosts: str, pairs: Pairs, options: dict[str, Any], *, is_tls: bool) -> Redis:
    del is_tls
    if hosts or parts.path in {"", "/"}:
        message = "the path of the socket must follow three slashes"
        raise InvalidUrlError(message)
    options["path"] = unquote(parts.path, errors="strict")
    return _client(UnixDomainSocketConnection, pairs, options)


def _standalone(parts: SplitResult, hosts: str, pairs: Pairs, options: dict[str, Any], *, is_tls: bool) -> Redis:
    host, port = _address(hosts if hosts[:1] not in {"", ":"} else f"localhost{hosts}", 6379)
    options |= {"host": host, "port": port, "db": _database(parts.path)}
    return _client(SSLConnection if is_tls else Connection, pairs, options)


def _client(connection_class: type[AbstractConnection], pairs: Pairs, options: dict[str, Any]) -> Redis:
    options |= parse_options(pairs, connection_class)
    return Redis(connection_pool=ConnectionPool(connection_class=connection_class, **options))


def _sentinel(parts: SplitResult, hosts: str, pairs: Pairs, options: dict[str, Any], *, is_tls: bool) -> Redis:
    service = _SERVICE.fullmatch(parts.path)
    if service is None:
        message = "the name of the service must follow the addresses of the Sentinels"
        raise InvalidUrlError(message)
    options["db"] = int(service[2] or 0)
    sentinel_pairs = [pair for pair in pairs if pair[0].startswith(_SENTINEL_PREFIX)]
    options |= parse_options([pair for pair in pairs if pair not in sentinel_pairs], Redis, is_tls=is_tls)
    timeouts = {"socket_timeout": _SENTINEL_TIMEOUT, "socket_connect_timeout": _SENTINEL_TIMEOUT, "protocol": 2}
    sentinel_options = timeouts | parse_options(sentinel_pairs, Redis, _SENTINEL_PREFIX, is_tls=is_tls)
    addresses = [_address(host, 26379) for host in hosts.split(",")]
    manager: Any = Sentinel(addresses, sentinel_kwargs=sentinel_options, **options)
    client: Redis = manager.master_for(service[1])
    return client


def _cluster(parts: SplitResult, hosts: str, pairs: Pairs, options: dict[str, Any], *, is_tls: bool) -> RedisCluster:
    options |= parse_options(pairs, RedisCluster, is_tls=is_tls)
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
