"""Environment and fixtures of all tests."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest
from hypothesis import settings

from postgres_server import PostgresServer, ServerNotFoundError, postgres_server
from processes import reset_process_state
from redis_server import RedisServer, redis_server

settings.register_profile("fast", derandomize=True, deadline=None, database=None, max_examples=100)
settings.register_profile("stress", deadline=None, database=None, max_examples=2000, print_blob=True)
settings.load_profile("fast")


def pytest_configure() -> None:
    """Reset the environment and the signals, so that tests behave the same in every shell and in CI."""
    reset_process_state()


def pytest_collection_finish() -> None:
    """Exclude all modules and collected tests from garbage collections. A full collection would take 60 ms longer."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session", name="redis_server")
def _redis_server() -> Iterator[RedisServer]:
    """A redis-server for the whole session. Tests that use database 0 leave it empty."""
    with redis_server() as server:
        yield server


@pytest.fixture(scope="session", name="postgres_server")
def _postgres_server() -> Iterator[PostgresServer]:
    """A PostgreSQL server for the whole session, started when the first test asks for it."""
    try:
        with postgres_server() as server:
            yield server
    except ServerNotFoundError as error:
        pytest.skip(str(error))


@pytest.fixture(name="few_sequences")
def _few_sequences(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the state machine run ten sequences of operations instead of the shipped number."""
    from wnc_store_contract import statemachine  # noqa: PLC0415 - imported while pytest runs, so that its assertions are rewritten

    monkeypatch.setattr(statemachine, "SETTINGS", settings(statemachine.SETTINGS, max_examples=10))
