"""The PostgreSQL server of a run: its description, its counters and the rows of the run."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta

import asyncpg

from wnc_store import ConfigurationError, StoreSettings, open_store
from wnc_store_bench.server import Target
from wnc_store_postgres.transport.url import parse_url

_CREATION = timedelta(minutes=1)
"""How long the creation of the tables may take."""

_TABLES = ("rooms", "active", "chats", "messages", "leases", "hits", "writers")


def is_postgres(url: str) -> bool:
    """Return whether a URL has a scheme of PostgreSQL."""
    return url.startswith(("postgresql://", "postgres://"))


@asynccontextmanager
async def temporary_rows(url: str | None, target: Target) -> AsyncGenerator[Target | None]:
    """Yield `target` at a PostgreSQL server, and remove the rows with its prefix at the exit of the context.

    The tables are created if they do not exist, and stay. Without a URL, None is yielded.

    Raises:
        ConfigurationError: the URL or the server cannot be used.
        StoreUnavailableError: the server cannot be reached.
    """
    if url is None:
        yield None
        return
    if not is_postgres(url):
        message = "--postgres expects the URL of a PostgreSQL database: postgresql://user:password@host:5432/database"
        raise ConfigurationError(message)
    async with open_store(url, settings=StoreSettings(operation_timeout=_CREATION)) as store:
        await store.ping()
    postgres = replace(target, url=url)
    try:
        yield postgres
    finally:
        async with _connected(url) as connection:
            for table in _TABLES:
                statement = f"DELETE FROM wnc_store_{table} WHERE starts_with(prefix, $1)"  # noqa: S608 - a fixed name
                await connection.execute(statement, postgres.prefix)


async def describe(url: str) -> str:
    """Return the server's version, and the settings that determine when a commit returns."""
    async with _connected(url) as connection:
        version, fsync, synchronous_commit = [
            str(await connection.fetchval("SELECT current_setting($1)", name))
            for name in ("server_version", "fsync", "synchronous_commit")
        ]
    return f"{version.partition(' ')[0]} (fsync {fsync}, synchronous_commit {synchronous_commit})"


async def count_transactions(url: str) -> int:
    """Return a number that grows by one with each transaction that writes, of all clients of the server."""
    async with _connected(url) as connection:
        return int(await connection.fetchval("SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint"))


@asynccontextmanager
async def _connected(url: str) -> AsyncGenerator[asyncpg.Connection[asyncpg.Record]]:
    dsn = parse_url(url, StoreSettings()).dsn
    connection = await asyncpg.connect(str(dsn), statement_cache_size=0)  # also works through PgBouncer
    try:
        yield connection
    finally:
        await connection.close()
