"""Tests of the translation of driver errors."""

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
from wnc_store_redis.transport.product import REDIS, VALKEY

ALL = [
    kind
    for _, kind in inspect.getmembers(driver, inspect.isclass)
    if issubclass(kind, Exception) and kind.__module__.startswith("redis")
]


def instantiate(kind: type[Exception]) -> Exception:
    """Return an exception of a type. Exceptions of redis-py take different arguments."""
    for arguments in (("some text",), ("1 127.0.0.1:1",), ("some text", "more"), ()):
        try:
            return kind(*arguments)
        except (TypeError, ValueError, IndexError):
            continue
    raise AssertionError(kind)


@pytest.mark.parametrize("kind", ALL, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("unanswered", [False, True])
def test_every_driver_error_is_translated(kind: type[Exception], *, unanswered: bool) -> None:
    """Each exception of redis-py becomes a StoreError that names the server and keeps the cause."""
    error = instantiate(kind)
    translated = to_store_error(error, endpoint="host:1", key="room:A", unanswered=unanswered)
    assert isinstance(translated, StoreError)
    assert translated.__cause__ is error
    if not isinstance(translated, CorruptRecordError):
        assert "host:1" in str(translated)


def test_the_list_contains_the_drivers_exceptions() -> None:
    """The list of driver exceptions contains the well-known ones."""
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
        ("NOPERM this user is denied", ConfigurationError),
        ("NOAUTH Authentication required.", ConfigurationError),
        ("MOVED 3999 127.0.0.1:6381", ConfigurationError),
        ("ASK 3999 127.0.0.1:6381", ConfigurationError),
        ("ERR something else", StoreError),
        ("no code at all", StoreError),
    ],
)
def test_an_error_reply_is_a_definite_failure(text: str, kind: type[StoreError]) -> None:
    """An error reply becomes an error of the matching type, never an unknown outcome."""
    translated = to_store_error(driver.ResponseError(text), endpoint="host:1", key="room:A", in_script=True)
    assert type(translated) is kind


@pytest.mark.parametrize(
    "error",
    [driver.ConnectionError("x"), driver.TimeoutError("x"), OSError("x"), AttributeError("x"), TimeoutError()],
    ids=lambda error: type(error).__name__,
)
def test_a_lost_connection_after_a_write_is_an_unknown_outcome(error: Exception) -> None:
    """The outcome is unknown if the connection fails after a write was sent; an unsent write did not happen."""
    assert type(to_store_error(error, endpoint="h", key="k", unanswered=True)) is OutcomeUnknownError
    unsent = to_store_error(error, endpoint="h", key="k")
    assert isinstance(unsent, StoreUnavailableError)
    assert not isinstance(unsent, OutcomeUnknownError)


@pytest.mark.parametrize("error", [driver.TimeoutError("x"), TimeoutError()])
def test_a_time_out_of_a_read_is_a_store_timeout_error(error: Exception) -> None:
    """A time-out of a read becomes a StoreTimeoutError."""
    assert type(to_store_error(error, endpoint="h", key="k")) is StoreTimeoutError


def test_a_full_server_is_named_as_the_cause() -> None:
    """The error for a rejected connection names maxclients if the server has too many clients."""
    error = to_store_error(driver.ConnectionError("max number of clients reached"), endpoint="h", key="k")
    assert "reached its maxclients" in str(error)


def test_an_error_without_a_key_names_none() -> None:
    """The error for a command without a key does not mention a key."""
    assert "key" not in str(to_store_error(driver.ConnectionError(), endpoint="h", key=""))


@pytest.mark.parametrize(
    ("error", "hint"),
    [
        (driver.ResponseError("MOVED 3999 127.0.0.1:6381"), "use valkey+cluster://, or a RedisCluster client"),
        (driver.ResponseError("ERR This instance has cluster support disabled"), "is not a cluster; use valkey://"),
        (driver.ResponseError("ERR unknown command 'GET'"), "use valkey+sentinel://"),
        (driver.ConnectionError("Connection closed by server."), "it may require TLS (valkeys://)"),
    ],
)
def test_the_error_of_a_valkey_url_names_valkey(error: Exception, hint: str) -> None:
    """Errors of a store that was opened with a URL of Valkey name Valkey and its schemes, and not those of Redis."""
    text = str(to_store_error(error, endpoint="host:1", key="room:A", product=VALKEY))
    assert text.startswith("Valkey at host:1 ")
    assert hint in text
    assert "redis" not in text
    assert "Redis" not in text.replace("RedisCluster", "")


@pytest.mark.parametrize("kind", ALL, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("unanswered", [False, True])
def test_only_names_depend_on_the_product(kind: type[Exception], *, unanswered: bool) -> None:
    """The errors of Valkey and Redis differ only in the product and the schemes."""
    error = instantiate(kind)
    texts = [
        str(to_store_error(error, endpoint="host:1", key="room:A", unanswered=unanswered, product=product))
        for product in (REDIS, VALKEY)
    ]
    assert VALKEY.localize(texts[0]).replace("Redis at", "Valkey at") == texts[1]
