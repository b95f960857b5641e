"""Clients from URLs, and routers for clients."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, cast
from urllib.parse import urlsplit, urlunsplit

from redis.asyncio import ConnectionPool, Redis, RedisCluster
from redis.asyncio.cluster import ClusterNode
from redis.asyncio.connection import parse_url
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel, SentinelConnectionPool
from redis.backoff import NoBackoff

from wnc_store import ConfigurationError, StoreSettings
from wnc_store_redis.transport.cluster import ClusterRouter
from wnc_store_redis.transport.node import NodeClient
from wnc_store_redis.transport.routing import SingleNodeRouter, StandaloneRouter
from wnc_store_redis.transport.sentinel import SentinelRouter
from wnc_store_redis.transport.statistics import Statistics

Client = Redis | RedisCluster

_DATABASE = re.compile(r"(/\d*)?")
_SERVICE = re.compile(r"/([^/]+)(/\d*)?")
_SENTINEL_PREFIX = "sentinel_"
"""Prefix of the URL options for the Sentinels. Options without it are for the servers."""

_SENTINEL_TIMEOUT = 1.0
"""Default time-out of the Sentinels in seconds."""

_EXAMPLES = {
    "redis+sentinel": "redis+sentinel://user:password@sentinel1:26379,sentinel2:26379/SERVICE/0?sentinel_password=...",
    "redis+cluster": "redis+cluster://user:password@host1:6379,host2:6379",
}
_EXAMPLE = "redis://user:password@host:6379/0 or unix:///path?db=0"


def connect(url: str, settings: StoreSettings) -> Client:
    """Return a client for a URL of any supported scheme. It connects when it is first used.

    Options in the URL's query are passed to redis-py (`?ssl_ca_certs=/path&client_name=parties`), and override the
    defaults of this library.

    Raises:
        ConfigurationError: the URL is invalid. The message contains only its scheme, because it may contain a password.
    """
    scheme = url.partition("://")[0]
    make_client = {"redis+sentinel": _sentinel, "redis+cluster": _cluster}.get(scheme, _standalone)
    try:
        client = make_client(url, settings.operation_timeout.total_seconds())
    except (ValueError, TypeError):
        client = None
    if client is None:
        message = f"invalid {scheme}:// URL; expected a URL like {_EXAMPLES.get(scheme, _EXAMPLE)}"
        raise ConfigurationError(message)
    return client


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
        node = NodeClient(pool, timeout, statistics, is_replicated=is_replicated)
        return StandaloneRouter(pool, node, _address(pool.connection_kwargs))
    if not cast("Any", pool).is_master:
        message = "RedisStore expects a client of the master, got one of a replica; use Sentinel.master_for(...)"
        raise ConfigurationError(message)
    return SentinelRouter(pool, timeout, statistics, is_replicated=is_replicated)


async def close(client: Client) -> None:
    """Close a client that `connect` returned."""
    if isinstance(client, RedisCluster):
        await client.aclose()
        return
    pool = client.connection_pool
    await client.aclose(close_connection_pool=True)
    if isinstance(pool, SentinelConnectionPool):
        await cast("Any", pool).sentinel_manager.aclose()


def _standalone(url: str, timeout: float) -> Redis:
    # redis-py would use database 0 if the path is not a number.
    if not url.startswith("unix:") and not _DATABASE.fullmatch(urlsplit(url).path):
        raise ValueError
    pool = ConnectionPool.from_url(url, **_default_options(timeout))  # pyright: ignore[reportUnknownMemberType]
    pool.connection_class(**pool.connection_kwargs)  # does not connect, but rejects unknown options
    return Redis(connection_pool=pool)


def database(client: Client) -> int:
    """Return the number of the client's database; 0 for a cluster, which has only one."""
    if isinstance(client, RedisCluster):
        return 0
    return int(client.connection_pool.connection_kwargs.get("db") or 0)


def _sentinel(url: str, timeout: float) -> Redis:
    parts = urlsplit(url)
    service = _SERVICE.fullmatch(parts.path)
    if service is None:
        raise ValueError
    pairs = parts.query.split("&") if parts.query else []
    sentinel_pairs = [pair for pair in pairs if pair.startswith(_SENTINEL_PREFIX)]
    server_query = "&".join(pair for pair in pairs if pair not in sentinel_pairs)
    options = _options(urlunsplit(parts._replace(query=server_query)), service[2] or "", timeout)
    sentinel_query = "&".join(pair.removeprefix(_SENTINEL_PREFIX) for pair in sentinel_pairs)
    sentinel_options = _options(f"redis://?{sentinel_query}", "", _SENTINEL_TIMEOUT)
    manager: Any = Sentinel(_addresses(url, 26379), sentinel_kwargs=sentinel_options, **options)
    client: Redis = manager.master_for(service[1])
    for pool in (client.connection_pool, *(sentinel.connection_pool for sentinel in manager.sentinels)):
        pool.connection_class(**pool.connection_kwargs)  # does not connect, but rejects unknown options
    return client


def _cluster(url: str, timeout: float) -> RedisCluster:
    parts = urlsplit(url)
    if parts.path not in {"", "/", "/0"}:  # a cluster has only database 0
        raise ValueError
    options = _options(url, "", timeout)
    options.pop("db", None)
    nodes = [ClusterNode(host, port, **options) for host, port in _addresses(url, 6379)]
    nodes[0].connection_class(**nodes[0].connection_kwargs)  # does not connect, but rejects unknown options
    return RedisCluster(startup_nodes=nodes, **options)


def _default_options(timeout: float) -> dict[str, Any]:
    return {
        "socket_timeout": timeout,
        "socket_connect_timeout": timeout,
        "protocol": 2,  # redis-py 8.1 hands out dead idle connections over RESP3
        "retry": Retry(NoBackoff(), 0),
    }


def _options(url: str, path: str, timeout: float) -> dict[str, Any]:
    """Return the connection options from the credentials, database and query of a URL, as redis-py parses them."""
    parts = urlsplit(url)
    credentials, at, _ = parts.netloc.rpartition("@")
    redis_url = urlunsplit(("redis", f"{credentials}{at}host", path, parts.query, ""))
    parse: Callable[[str], Mapping[str, Any]] = parse_url
    options = _default_options(timeout) | dict(parse(redis_url))
    del options["host"]
    return options


def _addresses(url: str, default_port: int) -> list[tuple[str, int]]:
    hosts = urlsplit(url).netloc.rpartition("@")[2]
    addresses = [urlsplit(f"//{host}") for host in hosts.split(",")]
    if not all(address.hostname for address in addresses):
        raise ValueError
    return [(str(address.hostname), address.port or default_port) for address in addresses]


def _address(options: Mapping[str, Any]) -> str:
    """Return host and port, or the path of the socket."""
    if "path" in options:
        return str(options["path"])
    return f"{options.get('host', 'localhost')}:{options.get('port', 6379)}"
