"""Fixtures for every test of the project."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from redis_server import RedisServer, redis_server


@pytest.fixture(scope="session", name="redis_server")
def _redis_server() -> Iterator[RedisServer]:
    """One redis-server for the whole run; database 0 is for whoever leaves it empty again."""
    with redis_server() as server:
        yield server
