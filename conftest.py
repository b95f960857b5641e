"""Options and fixtures for every test of the project."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from redis_server import RedisServer, redis_server


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let the fault suite be asked for its long form."""
    parser.addoption("--soak", action="store_true", help="the long form of the fault suite: every byte, more callers")


@pytest.fixture(scope="session", name="soak")
def _soak(request: pytest.FixtureRequest) -> bool:
    """Whether the long form of a test is wanted."""
    return bool(request.config.getoption("--soak"))


@pytest.fixture(scope="session", name="redis_server")
def _redis_server() -> Iterator[RedisServer]:
    """One redis-server for the whole run; database 0 is for whoever leaves it empty again."""
    with redis_server() as server:
        yield server
