"""Options and fixtures for every test of the project."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from redis_server import RedisServer, redis_server

_HERE = Path(__file__).parent
_UNCOUNTED = {"test_bench", "test_broken_stores", "test_interleavings", "test_cluster_steps"}


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let the fault suite be asked for its long form."""
    parser.addoption("--soak", action="store_true", help="the long form of the fault suite: every byte, more callers")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave out of the coverage what runs no line that no other test runs: counting it doubles its time."""
    for item in items:
        if item.path.is_relative_to(_HERE / "tests/party") or item.path.stem in _UNCOUNTED:
            item.add_marker(pytest.mark.no_cover)


@pytest.fixture(scope="session", name="soak")
def _soak(request: pytest.FixtureRequest) -> bool:
    """Whether the long form of a test is wanted."""
    return bool(request.config.getoption("--soak"))


@pytest.fixture(scope="session", name="redis_server")
def _redis_server() -> Iterator[RedisServer]:
    """One redis-server for the whole run; database 0 is for whoever leaves it empty again."""
    with redis_server() as server:
        yield server
