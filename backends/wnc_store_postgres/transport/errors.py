"""Translation of errors of asyncpg and the server into errors of the library."""

from __future__ import annotations

import ssl
from datetime import timedelta

from asyncpg import (
    ClientConfigurationError,
    DataError,
    PostgresError,
    TargetServerAttributeNotMatched,
)

from wnc_store import (
    ConfigurationError,
    OutcomeUnknownError,
    StoreError,
    StoreTimeoutError,
    StoreUnavailableError,
)

READ_ONLY = "25006"
"""SQLSTATE of a write in a read-only transaction."""

_GRANT = (
    "connect as a role that may use the schema, its tables (SELECT, INSERT, UPDATE, DELETE) and its functions "
    "(EXECUTE); see docs/postgres-role.md"
)
_SETTING = "the server rejected the value of a setting; check the options of the URL, and the settings of the role"
_MISCONFIGURED = {
    "22023": _SETTING,
    "55P02": _SETTING,
    "28000": "the server rejected the role; check the user in the URL and the server's pg_hba.conf",
    "28P01": "the server rejected the credentials; check the user and the password in the URL",
    "3D000": "the database does not exist; create it, or correct the name in the URL",
    "42501": f"the role lacks a right; {_GRANT}",
    "42704": "the server does not know an option of the URL; an option that is not one of libpq is sent to the server",
    "42P05": "a connection pooler mixes up prepared statements; add ?pgbouncer=true to the URL",
    "26000": "a connection pooler mixes up prepared statements; add ?pgbouncer=true to the URL",
    "08P01": "the server rejected the connection's settings; behind PgBouncer, add ?pgbouncer=true to the URL",
    "WNC02": (
        "a transaction must be READ COMMITTED; set default_transaction_isolation of the role or the database to "
        "'read committed'"
    ),
}
_UNAVAILABLE = {
    READ_ONLY: (
        "transactions are read-only, because default_transaction_read_only is on for the server, the database or the "
        "role, as some providers set it when the disk is full; set it to off"
    ),
    "40001": "the transaction failed to serialize at every attempt",
    "40P01": "the transaction was part of a deadlock at every attempt",
    "53100": "the server's disk is full; free space",
    "53200": "the server is out of memory, or max_locks_per_transaction is too low",
    "53300": "all connection slots of the server are in use; raise max_connections, or lower pool_size in the URL",
    "54000": "the NOTIFY queue of the server may be full; end the session that listens and has a long transaction",
    "57P03": "the server is starting up or shutting down",
    "WNC01": "the store lost its connections again and again",
}
_NO_PRIMARY = (
    "no host of the URL accepts writes: each is a standby or, with target_session_attrs=read-write, has "
    "default_transaction_read_only = on; connect to the primary, or list all hosts in the URL"
)
_TIMEOUT = {
    "55P03": "a lock was held by another transaction for too long",
    "57014": "the statement took too long, or was cancelled by an administrator",
    "WNC03": "the request arrived after its deadline, or the server's clock was changed",
}
MISSING = {"3F000", "42703", "42883", "42P01"}
"""SQLSTATEs for a missing schema, column, function or table."""

_LOST_CLASSES = ("08", "57P", "58")
"""Beginnings of the SQLSTATEs of a lost connection and of a server that stops."""


class NoConnectionError(Exception):
    """Raised when no connection could be opened or obtained, so that nothing was sent.

    Attributes:
        reason: the error of the driver; a TimeoutError after the deadline.
    """

    def __init__(self, reason: BaseException) -> None:
        super().__init__()
        self.reason = reason


class SchemaChangedError(Exception):
    """Raised when a table or a function is missing that was there before. The transaction was rolled back."""


class DriverError(Exception):
    """The cause of a translated error: the type of the driver's error, without its arguments, which may be private."""


def sqlstate(error: BaseException) -> str:
    """Return the SQLSTATE of an error of the server; "" for any other error."""
    return (error.sqlstate or "") if isinstance(error, PostgresError) else ""


def is_lost(error: BaseException) -> bool:
    """Return whether a statement's connection ended before its reply, so that its outcome is not known."""
    if isinstance(error, NoConnectionError | SchemaChangedError | DataError | StoreError):
        return False
    if isinstance(error, PostgresError):
        severity = getattr(error, "severity_en", None) or getattr(error, "severity", None)
        return severity in {"FATAL", "PANIC"} or sqlstate(error).startswith(_LOST_CLASSES)
    return True  # OSError, TimeoutError, InterfaceError, and what asyncpg raises on a broken protocol


def is_misconfigured(error: BaseException) -> bool:
    """Return whether an error lasts until somebody changes the URL, the server or the role."""
    return isinstance(to_store_error(error, endpoint=""), ConfigurationError)


def to_store_error(
    error: BaseException, *, endpoint: str, key: str = "", in_doubt: bool = False, final_after: timedelta | None = None
) -> StoreError:
    """Return the library's error for an error of the driver.

    Args:
        error: the error.
        endpoint: the hosts and ports, or the directory of the socket.
        key: the record of the operation; "" if it has none.
        in_doubt: whether a write may have been executed.
        final_after: how long the write may still be executed, if `in_doubt`.
    """
    if isinstance(error, StoreError) and not in_doubt:
        return error
    reason = error.reason if isinstance(error, NoConnectionError) else error
    about = f" (key {key!r})" if key else ""
    server = f"PostgreSQL at {endpoint}"
    if in_doubt:
        translated: StoreError = OutcomeUnknownError(
            f"the connection to {server} failed{about} after a write was sent, and the server did not report "
            "its outcome: the write may or may not have happened; read before you try again"
        )
        translated.final_after = final_after
    elif isinstance(reason, StoreError):
        return reason
    elif isinstance(reason, PostgresError) and not isinstance(reason, TargetServerAttributeNotMatched):
        translated = _from_server(reason, server, about)
    else:
        translated = _from_client(reason, server, about)
    translated.__cause__ = DriverError(_describe(reason))
    return translated


def _from_server(error: PostgresError, server: str, about: str) -> StoreError:
    code = sqlstate(error)
    if code in _MISCONFIGURED:
        return ConfigurationError(f"{server}{about}: {_MISCONFIGURED[code]} (SQLSTATE {code})")
    if code in _TIMEOUT:
        return StoreTimeoutError(f"{server}{about}: {_TIMEOUT[code]}; nothing happened (SQLSTATE {code})")
    if code in _UNAVAILABLE:
        return StoreUnavailableError(f"{server}{about}: {_UNAVAILABLE[code]}; nothing happened (SQLSTATE {code})")
    if is_lost(error):
        return StoreUnavailableError(f"{server} cannot be reached{about}: the connection ended (SQLSTATE {code})")
    return StoreError(f"{server} rejected the statement{about} with SQLSTATE {code}; nothing happened")


def _from_client(error: BaseException, server: str, about: str) -> StoreError:
    problem = _misconfiguration(error)
    if problem is not None:
        return ConfigurationError(f"{server}{about}: {problem}")
    if isinstance(error, TimeoutError):
        return StoreTimeoutError(f"{server} did not reply in time{about}; check the server and the network")
    if isinstance(error, TargetServerAttributeNotMatched):
        return StoreUnavailableError(f"{server}{about}: {_NO_PRIMARY}")
    if isinstance(error, DataError):
        return StoreError(f"asyncpg rejected an argument{about}; nothing was sent")
    reason = "the connection was lost"
    if isinstance(error, ssl.SSLError):
        reason = "TLS failed; check sslmode and the certificates"
    elif isinstance(error, OSError) and error.strerror:
        reason = error.strerror
    return StoreUnavailableError(f"{server} cannot be reached{about}: {reason}")


def _misconfiguration(error: BaseException) -> str | None:
    """Return what is wrong with the configuration and what to do, or None if the error has another reason."""
    if isinstance(error, SchemaChangedError):
        hint = "run `wnc-store migrate` with the URL, and do not change the tables of a running store"
        return f"a table or a function of wnc-store is missing; {hint}"
    if isinstance(error, ssl.SSLCertVerificationError):
        hint = "name the CA in the URL, ?sslrootcert=/path/ca.pem, and connect to a name in the certificate"
        return f"the certificate is not valid: {error.verify_message}; {hint}"
    if isinstance(error, ConnectionError) and "rejected SSL upgrade" in str(error):
        return "the server does not accept TLS; enable ssl on the server, or use sslmode=prefer"
    if isinstance(error, ClientConfigurationError) or (isinstance(error, OSError) and error.filename is not None):
        return "the options of the URL, or the files that they name, cannot be used; check sslmode and sslrootcert"
    return None


def _describe(error: BaseException) -> str:
    code = sqlstate(error)
    return f"{type(error).__name__} (SQLSTATE {code})" if code else type(error).__name__
