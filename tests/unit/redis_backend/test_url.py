"""Clients from URLs."""

from __future__ import annotations

from typing import Any

from wnc_store import StoreSettings
from wnc_store_redis.transport.url import connect


async def test_options_for_sentinels_are_parsed_and_apart() -> None:
    """Options that begin with sentinel_ have the types that redis-py expects, and do not reach the servers."""
    url = "redis+sentinel://host:1/party/2?sentinel_socket_timeout=60&sentinel_password=secret&socket_timeout=5"
    client: Any = connect(url, StoreSettings())
    pool = client.connection_pool
    (sentinel,) = pool.sentinel_manager.sentinels
    options = sentinel.connection_pool.connection_kwargs
    assert (options["socket_timeout"], options["password"]) == (60.0, "secret")
    assert (pool.connection_kwargs["socket_timeout"], pool.connection_kwargs["db"]) == (5.0, 2)
    assert not any(name.startswith("sentinel_") or name == "password" for name in pool.connection_kwargs)
