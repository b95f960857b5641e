"""The command `wnc-store migrate`, and the creation of the tables on first use."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from command_line import wnc_store
from postgres_database import PATIENT, TABLES, Connection, connected
from waiting import wait_until
from wnc_store import StoreSettings, StoreUnavailableError, open_store
from wnc_store_contract.factories import room
from wnc_store_postgres.schema import _MIGRATION_LOCK

_WAITING = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"


async def tables(plain: Connection) -> list[str]:
    """Return the tables of the schema `public`."""
    rows = await plain.fetch(
        "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'"
    )
    return sorted(row[0] for row in rows)


def test_migrate_creates_the_tables(fresh: str) -> None:
    """`migrate` creates the tables in an empty database, and changes nothing when it is run again."""
    first = wnc_store("migrate", fresh).stdout
    assert "public" in first
    assert wnc_store("migrate", fresh).stdout != first
    asyncio.run(_check_tables(fresh))


async def _check_tables(url: str) -> None:
    async with connected(url) as plain:
        assert await tables(plain) == sorted(TABLES)
        assert await plain.fetchval("SELECT version FROM wnc_store_meta") == 1


def test_migrate_creates_missing_functions(fresh: str) -> None:
    """`migrate` creates a function that is missing, and keeps the rows of the tables."""
    wnc_store("migrate", fresh)

    async def damage() -> None:
        async with open_store(fresh) as store:
            await store.rooms.create_room(room("A"))
        async with connected(fresh) as plain:
            await plain.execute("DROP FUNCTION wnc_store_trim_v1")

    async def check() -> None:
        async with open_store(fresh) as store:
            assert await store.rooms.room_exists("A")

    asyncio.run(damage())
    wnc_store("migrate", fresh)
    asyncio.run(check())


async def test_two_migrations_at_once(fresh: str) -> None:
    """Stores and `migrate` that create the tables at the same time succeed, and create them once."""
    stores = [open_store(fresh, settings=PATIENT) for _ in range(4)]
    try:
        await asyncio.gather(*(store.ping() for store in stores), asyncio.to_thread(wnc_store, "migrate", fresh))
    finally:
        for store in stores:
            await store.aclose()
    await _check_tables(fresh)


async def test_a_migration_waits_for_the_lock(fresh: str) -> None:
    """A store that creates the tables waits for another migration, and creates nothing if that takes too long."""
    settings = StoreSettings(operation_timeout=timedelta(milliseconds=500))
    async with connected(fresh) as plain:
        await plain.execute("SELECT pg_advisory_lock($1)", _MIGRATION_LOCK)
        async with open_store(fresh, settings=settings) as store:
            with pytest.raises(StoreUnavailableError):
                await store.rooms.create_room(room("A"))
        assert await tables(plain) == []
        async with open_store(fresh, settings=PATIENT) as store:
            creating = asyncio.ensure_future(store.rooms.create_room(room("A")))
            await wait_until(lambda: plain.fetchval(_WAITING))
            assert await tables(plain) == []
            await plain.execute("SELECT pg_advisory_unlock($1)", _MIGRATION_LOCK)
            await creating
        assert await tables(plain) == sorted(TABLES)


async def test_a_migration_that_fails_creates_nothing(fresh: str) -> None:
    """If one statement of the migration fails, no table remains."""
    async with connected(fresh) as plain:
        await plain.execute(
            "CREATE FUNCTION wnc_store_lock_v1(text, text, text) RETURNS int LANGUAGE sql AS 'SELECT 1'"
        )
        failed = await asyncio.to_thread(wnc_store, "migrate", fresh, code=1)
        assert "Traceback" not in failed.stderr
        assert await tables(plain) == []


def test_migrate_needs_a_database() -> None:
    """A URL without a database is refused."""
    assert "it has no database" in wnc_store("migrate", "postgresql://postgres@127.0.0.1:1", code=2).stderr
