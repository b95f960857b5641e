"""Translation of errors, and the retry policy, without a server."""

from __future__ import annotations

import asyncio
import ssl

import asyncpg
import pytest

from wnc_store import (
    ConfigurationError,
    OutcomeUnknownError,
    StoreError,
    StoreTimeoutError,
    StoreUnavailableError,
)
from wnc_store_postgres.transport.errors import NoConnectionError, SchemaChangedError, is_lost, to_store_error
from wnc_store_postgres.transport.retry import MAX_LOST, Attempts

SECRET = "SECRET-77"
DRIVER = [
    kind
    for kind in vars(asyncpg.exceptions).values()
    if isinstance(kind, type)
    and issubclass(kind, Exception)
    and not issubclass(kind, Warning | asyncpg.PostgresLogMessage)
]


def server_error(code: str, severity: str = "ERROR") -> asyncpg.PostgresError:
    """Return an error of the server, which contains a secret."""
    error = asyncpg.PostgresError(SECRET)
    vars(error).update(sqlstate=code, severity_en=severity)
    return error


@pytest.mark.parametrize("kind", DRIVER, ids=lambda kind: kind.__name__)
def test_every_error_of_the_driver_is_translated(kind: type[Exception]) -> None:
    """Every class of asyncpg becomes a StoreError without its text, and the cause names only its type."""
    error = kind.__new__(kind)
    error.args = (SECRET,)
    translated = to_store_error(error, endpoint="host:5432")
    assert SECRET not in f"{translated!r} {translated.__cause__!r}"
    assert translated.__context__ is None


@pytest.mark.parametrize(
    ("error", "expected", "hint"),
    [
        (server_error("28P01"), ConfigurationError, "rejected the credentials"),
        (server_error("42501"), ConfigurationError, "docs/postgres-role.md"),
        (server_error("WNC02"), ConfigurationError, "read committed"),
        (server_error("26000"), ConfigurationError, "pgbouncer=true"),
        (server_error("25006"), StoreUnavailableError, "default_transaction_read_only is on"),
        (server_error("53300"), StoreUnavailableError, "max_connections"),
        (server_error("54000"), StoreUnavailableError, "NOTIFY queue"),
        (server_error("40P01"), StoreUnavailableError, "deadlock"),
        (server_error("57014"), StoreTimeoutError, "nothing happened"),
        (server_error("57P01", "FATAL"), StoreUnavailableError, "cannot be reached"),
        (server_error("22012"), StoreError, "SQLSTATE 22012"),
        (SchemaChangedError(), ConfigurationError, "wnc-store migrate"),
        (TimeoutError(), StoreTimeoutError, "did not reply in time"),
        (asyncpg.TargetServerAttributeNotMatched(), StoreUnavailableError, "standby"),
        (ssl.SSLError(1, "any"), StoreUnavailableError, "TLS failed"),
        (ConnectionRefusedError(111, "Connection refused"), StoreUnavailableError, "Connection refused"),
    ],
    ids=lambda value: getattr(value, "sqlstate", None) or getattr(value, "__name__", str(type(value).__name__)),
)
def test_an_error_says_what_to_do(error: Exception, expected: type[StoreError], hint: str) -> None:
    """An error has the class that the contract demands and a hint, whether a statement or connecting raised it."""
    for failure in (error, NoConnectionError(error)):
        translated = to_store_error(failure, endpoint="host:5432", key="room:A")
        assert type(translated) is expected
        assert hint in str(translated)


def test_a_write_in_doubt_is_never_reported_as_refused() -> None:
    """Whatever the last error was, a write that may have happened raises OutcomeUnknownError."""
    for failure in (TimeoutError(), server_error("57P01", "FATAL"), NoConnectionError(ConnectionRefusedError())):
        assert type(to_store_error(failure, endpoint="host:5432", in_doubt=True)) is OutcomeUnknownError


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (server_error("23505"), False),
        (server_error("57014"), False),
        (server_error("57P01", "FATAL"), True),
        (server_error("XX000", "FATAL"), True),
        (server_error("08006"), True),
        (ConnectionResetError(), True),
        (TimeoutError(), True),
        (asyncpg.InterfaceError("closed"), True),
        (asyncpg.exceptions.DataError("argument"), False),
        (NoConnectionError(ConnectionResetError()), False),
    ],
)
def test_only_a_lost_connection_leaves_a_write_in_doubt(error: Exception, expected: bool) -> None:
    """An error of the statement has rolled it back. After a lost connection, it may have been committed."""
    assert is_lost(error) is expected


async def attempts(error: Exception, *, has_failover: bool = False, in_doubt: bool = False) -> int:
    """Return how often a statement that always fails runs, at most 20 times."""
    policy = Attempts(asyncio.get_running_loop().time() + 60, has_failover=has_failover)
    policy._delay = 0  # doubling it leaves it zero
    number = 1
    while number < 20 and await policy.another(error, in_doubt=in_doubt):
        number += 1
    return number


@pytest.mark.parametrize(
    ("error", "alone", "failover", "in_doubt"),
    [
        (server_error("40001"), 20, 20, 20),
        (server_error("40P01"), 20, 20, 20),
        (server_error("WNC01"), 20, 20, 20),
        (server_error("23505"), 1, 1, 20),
        (server_error("57014"), 1, 1, 20),
        (server_error("25006"), 1, 20, 20),
        (ConnectionResetError(), MAX_LOST, MAX_LOST, 20),
        (TimeoutError(), 1, 1, 1),
        (SchemaChangedError(), 2, 2, 2),
        (NoConnectionError(ConnectionRefusedError()), 1, 20, 20),
        (NoConnectionError(StoreUnavailableError()), 1, 20, 20),
        (NoConnectionError(server_error("57P03", "FATAL")), 20, 20, 20),
        (NoConnectionError(server_error("28P01", "FATAL")), 1, 1, 1),
        (NoConnectionError(ConfigurationError()), 1, 1, 1),
        (NoConnectionError(TimeoutError()), 1, 1, 1),
    ],
    ids=lambda value: repr(value),
)
async def test_the_retry_policy(error: Exception, alone: int, failover: int, in_doubt: int) -> None:
    """A statement runs again only if that can succeed soon: by itself, after a failover, or to resolve a write."""
    assert await attempts(error) == alone
    assert await attempts(error, has_failover=True) == failover
    assert await attempts(error, in_doubt=True) == in_doubt


async def test_no_attempt_begins_after_the_deadline() -> None:
    """The policy gives up at once if the next delay would pass the deadline."""
    policy = Attempts(asyncio.get_running_loop().time(), has_failover=True)
    assert await policy.another(server_error("40001")) is False
