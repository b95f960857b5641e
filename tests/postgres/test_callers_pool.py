"""A store on an `asyncpg.Pool` of the caller, which keeps its own session state."""

from __future__ import annotations

from typing import Any
from unittest.mock import Mock

import asyncpg
import pytest

from every_operation import refusals
from postgres_database import PATIENT, Connection
from wnc_store import ConfigurationError, Store, StoreUnavailableError
from wnc_store_contract.factories import room
from wnc_store_postgres import PostgresStore

_SESSION = """
SET search_path = public; SET statement_timeout = '7min'; SET application_name = 'theirs'; LISTEN theirs;
PREPARE theirs AS SELECT 1; CREATE TEMPORARY TABLE theirs (id int)
"""
_STATE = """
SELECT -- asyncpg itself sets jit while it looks up types
    (SELECT array_agg(format('%s=%s', name, setting) ORDER BY name) FROM pg_settings
        WHERE source = 'session' AND name <> 'jit'),
    ARRAY(SELECT pg_listening_channels()),
    ARRAY(SELECT name FROM pg_prepared_statements WHERE name NOT LIKE '\\_\\_asyncpg%'),
    ARRAY(SELECT relname::text FROM pg_class WHERE relnamespace = pg_my_temp_schema()),
    (SELECT count(*) FROM pg_locks WHERE pid = pg_backend_pid() AND locktype = 'advisory'),
    pg_backend_pid()
"""


class _Row(asyncpg.Record):
    """A class of rows of the caller."""


async def _customize(connection: Any) -> None:
    await connection.set_type_codec("uuid", encoder=str, decoder=str, schema="pg_catalog")
    await connection.execute(_SESSION)


async def test_a_pool_of_the_caller(url: str, plain: Connection) -> None:
    """A store on a pool of the caller uses its connections, and closing the store leaves the pool open."""
    async with asyncpg.create_pool(url, min_size=1, max_size=2) as pool:
        async with PostgresStore(pool) as store:
            await store.rooms.create_room(room("A"))
        assert await pool.fetchval("SELECT count(*) FROM wnc_store_rooms") == 1
        async with PostgresStore(pool) as store:
            assert await store.rooms.room_exists("A")
    assert await plain.fetchval("SELECT count(*) FROM wnc_store_rooms") == 1


@pytest.mark.parametrize("is_reset", [True, False], ids=["reset", "kept"])
async def test_the_session_of_the_caller_is_unchanged(
    url: str, is_reset: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every operation works on a pool with other settings, also if it resets sessions, and leaves no state."""
    if not is_reset:
        monkeypatch.setattr(asyncpg.Connection, "get_reset_query", Mock(return_value=""))
    settings = PATIENT.model_copy(update={"publish_changes": True})
    pool = await asyncpg.create_pool(
        url, min_size=1, max_size=1, record_class=_Row, init=_customize, statement_cache_size=5
    )
    async with pool:
        await pool.execute("SELECT")  # the first reset
        before = [tuple(row) for row in await pool.fetch(_STATE)]
        async with PostgresStore(pool, settings, listen_url=url) as store:
            assert await refusals(store) == []
        assert [tuple(row) for row in await pool.fetch(_STATE)] == before


async def test_a_refused_configuration_keeps_the_connection(url: str) -> None:
    """If the check of the server fails, the connection goes back to the pool and stays open."""
    settings = PATIENT.model_copy(update={"durability": "replicated"})
    async with asyncpg.create_pool(url, min_size=1, max_size=1) as pool:
        process = await pool.fetchval("SELECT pg_backend_pid()")
        async with PostgresStore(pool, settings) as store:
            with pytest.raises(ConfigurationError, match="synchronous_standby_names"):
                await store.ping()
        assert await pool.fetchval("SELECT pg_backend_pid()") == process


async def test_a_pool_that_is_not_open(url: str) -> None:
    """StoreUnavailableError names the state of a pool that the caller has not opened, or has closed."""
    pool = asyncpg.create_pool(url, min_size=1, max_size=1)
    store: Store = PostgresStore(pool)
    with pytest.raises(StoreUnavailableError, match="pool is not initialized"):
        await store.ping()
    async with pool:
        await store.rooms.create_room(room("A"))
    with pytest.raises(StoreUnavailableError, match="pool is closed"):
        await store.ping()
    await store.aclose()


def test_something_else_than_a_pool() -> None:
    """An object that is not a pool is rejected when the store is created, and the error names its type."""
    with pytest.raises(ConfigurationError, match="got object"):
        PostgresStore(object())
