"""URLs, servers and tables that cannot be used: errors that say what to do, before anything is written."""

from __future__ import annotations

import re
from datetime import timedelta
from unittest.mock import Mock, patch

import asyncpg
import pytest
from asyncpg.types import ServerVersion

from postgres_database import Connection, connected, create_tables, database
from postgres_server import PostgresServer
from wnc_store import ConfigurationError, StoreSettings, StoreUnavailableError, open_store
from wnc_store_contract.factories import room
from wnc_store_postgres import PostgresStore

_OBJECTS = """
SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace
"""


async def refused(url: str) -> str:
    """Return the message of the error of a store at a URL."""
    with pytest.raises(ConfigurationError) as caught:
        async with open_store(url) as store:
            await store.rooms.create_room(room("A"))
    return str(caught.value)


@pytest.mark.parametrize("path", ["", "/", "/?sslmode=disable"])
async def test_a_url_without_a_database(path: str) -> None:
    """A URL without a database is rejected when the store is created, and the error shows a complete URL."""
    with pytest.raises(ConfigurationError, match=r"it has no database; .*postgresql://user:password@host"):
        open_store(f"postgresql://postgres@127.0.0.1:1{path}")


async def test_an_unknown_database(postgres_server: PostgresServer) -> None:
    """A database that does not exist is rejected, and the error says to create it."""
    assert "create it" in await refused(postgres_server.url("nothing"))


@pytest.mark.parametrize("option", ["colour=red", "statement_timeout=soon", "max_connections=5"])
async def test_an_invalid_option(postgres_server: PostgresServer, option: str) -> None:
    """An option of the URL that the server does not know, or whose value it rejects, fails at once."""
    url = f"{postgres_server.url()}?{option}"
    assert re.search("options? of the URL", await refused(url))
    async with open_store(url) as store:
        with pytest.raises(ConfigurationError):
            async with store.events.subscribe("A"):
                pass


async def test_a_server_that_is_too_old(fresh: str) -> None:
    """A server older than 13 is rejected, and the error names both versions."""
    old = ServerVersion(12, 22, 0, "final", 0)
    with patch.object(asyncpg.Connection, "get_server_version", Mock(return_value=old)):
        message = await refused(fresh)
    assert "version 12.22" in message
    assert "13 or newer" in message
    await _check_empty(fresh)


@pytest.mark.parametrize("encoding", ["LATIN1", "SQL_ASCII"])
async def test_another_encoding(postgres_server: PostgresServer, encoding: str) -> None:
    """A database whose encoding is not UTF-8 is rejected, and the error says what to do."""
    async with database(postgres_server, f"ENCODING '{encoding}' TEMPLATE template0") as name:
        message = await refused(postgres_server.url(name))
        assert f"has the encoding {encoding}; create one with ENCODING 'UTF8'" in message
        await _check_empty(postgres_server.url(name))


@pytest.mark.parametrize("table", ["wnc_store_meta", "wnc_store_rooms"])
async def test_a_table_that_is_not_ours(fresh: str, table: str) -> None:
    """A table with one of the names that another program has created is rejected and stays unchanged."""
    async with connected(fresh) as plain:
        await plain.execute(f"CREATE TABLE {table} AS SELECT 'theirs' AS room_id")
        message = await refused(fresh)
        assert f"public.{table} exists and was not created by wnc-store" in message
        assert "search_path" in message
        assert await plain.fetchval(f"SELECT room_id FROM {table}") == "theirs"  # noqa: S608
        assert await plain.fetchval(_OBJECTS) == 1


async def test_a_view_that_is_not_ours(fresh: str) -> None:
    """A view with the name of a table is rejected."""
    async with connected(fresh) as plain:
        await plain.execute("CREATE VIEW wnc_store_rooms AS SELECT 1 AS room_id")
        assert "public.wnc_store_rooms exists" in await refused(fresh)


@pytest.mark.parametrize(("found", "remedy"), [(0, "wnc-store migrate"), (99, "update wnc-store")])
async def test_another_version_of_the_tables(fresh: str, found: int, remedy: str) -> None:
    """Tables of another version are rejected; the error names both versions and what to do."""
    await create_tables(fresh)
    async with connected(fresh) as plain:
        await plain.execute("UPDATE wnc_store_meta SET version = $1", found)
        message = await refused(fresh)
        assert f"have version {found}, and this wnc-store expects version 1" in message
        assert remedy in message
        assert await plain.fetchval("SELECT count(*) FROM wnc_store_rooms") == 0


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ("ALTER TABLE wnc_store_hits DROP COLUMN count", "public.wnc_store_hits is missing or has other columns"),
        ("DROP TABLE wnc_store_leases", "public.wnc_store_leases is missing"),
        ("DROP FUNCTION wnc_store_trim_v1", "function public.wnc_store_trim_v1 is missing"),
    ],
)
async def test_damaged_tables(fresh: str, change: str, found: str) -> None:
    """A missing table, column or function is an error that names it."""
    await create_tables(fresh)
    async with connected(fresh) as plain:
        await plain.execute(change)
        assert found in await refused(fresh)


async def test_another_schema(fresh: str) -> None:
    """With ?search_path, the tables are created in that schema, also if its name needs quotes."""
    async with connected(fresh) as plain:
        await plain.execute('CREATE SCHEMA "Watch party"')
        async with open_store(f"{fresh}?search_path=%22Watch%20party%22") as store:
            await store.rooms.create_room(room("A"))
            assert await store.rooms.room_exists("A")
        assert await plain.fetchval('SELECT room_id FROM "Watch party".wnc_store_rooms') == "A"
        assert await plain.fetchval(_OBJECTS) == 0


async def test_no_schema(fresh: str) -> None:
    """A search path whose schemas do not exist is rejected, and the error names the option."""
    assert "search_path" in await refused(f"{fresh}?search_path=nowhere")


async def test_tables_that_are_dropped_under_a_store(url: str, plain: Connection) -> None:
    """A store whose tables another program drops reports the missing tables, and creates no others by itself."""
    async with open_store(url) as store:
        await store.rooms.create_room(room("A"))
        async with plain.transaction():
            await plain.execute("ALTER TABLE wnc_store_rooms RENAME TO gone")
        try:
            with pytest.raises(ConfigurationError, match="wnc_store_rooms is missing"):
                await store.rooms.create_room(room("B"))
        finally:
            await plain.execute("ALTER TABLE gone RENAME TO wnc_store_rooms")
        await store.rooms.create_room(room("B"))


async def test_a_read_only_server(url: str) -> None:
    """A write to a database that is read-only raises StoreUnavailableError that names the setting. Reads work."""
    async with open_store(f"{url}?default_transaction_read_only=on") as store:
        with pytest.raises(StoreUnavailableError, match="default_transaction_read_only") as caught:
            await store.rooms.create_room(room("A"))
        assert "standby" not in str(caught.value)
        assert not await store.rooms.room_exists("A")


async def test_a_server_that_became_a_standby(fresh: str) -> None:
    """If a server refuses a write as a standby, the error names this cause, and the connection is not kept."""
    await create_tables(fresh)
    options = "search_path=public,pg_catalog&default_transaction_read_only=on"
    async with connected(fresh) as plain, PostgresStore.from_url(f"{fresh}?{options}") as store:
        await store.ping()
        await plain.execute("CREATE FUNCTION public.pg_is_in_recovery() RETURNS bool LANGUAGE sql AS 'SELECT true'")
        with pytest.raises(StoreUnavailableError, match="is a standby"):
            await store.rooms.create_room(room("A"))
        await plain.execute("DROP FUNCTION public.pg_is_in_recovery()")
        await store.ping()
        assert store.statistics()["connections"] == 2


async def _check_empty(url: str) -> None:
    async with connected(url) as plain:
        assert await plain.fetchval(_OBJECTS) == 0


async def test_a_deadline_beyond_the_limit_of_the_server(url: str) -> None:
    """A store with a longer `operation_timeout` than the server's longest time-out of a statement works."""
    async with open_store(url, settings=StoreSettings(operation_timeout=timedelta(days=365))) as store:
        await store.rooms.create_room(room("A"))
