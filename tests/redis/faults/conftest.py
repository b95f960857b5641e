"""Fixtures of the fault tests: a store behind a proxy, and clients without one."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from chaos.server import PATIENT, DurableServer, admin
from proxy import Proxy, proxy_to
from wnc_store import Store, open_store
from wnc_store_redis import RedisStore


@pytest.fixture
async def proxy(server: DurableServer) -> AsyncIterator[Proxy]:
    """A proxy to the server."""
    async with proxy_to(server.port) as proxy:
        yield proxy


@pytest.fixture
async def store(proxy: Proxy) -> AsyncIterator[RedisStore]:
    """A store that reaches the server through the proxy."""
    async with RedisStore.from_url(proxy.url, PATIENT) as store:
        yield store


@pytest.fixture
async def other(server: DurableServer) -> AsyncIterator[Store]:
    """A store that reaches the server directly."""
    async with open_store(server.url) as other:
        yield other


@pytest.fixture
async def client(server: DurableServer) -> AsyncIterator[Any]:
    """A redis-py client of the server."""
    async with admin(server.url) as client:
        yield client
