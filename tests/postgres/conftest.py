"""Fixtures of the Postgres tests: databases, stores, and plain connections."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from postgres_database import Connection, connected, create_tables, database, emptied
from postgres_server import PostgresServer
from wnc_store import Store, open_store


@pytest.fixture(autouse=True)
def _be_patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give stores without settings a deadline that a busy machine does not reach."""
    monkeypatch.setenv("WNC_STORE_OPERATION_TIMEOUT", "60")


@pytest.fixture(scope="session")
def shared(postgres_server: PostgresServer) -> str:
    """Name of a database with the tables, which is used by one test after the other."""

    async def create() -> None:
        async with connected(postgres_server.url()) as admin:
            await admin.execute("CREATE DATABASE shared")
        await create_tables(postgres_server.url("shared"))

    asyncio.run(create())
    return "shared"


@pytest.fixture
async def url(postgres_server: PostgresServer, shared: str) -> AsyncIterator[str]:
    """URL of a database whose tables are empty before and after the test."""
    url = postgres_server.url(shared)
    async with emptied(url):
        yield url


@pytest.fixture
async def plain(url: str) -> AsyncIterator[Connection]:
    """A plain connection to that database."""
    async with connected(url) as connection:
        yield connection


@pytest.fixture
async def store(url: str) -> AsyncIterator[Store]:
    """A store on that database."""
    async with open_store(url) as store:
        yield store


@pytest.fixture
async def fresh(postgres_server: PostgresServer) -> AsyncIterator[str]:
    """URL of a new database without tables."""
    async with database(postgres_server) as name:
        yield postgres_server.url(name)
