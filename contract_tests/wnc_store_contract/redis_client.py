"""redis-py clients for store URLs, created without the backend under test."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import SplitResult, urlsplit

from redis.asyncio import Redis, RedisCluster
from redis.asyncio.cluster import ClusterNode
from redis.asyncio.sentinel import Sentinel


def make_client(url: str) -> Any:
    """Return an asyncio client. The query of a Sentinel or cluster URL concerns only the store and is ignored."""
    if url.startswith("valkey"):  # redis-py has only the schemes of Redis
        url = f"redis{url.removeprefix('valkey')}"
    parts = urlsplit(url)
    scheme, _, deployment = parts.scheme.partition("+")
    options: dict[str, Any] = {"protocol": 2, "ssl": scheme == "rediss", **_credentials(parts)}
    if deployment == "cluster":
        nodes = [ClusterNode(host, port) for host, port in _hosts(parts)]
        return RedisCluster(startup_nodes=nodes, require_full_coverage=False, **options)
    if deployment == "sentinel":
        _, service, *_ = parts.path.split("/")
        for_sentinels = {"protocol": 2, "ssl": scheme == "rediss"}
        sentinel: Any = Sentinel(_hosts(parts), sentinel_kwargs=for_sentinels, **options)
        return sentinel.master_for(service)
    return Redis.from_url(url, protocol=2)  # pyright: ignore[reportUnknownMemberType]


@asynccontextmanager
async def open_client(url: str) -> AsyncGenerator[Any]:
    """Make a client, and close it at the end (see `close`)."""
    client = make_client(url)
    try:
        yield client
    finally:
        await close(client)


async def close(client: Any) -> None:
    """Close a client and the clients of the Sentinels that it queries."""
    await client.aclose()
    if isinstance(client, RedisCluster):
        for nodes in ("nodes_cache", "startup_nodes"):  # after an error of a node, redis-py leaves the others open
            await client.nodes_manager.aclose(nodes)
    elif (sentinel := getattr(client.connection_pool, "sentinel_manager", None)) is not None:
        await sentinel.aclose()


def _hosts(parts: SplitResult) -> list[tuple[str, int]]:
    hosts = (address.rpartition(":") for address in parts.netloc.rpartition("@")[2].split(","))
    return [(host, int(port)) for host, _, port in hosts]


def _credentials(parts: SplitResult) -> dict[str, Any]:
    credentials = {"username": parts.username, "password": parts.password}
    return {name: value for name, value in credentials.items() if value}
