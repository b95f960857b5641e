"""Every error of the driver is translated."""

from __future__ import annotations

import inspect

import pytest
from redis import exceptions as driver

from wnc_store import (
    ConfigurationError,
    CorruptRecordError,
    OutcomeUnknownError,
    StoreError,
    StoreTimeoutError,
    StoreUnavailableError,
)
from wnc_store_redis.transport.errors import to_store_error

ALL = [
    kind
    for _, kind in inspect.getmembers(driver, inspect.isclass)
    if issubclass(kind, Exception) and kind.__module__.startswith("redis")
]


def made(kind: type[Exception]) -> Exception:
    """Return an exception of a kind, however it is made."""
    for arguments in (("some text",), ("1 127.0.0.1:1",), ("some text", "more"), ()):
        try:
            return kind(*arguments)
        except (TypeError, ValueError, IndexError):
            continue
    raise AssertionError(kind)


@pytest.mark.parametrize("kind", ALL, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("unanswered", [False, True])
def test_every_driver_error_is_translated(kind: type[Exception], *, unanswered: bool) -> None:
    """Whatever redis-py raises becomes a StoreError that names server and key and keeps the cause."""
    error = made(kind)
    found = to_store_error(error, endpoint="host:1", key="room:A", unanswered=unanswered)
    assert isinstance(found, StoreError)
    assert found.__cause__ is error
    if not isinstance(found, CorruptRecordError):
        assert "host:1" in str(found)


def test_the_walk_sees_the_driver() -> None:
    """The walk over the driver's exceptions finds the well-known ones."""
    assert {driver.ConnectionError, driver.ResponseError, driver.BusyLoadingError, driver.DataError} <= set(ALL)


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("LOADING Redis is loading the dataset in memory", StoreUnavailableError),
        ("BUSY Redis is busy running a script", StoreUnavailableError),
        ("OOM command not allowed when used memory > 'maxmemory'", StoreUnavailableError),
        ("MISCONF Redis is configured to save RDB snapshots", StoreUnavailableError),
        ("READONLY You can't write against a read only replica", StoreUnavailableError),
        ("NOREPLICAS Not enough good replicas to write", StoreUnavailableError),
        ("MASTERDOWN Link with MASTER is down", StoreUnavailableError),
        ("CLUSTERDOWN The cluster is down", StoreUnavailableError),
        ("TRYAGAIN Multiple keys request during rehashing of slot", StoreUnavailableError),
        ("WRONGTYPE Operation against a key holding the wrong kind of value", CorruptRecordError),
        ("NOPERM this user has no permissions", ConfigurationError),
        ("NOAUTH Authentication required.", ConfigurationError),
        ("MOVED 3999 127.0.0.1:6381", ConfigurationError),
        ("ASK 3999 127.0.0.1:6381", ConfigurationError),
        ("ERR something else", StoreError),
        ("no code at all", StoreError),
    ],
)
def test_what_the_server_answers_did_not_happen(text: str, kind: type[StoreError]) -> None:
    """An answer of the server is an error of the right kind, never an unknown outcome."""
    found = to_store_error(driver.ResponseError(text), endpoint="host:1", key="room:A", in_script=True)
    assert type(found) is kind


@pytest.mark.parametrize(
    "error",
    [driver.ConnectionError("x"), driver.TimeoutError("x"), OSError("x"), AttributeError("x"), TimeoutError()],
    ids=lambda error: type(error).__name__,
)
def test_a_lost_connection_after_a_write_is_unknown(error: Exception) -> None:
    """Whatever breaks after a write was sent leaves its outcome unknown; before, it did not happen."""
    assert type(to_store_error(error, endpoint="h", key="k", unanswered=True)) is OutcomeUnknownError
    before = to_store_error(error, endpoint="h", key="k")
    assert isinstance(before, StoreUnavailableError)
    assert not isinstance(before, OutcomeUnknownError)


@pytest.mark.parametrize("error", [driver.TimeoutError("x"), TimeoutError()])
def test_a_timeout_says_so(error: Exception) -> None:
    """A time-out of a read is a StoreTimeoutError."""
    assert type(to_store_error(error, endpoint="h", key="k")) is StoreTimeoutError


def test_a_full_server_says_so() -> None:
    """A server that refuses a connection because it has too many is no server that is down."""
    error = to_store_error(driver.ConnectionError("max number of clients reached"), endpoint="h", key="k")
    assert "reached its maxclients" in str(error)


def test_no_key_is_no_key() -> None:
    """An error about no key names none."""
    assert "key" not in str(to_store_error(driver.ConnectionError(), endpoint="h", key=""))
