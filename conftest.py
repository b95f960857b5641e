"""Environment and fixtures for every test of the project."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import settings

from processes import reset_process_state
from redis_server import RedisServer, redis_server

settings.register_profile("fast", derandomize=True, deadline=None, database=None, max_examples=100)
settings.register_profile("stress", deadline=None, database=None, max_examples=2000, print_blob=True)
settings.load_profile("fast")


def pytest_configure() -> None:
    """Have the tests do the same in every shell and in CI."""
    reset_process_state()


@pytest.fixture(scope="session", name="redis_server")
def _redis_server() -> Iterator[RedisServer]:
    """One redis-server for the whole run; database 0 is for whoever leaves it empty again."""
    with redis_server() as server:
        yield server
