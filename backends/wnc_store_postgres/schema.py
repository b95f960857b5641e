"""The tables and functions in the database: finding, checking and creating them."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import NamedTuple

from asyncpg import LockNotAvailableError

from wnc_store import ConfigurationError, StoreUnavailableError
from wnc_store_postgres.transport.connection import Connection

VERSION = 1
"""Version of the schema. Another text of the SQL files requires another version, see `CHECKSUM`."""

CHECKSUM = "5aaf87fc2f79f193ede6d2b51f28325c2bc01a690a50262aaa78f01b00268bd1"
"""SHA-256 of the SQL files, by which a test notices that they changed and the version did not."""

_MIGRATION_LOCK = 7_631_001
"""Key of the advisory lock under which tables are created."""

_RIGHTS = "SELECT, INSERT, UPDATE, DELETE"

_FIND = """
SELECT n.nspname::text AS schema, c.relname::text AS name, c.relkind::text AS kind,
    ARRAY(SELECT a.attname::text FROM pg_attribute a
        WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum) AS columns,
    c.relkind IN ('r', 'p') AND has_table_privilege(c.oid, 'SELECT') AND (c.relname = 'wnc_store_meta'
        OR has_table_privilege(c.oid, 'INSERT') AND has_table_privilege(c.oid, 'UPDATE')
        AND has_table_privilege(c.oid, 'DELETE')) AS is_usable
FROM unnest(current_schemas(false)) WITH ORDINALITY AS path (schema, i)
JOIN pg_namespace n ON n.nspname = path.schema
JOIN pg_class c ON c.relnamespace = n.oid
WHERE c.relname = ANY ($1::text[]) ORDER BY i
"""
_FIND_FUNCTIONS = """
SELECT p.proname::text, has_function_privilege(p.oid, 'EXECUTE')
FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
WHERE n.nspname = $1 AND p.proname = ANY ($2::text[])
"""
_PLACE = "SELECT current_schema()::text, has_schema_privilege(current_schema(), 'CREATE'), current_user::text"


def read_sql(name: str) -> str:
    """Return a file of SQL. `wnc_schema` stands for the name of the database's schema."""
    return (files("wnc_store_postgres") / "sql" / name).read_text("utf-8")


def _columns(sql: str) -> Mapping[str, tuple[str, ...]]:
    tables = re.findall(r"CREATE TABLE wnc_schema\.(\w+) \((.*?)\n\)", sql, re.DOTALL)
    return {name: tuple(re.findall(r"^ {4}([a-z_]+) ", body, re.MULTILINE)) for name, body in tables}


_TABLES_SQL, _FUNCTIONS_SQL = read_sql("tables.sql"), read_sql("functions.sql")
_TABLES = _columns(_TABLES_SQL)
_FUNCTIONS = tuple(re.findall(r"FUNCTION wnc_schema\.(\w+)\(", _FUNCTIONS_SQL))


class Found(NamedTuple):
    """What a search for the tables found.

    Attributes:
        schema: the schema of the database that contains the tables, or in which they are to be created.
        has_tables: whether the tables exist.
        missing: the functions that do not exist.
    """

    schema: str
    has_tables: bool
    missing: Sequence[str]


class Schema:
    """The schema of the database that contains the tables. Found, and created if necessary, on first use."""

    def __init__(self) -> None:
        self._name: str | None = None
        self._lock = asyncio.Lock()

    @property
    def is_known(self) -> bool:
        """Whether the tables were found."""
        return self._name is not None

    def forget(self) -> None:
        """Look for the tables again before the next statement."""
        self._name = None

    def localize(self, sql: str) -> str:
        """Return a statement with the name of the schema."""
        return sql.replace("wnc_schema.", f"{quote_name(self._name or '')}.")

    async def ensure(self, connection: Connection, deadline: float) -> None:
        """Find the tables, and create them if they do not exist. If it raises, the connection cannot be used again.

        Raises:
            ConfigurationError: the tables cannot be used or created. Nothing was written.
            StoreUnavailableError: another migration takes too long.
        """
        async with asyncio.timeout_at(deadline), self._lock:
            if self._name is None:
                found = await find(connection)
                if not found.has_tables:
                    await migrate(connection, deadline)
                else:
                    _check_functions(found)
                self._name = found.schema

    async def check(self, connection: Connection, deadline: float) -> None:
        """Check the tables without creating them.

        Raises:
            ConfigurationError: tables or functions do not exist, or cannot be used.
        """
        async with asyncio.timeout_at(deadline):
            found = await find(connection)
        if not found.has_tables:
            raise ConfigurationError(
                f"the tables of wnc-store do not exist in schema {found.schema!r}: run `wnc-store migrate` with the URL"
            )
        _check_functions(found)


async def find(connection: Connection) -> Found:
    """Return the schema of the search path that contains the tables, or where they are to be created.

    Raises:
        ConfigurationError: the tables are not ours, have another version, or must not be used or created.
    """
    rows = await connection.fetch(_FIND, list(_TABLES))
    schema = next((row["schema"] for row in rows if row["name"] == "wnc_store_meta"), None)
    if schema is None:
        return await _find_place(connection, {(row["schema"], row["name"]) for row in rows})
    tables = {row["name"]: row for row in rows if row["schema"] == schema}
    meta = tables["wnc_store_meta"]
    if meta["kind"] not in "rp" or tuple(meta["columns"]) != _TABLES["wnc_store_meta"]:
        raise _not_ours(schema, "wnc_store_meta")
    _check_rights([name for name, row in tables.items() if not row["is_usable"]], f"{_RIGHTS} on the table")
    version = await connection.fetchval(f"SELECT version FROM {quote_name(schema)}.wnc_store_meta")  # noqa: S608
    if version != VERSION:
        newer = "update wnc-store" if (version or 0) > VERSION else "run `wnc-store migrate` with the URL"
        raise ConfigurationError(
            f"the tables in schema {schema!r} have version {version}, and this wnc-store expects version {VERSION}: "
            f"{newer}"
        )
    for name, columns in _TABLES.items():
        if name not in tables or tuple(tables[name]["columns"]) != columns:
            raise ConfigurationError(
                f"the table {schema}.{name} is missing or has other columns than version {VERSION}: restore it from a "
                "backup, or drop every wnc_store_* table to start empty"
            )
    rows = await connection.fetch(_FIND_FUNCTIONS, schema, _FUNCTIONS)
    functions: dict[str, bool] = {row[0]: row[1] for row in rows}
    _check_rights([name for name, is_usable in functions.items() if not is_usable], "EXECUTE on the function")
    return Found(schema, has_tables=True, missing=[name for name in _FUNCTIONS if name not in functions])


async def _find_place(connection: Connection, found: set[tuple[str, str]]) -> Found:
    """Return the schema in which the tables are to be created."""
    schema, may_create, role = await connection.fetchrow(_PLACE)
    if schema is None:
        raise ConfigurationError("no schema of the search_path exists: create one, or add ?search_path=... to the URL")
    for other, name in found:
        if other == schema:
            raise _not_ours(schema, name)
    if not may_create:
        raise ConfigurationError(
            f"the tables of wnc-store do not exist, and the role {role!r} must not create them in schema {schema!r}: "
            "run `wnc-store migrate` with the URL of a role that has CREATE on the schema, and grant this role its "
            "rights, see docs/postgres-role.md"
        )
    return Found(schema, has_tables=False, missing=_FUNCTIONS)


async def migrate(connection: Connection, deadline: float) -> tuple[str, bool]:
    """Create the tables and functions under a lock, in one transaction. Missing functions are created, too.

    If it raises, the transaction may be open, and the caller has to terminate the connection.

    Returns:
        The name of the schema, and whether anything was created.

    Raises:
        ConfigurationError: see `find`.
        StoreUnavailableError: another migration takes too long. Nothing was written.
    """
    wait_ms = max(1, round((deadline - asyncio.get_running_loop().time()) * 900))
    try:
        # Not `connection.transaction()`: after a time-out, its ROLLBACK would wait for the server without a limit.
        await connection.execute("BEGIN ISOLATION LEVEL READ COMMITTED")
        await connection.execute(f"SET LOCAL lock_timeout = {wait_ms}; SET LOCAL statement_timeout = 0")
        await connection.execute(f"SELECT pg_advisory_xact_lock({_MIGRATION_LOCK})")
        found = await find(connection)
        sql = ("" if found.has_tables else _TABLES_SQL) + (_FUNCTIONS_SQL if found.missing else "")
        if sql:
            await connection.execute(sql.replace("wnc_schema.", f"{quote_name(found.schema)}."))
        await connection.execute("COMMIT")
        return found.schema, bool(sql)
    except LockNotAvailableError:
        pass
    raise StoreUnavailableError(
        "another migration holds the lock, or another transaction uses the tables, for too long: nothing was written; "
        "end that session, or try again"
    )


def quote_name(name: str) -> str:
    """Return a quoted identifier."""
    return '"' + name.replace('"', '""') + '"'


def _not_ours(schema: str, name: str) -> ConfigurationError:
    return ConfigurationError(
        f"the table {schema}.{name} exists and was not created by wnc-store: rename it, or name another schema in the "
        "URL, ?search_path=..."
    )


def _check_functions(found: Found) -> None:
    if found.missing:
        raise ConfigurationError(
            f"the function {found.schema}.{found.missing[0]} is missing: run `wnc-store migrate` with the URL"
        )


def _check_rights(names: list[str], right: str) -> None:
    if names:
        raise ConfigurationError(
            f"the role lacks {right} {', '.join(sorted(names))}: grant it, see docs/postgres-role.md"
        )
