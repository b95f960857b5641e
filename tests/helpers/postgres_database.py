"""Databases for tests, and connections that bypass the store."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import TypeAlias
from uuid import uuid4

import asyncpg

from postgres_server import PostgresServer
from wnc_store import StoreSettings, open_store

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"

TABLES = tuple(
    f"wnc_store_{name}" for name in ("meta", "rooms", "active", "chats", "messages", "leases", "hits", "writers")
)


PATIENT = StoreSettings(operation_timeout=timedelta(hours=1))
"""Settings with a deadline that no test reaches."""


async def create_tables(url: str) -> None:
    """Create the tables in a database."""
    async with open_store(url, settings=PATIENT) as store:
        await store.ping()


@asynccontextmanager
async def connected(url: str) -> AsyncGenerator[Connection]:
    """Open a connection that bypasses the store."""
    connection = await asyncpg.connect(url)
    try:
        yield connection
    finally:
        await connection.close()


@asynccontextmanager
async def database(server: PostgresServer, options: str = "") -> AsyncGenerator[str]:
    """Create an empty database, yield its name, and drop it."""
    name = f"test_{uuid4().hex}"
    async with connected(server.url()) as admin:
        await admin.execute(f"CREATE DATABASE {name} {options}")
        try:
            yield name
        finally:
            await admin.execute(f"DROP DATABASE {name} WITH (FORCE)")


@asynccontextmanager
async def emptied(url: str) -> AsyncGenerator[Connection]:
    """Connect to a database whose tables, if they exist, are empty before and after the context."""
    async with connected(url) as connection:
        await _empty(connection)
        yield connection
        await _empty(connection)


async def _empty(connection: Connection) -> None:
    for table in TABLES[1:]:
        if await connection.fetchval("SELECT to_regclass($1)", table):
            await connection.execute(f"DELETE FROM {table}")  # noqa: S608
