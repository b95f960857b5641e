"""Servers of different kinds for the tests that want one."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from chaos.server import DurableServer, admin, durable_server
from redis_cluster import Cluster, redis_cluster
from redis_server import RedisServer, redis_server


@pytest.fixture(name="server")
def _server() -> Iterator[DurableServer]:
    """A server of the test's own that writes down everything."""
    with durable_server("--busy-reply-threshold", "20") as server:
        yield server


@pytest.fixture(scope="module", name="cluster")
def _cluster() -> Iterator[Cluster]:
    """Three masters without replicas, shared by tests that leave them unchanged."""
    with redis_cluster(replicas=0) as made:
        yield made


@pytest.fixture(scope="module", name="acl_server")
def _acl_server() -> Iterator[RedisServer]:
    """A server whose users are created by the tests of one module."""
    with redis_server() as server:
        yield server


@pytest.fixture
async def administrator(acl_server: RedisServer) -> AsyncIterator[Any]:
    """A client of the default user. The data and the cached scripts of the server were deleted."""
    async with admin(acl_server.url) as made:
        await made.flushall()
        await made.script_flush()
        yield made
