"""Opening connections, and running statements on them."""

from __future__ import annotations

import asyncio
import os
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import asyncpg
from asyncpg import PostgresError

from wnc_store import ConfigurationError, SecretBytes, StoreUnavailableError
from wnc_store_postgres.transport.errors import MISSING, READ_ONLY, NoConnectionError, SchemaChangedError, sqlstate
from wnc_store_postgres.transport.url import Target

MINIMUM_VERSION = 13
"""The oldest major version of PostgreSQL that has every function of the schema."""

Connection = Any
"""An `asyncpg.Connection`, or a proxy that a pool of the caller returns."""

Row = tuple[Any, ...]

_SETTINGS = {
    "default_transaction_isolation": "read committed",
    "lock_timeout": "0",  # statement_timeout limits the wait for a lock
    "log_parameter_max_length_on_error": "0",  # arguments are private
    "jit": "off",  # the statements are short
    "enable_seqscan": "off",  # a plan that was made while a table was small may be used when it is large
}
_CHECK = """
SELECT pg_backend_pid(), pg_is_in_recovery(), current_setting('server_encoding'), current_setting('synchronous_commit'),
    current_setting('synchronous_standby_names')
"""
_MAX_TIMEOUT_MS = 2**31 - 1
_WAITS_FOR_STANDBYS = {"on", "remote_apply"}


@dataclass(frozen=True, slots=True)
class SessionOptions:
    """What a store needs of its sessions.

    Attributes:
        statement_timeout: how many seconds a statement may take. The server ends it then.
        is_replicated: whether a commit has to wait for standbys.
    """

    statement_timeout: float
    is_replicated: bool


async def open_connection(target: Target, deadline: float, options: SessionOptions) -> Connection:
    """Open a connection to the primary, check it, and apply the settings of a session.

    Args:
        target: what to connect to.
        deadline: when to give up, in the event loop's time.
        options: the settings. They are checked, but not applied, behind a pooler, which mixes up sessions.

    Raises:
        NoConnectionError: no connection could be opened in time, or the server cannot be used.
    """
    connection: Connection = None
    failure: BaseException
    try:
        async with asyncio.timeout_at(deadline):
            connection = await _connect(target)
            await prepare_session(connection, target.endpoint, options, is_own=not target.is_pooled)
            return connection
    except Exception as error:  # noqa: BLE001 - asyncpg raises any kind of error
        failure = error
    except BaseException:
        if connection is not None:
            connection.terminate()
        raise
    if connection is not None:
        connection.terminate()
    # Raised outside the handler, so that the driver's exception, which knows the password, is not its `__context__`.
    raise NoConnectionError(failure)


async def _connect(target: Target) -> Connection:
    options: dict[str, Any] = {"timeout": None}
    if "target_session_attrs=" not in target.dsn:
        options["target_session_attrs"] = "primary"
    if target.is_pooled:
        # A pooler may run each statement in another server process, and answers with its own parameters.
        options |= {"statement_cache_size": 0, "target_session_attrs": "any"}
    elif "application_name=" not in target.dsn:
        options["server_settings"] = {"application_name": "wnc-store"}
    try:
        return await asyncpg.connect(str(target.dsn), **options)
    except ConnectionError as error:
        if "rejected SSL upgrade" not in str(error) or _requires_tls(target.dsn):
            raise
        # A server that stops after its answer sends more than asyncpg expects.
        message = "the server stopped"
        raise ConnectionResetError(message) from None


def _requires_tls(dsn: str) -> bool:
    mode = dict(parse_qsl(urlsplit(dsn).query)).get("sslmode") or os.environ.get("PGSSLMODE")
    return mode in {"require", "verify-ca", "verify-full"}


async def prepare_session(connection: Connection, endpoint: str, options: SessionOptions, *, is_own: bool) -> None:
    """Check the server of a connection, and apply the settings of a session if `is_own`.

    Raises:
        ConfigurationError: the server is too old or lacks a required configuration, or a pooler is in between.
        StoreUnavailableError: the server is a standby.
    """
    version = connection.get_server_version()
    if version.major < MINIMUM_VERSION:
        found = f"{version.major}.{version.minor}"
        raise ConfigurationError(
            f"PostgreSQL at {endpoint} has version {found}; wnc-store requires {MINIMUM_VERSION} or newer"
        )
    process, is_standby, encoding, commit, standbys = await connection.fetchrow(_CHECK)
    if is_standby:
        raise _standby(endpoint)
    if encoding != "UTF8":
        raise ConfigurationError(
            f"the database at {endpoint} has the encoding {encoding}; create one with ENCODING 'UTF8'"
        )
    if options.is_replicated and not (standbys and (is_own or commit in _WAITS_FOR_STANDBYS)):
        raise ConfigurationError(
            f'durability="replicated" requires synchronous standbys, and PostgreSQL at {endpoint} has none, or the '
            "role does not wait for them: set synchronous_standby_names, and synchronous_commit = on"
        )
    if not is_own:
        return
    if process != connection.get_server_pid():
        raise ConfigurationError(
            f"the URL leads to a connection pooler such as PgBouncer at {endpoint}; add ?pgbouncer=true to the URL"
        )
    timeout_ms = min(max(1, round(options.statement_timeout * 1000)), _MAX_TIMEOUT_MS)
    settings = _SETTINGS | {"statement_timeout": str(timeout_ms)}
    if options.is_replicated and commit not in _WAITS_FOR_STANDBYS:
        settings["synchronous_commit"] = "on"
    await connection.execute("".join(f"SET {name} = '{value}';" for name, value in settings.items()))


async def run_statement(
    connection: Connection, endpoint: str, statement: str, arguments: tuple[Any, ...], lost_at: float
) -> list[Row] | Exception:
    """Run a statement, and return its rows or its error: NoConnectionError if the server has become a standby.

    Args:
        connection: the connection.
        endpoint: where it leads to, for messages.
        statement: the statement.
        arguments: its arguments.
        lost_at: when the connection counts as lost, in the event loop's time.
    """
    try:
        async with asyncio.timeout_at(lost_at):
            try:
                rows = await connection.fetch(statement, *arguments)
            except PostgresError as error:
                if sqlstate(error) == READ_ONLY and await _is_standby(connection):
                    return NoConnectionError(_standby(endpoint))
                raise
        return [tuple([SecretBytes(value) if type(value) is bytes else value for value in row]) for row in rows]
    except Exception as error:  # noqa: BLE001 - asyncpg raises any kind of error
        return SchemaChangedError() if sqlstate(error) in MISSING else error


async def _is_standby(connection: Connection) -> bool:
    with suppress(Exception):
        return bool(await connection.fetchval("SELECT pg_is_in_recovery()"))
    return False


def _standby(endpoint: str) -> StoreUnavailableError:
    return StoreUnavailableError(
        f"PostgreSQL at {endpoint} is a standby, which is read-only; connect to the primary, or list all hosts in the "
        "URL"
    )
