"""The connections of the contenders on redis-py."""

from __future__ import annotations

from typing import Any

from redis.asyncio import BlockingConnectionPool, ConnectionPool

from wnc_store_bench.server import Place

WAIT = 60
"""Seconds that a caller waits for a connection; longer than any bound of the benchmark."""

POOL = "redis-py's ConnectionPool with a connection for each caller, in a crowd its BlockingConnectionPool with as many"


def connection_pool(place: Place, *, decode_responses: bool) -> Any:
    """Return the pool that `Redis.from_url` makes, which is the faster one, unless callers have to wait."""
    options: dict[str, Any] = {"max_connections": place.connections, "decode_responses": decode_responses}
    if place.waits:
        return BlockingConnectionPool.from_url(place.url, timeout=WAIT, **options)  # pyright: ignore[reportUnknownMemberType]
    return ConnectionPool.from_url(place.url, **options)  # pyright: ignore[reportUnknownMemberType]
