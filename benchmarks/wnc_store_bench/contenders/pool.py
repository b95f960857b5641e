"""The connection pools of the contenders on redis-py."""

from __future__ import annotations

from typing import Any

from redis.asyncio import BlockingConnectionPool, ConnectionPool

from wnc_store_bench.server import Target

WAIT = 60
"""Seconds that a caller waits for a connection, longer than any time limit of the benchmark."""

POOL = "redis-py's ConnectionPool with one connection per caller, for concurrent joins its BlockingConnectionPool"


def connection_pool(target: Target, *, decode_responses: bool) -> Any:
    """Return the default pool of `Redis.from_url`, which is faster, or a blocking pool if callers have to wait."""
    options: dict[str, Any] = {"max_connections": target.connections, "decode_responses": decode_responses}
    if target.waits:
        return BlockingConnectionPool.from_url(target.url, timeout=WAIT, **options)  # pyright: ignore[reportUnknownMemberType]
    return ConnectionPool.from_url(target.url, **options)  # pyright: ignore[reportUnknownMemberType]
