"""Options and fixtures for every test of the project."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from redis_server import RedisServer, redis_server

_PRINTING = ("FORCE_COLOR", "NO_COLOR", "PY_COLORS", "TTY_COMPATIBLE", "TTY_INTERACTIVE", "GITHUB_ACTIONS", "COLUMNS")
_SETTINGS = ("WNC_STORE_", "REDIS_URL", "RATE_LIMIT_")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let the fault suite be asked for its long form."""
    parser.addoption("--soak", action="store_true", help="the long form of the fault suite: every byte, more callers")


def pytest_configure() -> None:
    """Have the tests do the same in every shell and in CI: no setting, proxy or way of printing comes from outside."""
    for name in tuple(os.environ):
        if name in _PRINTING or name.startswith(_SETTINGS) or name.lower().endswith("_proxy"):
            del os.environ[name]


@pytest.fixture(scope="session", name="soak")
def _soak(request: pytest.FixtureRequest) -> bool:
    """Whether the long form of a test is wanted."""
    return bool(request.config.getoption("--soak"))


@pytest.fixture(scope="session", name="redis_server")
def _redis_server() -> Iterator[RedisServer]:
    """One redis-server for the whole run; database 0 is for whoever leaves it empty again."""
    with redis_server() as server:
        yield server
