"""Clients of our own from URLs, and the routes of any client, the caller's too."""

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
"""Options in a URL that begin so are for the Sentinels; the others are for the servers."""

_SENTINEL_TIMEOUT = 1.0
"""Seconds in which a Sentinel has to answer, unless the URL says otherwise."""

_EXAMPLES = {
    "redis+sentinel": "redis+sentinel://user:password@sentinel1:26379,sentinel2:26379/SERVICE/0?sentinel_password=...",
    "redis+cluster": "redis+cluster://user:password@host1:6379,host2:6379",
}
_EXAMPLE = "redis://user:password@host:6379/0 or unix:///path?db=0"


def connect(url: str, settings: StoreSettings) -> Client:
    """Return a client for any of our schemes; it connects when it is first used.

    Options in the URL's query go to redis-py (`?ssl_ca_certs=/path&client_name=parties`), and win over ours.

    Raises:
        ConfigurationError: the URL is wrong. The message holds no part of it but the scheme.
    """
    scheme = url.partition("://")[0]
    make = {"redis+sentinel": _sentinel, "redis+cluster": _cluster}.get(scheme, _standalone)
    try:
        client = make(url, settings.operation_timeout.total_seconds())
    except (ValueError, TypeError):
        client = None
    if client is None:
        message = f"this {scheme}:// URL is wrong; it looks like {_EXAMPLES.get(scheme, _EXAMPLE)}"
        raise ConfigurationError(message)
    return client


def router_for(client: Client, settings: StoreSettings, counts: Statistics) -> SingleNodeRouter | ClusterRouter:
    """Return the route that a client stands for.

    Raises:
        ConfigurationError: it is no asynchronous client, or one of Sentinel's replicas.
    """
    timeout = settings.operation_timeout.total_seconds()
    is_replicated = settings.durability == "replicated"
    if isinstance(client, RedisCluster):
        return ClusterRouter(client, timeout, counts, is_replicated=is_replicated)
    if not isinstance(client, Redis):  # pyright: ignore[reportUnnecessaryIsInstance] - callers without a type checker
        kinds = "redis.asyncio.Redis or redis.asyncio.RedisCluster"
        message = f"a RedisStore needs a client of type {kinds}, not {type(client).__name__}"
        raise ConfigurationError(message)
    pool = client.connection_pool
    if not isinstance(pool, SentinelConnectionPool):
        server = NodeClient(pool, timeout, counts, is_replicated=is_replicated)
        return StandaloneRouter(pool, server, _address(pool.connection_kwargs))
    if not cast("Any", pool).is_master:
        message = "a RedisStore needs the client of a master: Sentinel.master_for(...), not slave_for(...)"
        raise ConfigurationError(message)
    return SentinelRouter(pool, timeout, counts, is_replicated=is_replicated)


async def close(client: Client) -> None:
    """Close a client of our own."""
    if isinstance(client, RedisCluster):
        await client.aclose()
        return
    pool = client.connection_pool
    await client.aclose(close_connection_pool=True)
    if isinstance(pool, SentinelConnectionPool):
        await cast("Any", pool).sentinel_manager.aclose()


def _standalone(url: str, timeout: float) -> Redis:
    # redis-py takes what is no number for database 0.
    if not url.startswith("unix:") and not _DATABASE.fullmatch(urlsplit(url).path):
        raise ValueError
    pool = ConnectionPool.from_url(url, **_default_options(timeout))  # pyright: ignore[reportUnknownMemberType]
    pool.connection_class(**pool.connection_kwargs)  # connects to nothing, and refuses unknown options
    return Redis(connection_pool=pool)


def database(client: Client) -> int:
    """Return the number of the database; a cluster has one only."""
    if isinstance(client, RedisCluster):
        return 0
    return int(client.connection_pool.connection_kwargs.get("db") or 0)


def _sentinel(url: str, timeout: float) -> Redis:
    parts = urlsplit(url)
    found = _SERVICE.fullmatch(parts.path)
    if found is None:
        raise ValueError
    options = _options(url, found[2] or "", timeout)
    of_sentinels = {name for name in options if name.startswith(_SENTINEL_PREFIX)}
    asked = _default_options(_SENTINEL_TIMEOUT) | {
        name.removeprefix(_SENTINEL_PREFIX): options.pop(name) for name in of_sentinels
    }
    manager: Any = Sentinel(_addresses(url, 26379), sentinel_kwargs=asked, **options)
    client: Redis = manager.master_for(found[1])
    for pool in (client.connection_pool, *(one.connection_pool for one in manager.sentinels)):
        pool.connection_class(**pool.connection_kwargs)  # connects to nothing, and refuses unknown options
    return client


def _cluster(url: str, timeout: float) -> RedisCluster:
    parts = urlsplit(url)
    if parts.path not in {"", "/", "/0"}:  # a cluster has one database
        raise ValueError
    options = _options(url, "", timeout)
    options.pop("db", None)
    nodes = [ClusterNode(host, port, **options) for host, port in _addresses(url, 6379)]
    nodes[0].connection_class(**nodes[0].connection_kwargs)  # connects to nothing, and refuses unknown options
    return RedisCluster(startup_nodes=nodes, **options)


def _default_options(timeout: float) -> dict[str, Any]:
    return {
        "socket_timeout": timeout,
        "socket_connect_timeout": timeout,
        "protocol": 2,  # redis-py 8.1 hands out dead idle connections over RESP3
        "retry": Retry(NoBackoff(), 0),
    }


def _options(url: str, path: str, timeout: float) -> dict[str, Any]:
    """Return what credentials, database and query of a URL say, as redis-py reads them."""
    parts = urlsplit(url)
    credentials, at, _ = parts.netloc.rpartition("@")
    plain = urlunsplit(("redis", f"{credentials}{at}host", path, parts.query, ""))
    read: Callable[[str], Mapping[str, Any]] = parse_url
    options = _default_options(timeout) | dict(read(plain))
    del options["host"]
    return options


def _addresses(url: str, port: int) -> list[tuple[str, int]]:
    hosts = urlsplit(url).netloc.rpartition("@")[2]
    found = [urlsplit(f"//{one}") for one in hosts.split(",")]
    if not all(one.hostname for one in found):
        raise ValueError
    return [(str(one.hostname), one.port or port) for one in found]


def _address(options: Mapping[str, Any]) -> str:
    """Return host and port, or the path of the socket."""
    if "path" in options:
        return str(options["path"])
    return f"{options.get('host', 'localhost')}:{options.get('port', 6379)}"
