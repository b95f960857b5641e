"""Clients of redis-py's for any of our URLs, made without the backend that they check."""

from __future__ import annotations

from typing import Any
from urllib.parse import SplitResult, urlsplit

from redis.asyncio import Redis, RedisCluster
from redis.asyncio.cluster import ClusterNode
from redis.asyncio.sentinel import Sentinel


def client_of(url: str) -> Any:
    """Return an asyncio client. The query of a URL with several hosts is for the store alone."""
    parts = urlsplit(url)
    if parts.scheme == "redis+cluster":
        nodes = [ClusterNode(host, port) for host, port in _hosts(parts)]
        return RedisCluster(startup_nodes=nodes, protocol=2, require_full_coverage=False, **_credentials(parts))
    if parts.scheme == "redis+sentinel":
        _, service, *_ = parts.path.split("/")
        manager: Any = Sentinel(_hosts(parts), sentinel_kwargs={"protocol": 2}, protocol=2, **_credentials(parts))
        return manager.master_for(service)
    return Redis.from_url(url, protocol=2)  # pyright: ignore[reportUnknownMemberType]


async def close(client: Any) -> None:
    """Close a client, and those of the Sentinels that it asks."""
    manager = None if isinstance(client, RedisCluster) else getattr(client.connection_pool, "sentinel_manager", None)
    await client.aclose()
    if manager is not None:
        await manager.aclose()


def _hosts(parts: SplitResult) -> list[tuple[str, int]]:
    hosts = (one.rpartition(":") for one in parts.netloc.rpartition("@")[2].split(","))
    return [(host, int(port)) for host, _, port in hosts]


def _credentials(parts: SplitResult) -> dict[str, Any]:
    given = {"username": parts.username, "password": parts.password}
    return {name: value for name, value in given.items() if value}
