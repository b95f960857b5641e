"""redis-py clients for store URLs, created without the backend under test."""

from __future__ import annotations

from typing import Any
from urllib.parse import SplitResult, urlsplit

from redis.asyncio import Redis, RedisCluster
from redis.asyncio.cluster import ClusterNode
from redis.asyncio.sentinel import Sentinel


def make_client(url: str) -> Any:
    """Return an asyncio client. The query of a Sentinel or cluster URL concerns only the store and is ignored."""
    parts = urlsplit(url)
    if parts.scheme == "redis+cluster":
        nodes = [ClusterNode(host, port) for host, port in _hosts(parts)]
        return RedisCluster(startup_nodes=nodes, protocol=2, require_full_coverage=False, **_credentials(parts))
    if parts.scheme == "redis+sentinel":
        _, service, *_ = parts.path.split("/")
        sentinel: Any = Sentinel(_hosts(parts), sentinel_kwargs={"protocol": 2}, protocol=2, **_credentials(parts))
        return sentinel.master_for(service)
    return Redis.from_url(url, protocol=2)  # pyright: ignore[reportUnknownMemberType]


async def close(client: Any) -> None:
    """Close a client and the clients of the Sentinels that it queries."""
    sentinel = None if isinstance(client, RedisCluster) else getattr(client.connection_pool, "sentinel_manager", None)
    await client.aclose()
    if sentinel is not None:
        await sentinel.aclose()


def _hosts(parts: SplitResult) -> list[tuple[str, int]]:
    hosts = (address.rpartition(":") for address in parts.netloc.rpartition("@")[2].split(","))
    return [(host, int(port)) for host, _, port in hosts]


def _credentials(parts: SplitResult) -> dict[str, Any]:
    credentials = {"username": parts.username, "password": parts.password}
    return {name: value for name, value in credentials.items() if value}
