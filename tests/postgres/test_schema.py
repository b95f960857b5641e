"""Creating and checking the tables."""

from __future__ import annotations

import asyncio
import hashlib
from datetime import timedelta

import pytest
from typer import Typer
from typer.testing import CliRunner

from postgres_database import connected
from proxy import proxy_to
from wnc_store import ConfigurationError, StoreSettings, StoreUnavailableError, open_store
from wnc_store_contract.factories import room
from wnc_store_postgres import schema
from wnc_store_postgres.migration import migrate, migrate_database

app = Typer()
app.command()(migrate)


def test_another_schema_has_another_version() -> None:
    """The SQL of version 1 never changes: databases that have it keep the functions that they have."""
    text = schema.read_sql("tables.sql") + schema.read_sql("functions.sql")
    assert (schema.VERSION, hashlib.sha256(text.encode()).hexdigest()) == (1, schema.CHECKSUM), (
        "raise VERSION, write the step from the previous version, and update CHECKSUM"
    )


async def test_stores_that_start_together_create_the_tables_once(fresh: str) -> None:
    """Of several stores that use an empty database first, one creates the tables, and all work."""
    stores = [open_store(fresh) for _ in range(8)]
    await asyncio.gather(*(store.rooms.create_room(room(f"R{i}")) for i, store in enumerate(stores)))
    async with connected(fresh) as plain:
        assert await plain.fetchval("SELECT count(*) FROM wnc_store_rooms") == 8
        assert await plain.fetchval("SELECT count(*) FROM wnc_store_meta") == 1
    for store in stores:
        await store.aclose()


async def test_a_migration_that_hangs(fresh: str) -> None:
    """While another session holds the lock of migrations, a store and a migration give up in time and write nothing."""
    async with connected(fresh) as plain, plain.transaction():
        await plain.execute("SELECT pg_advisory_xact_lock(7631001)")
        async with open_store(fresh, settings=StoreSettings(operation_timeout="0.5")) as store:  # pyright: ignore[reportArgumentType]
            with pytest.raises(StoreUnavailableError):
                await store.rooms.create_room(room("A"))
        async with connected(fresh) as other:
            with pytest.raises(StoreUnavailableError, match="another migration holds the lock"):
                await schema.migrate(other, asyncio.get_running_loop().time() + 0.5)
        assert await plain.fetchval("SELECT to_regclass('wnc_store_meta')") is None
    await migrate_database(fresh, 60)


async def test_a_server_that_becomes_silent_during_a_migration(fresh: str) -> None:
    """If the server becomes silent while tables are created, the call and the command end at their deadlines."""
    port = int(fresh.rpartition("/")[0].rpartition(":")[2])
    async with proxy_to(port) as proxied, connected(fresh) as plain, asyncio.timeout(60), plain.transaction():

        async def is_waiting() -> bool:
            return await plain.fetchval("SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted)")

        await plain.execute("SELECT pg_advisory_xact_lock(7631001)")
        url = f"{fresh.replace(f':{port}/', f':{proxied.port}/')}?sslmode=disable"
        async with open_store(url, settings=StoreSettings(operation_timeout=timedelta(seconds=3))) as store:
            for migration in (store.ping(), migrate_database(url, 3)):
                task = asyncio.ensure_future(migration)
                while not (task.done() or await is_waiting()):  # noqa: ASYNC110 - the server has no event
                    await asyncio.sleep(0.01)
                proxied.close_hole()
                with pytest.raises(StoreUnavailableError):
                    await task
                proxied.cut_all()
                proxied.open_hole()


async def test_the_command_creates_the_tables_once(fresh: str) -> None:
    """`wnc-store migrate` creates the tables. A second run reports that they are up to date."""
    for expected in ("created version 1", "up to date: version 1"):
        result = await asyncio.to_thread(CliRunner().invoke, app, [fresh])
        assert (result.exit_code, expected in result.output) == (0, True), result.output


async def test_the_command_repairs_functions(fresh: str) -> None:
    """`wnc-store migrate` creates functions that are missing and keeps the data."""
    async with open_store(fresh) as store, connected(fresh) as plain:
        await store.rooms.create_room(room("A"))
        await plain.execute("DROP FUNCTION wnc_store_create_v1")
        with pytest.raises(ConfigurationError, match="wnc_store_create_v1 is missing"):
            await store.rooms.create_room(room("B"))
        assert await migrate_database(fresh, 60) == ("public", True)
        await store.rooms.create_room(room("B"))
        assert await store.rooms.room_exists("A")


async def test_tables_that_are_created_again_under_a_store(fresh: str) -> None:
    """A running store creates the tables again after all of them were dropped, as on its first use."""
    async with open_store(fresh) as store, connected(fresh) as plain:
        await store.rooms.create_room(room("A"))
        await store.chat.clear_messages("A")
        await plain.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
        assert await store.rooms.get_room("A") is None
        await store.rooms.create_room(room("A"))
        assert await plain.fetchval("SELECT count(*) FROM wnc_store_rooms") == 1


@pytest.mark.parametrize(
    ("url", "code", "expected"),
    [
        ("postgresql://user:SECRET@127.0.0.1:1", 2, "it has no database"),
        ("postgresql://user:SECRET@127.0.0.1:1/app", 3, "cannot be reached"),
    ],
)
def test_the_command_reports_errors(url: str, code: int, expected: str) -> None:
    """Errors of `wnc-store migrate` set the exit code, and do not contain the password."""
    result = CliRunner().invoke(app, [url])
    assert (result.exit_code, expected in result.output) == (code, True)
    assert "SECRET" not in result.output
