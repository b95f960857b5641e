"""The rights of docs/postgres-role.md are sufficient for the store, and each is required."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from typing import NamedTuple

import pytest

from every_operation import refusals
from postgres_database import PATIENT, TABLES, connected, create_tables, database
from postgres_server import PostgresServer
from processes import ROOT
from wnc_store import ConfigurationError, open_store
from wnc_store_contract.factories import room

(_SQL,) = re.findall(r"```sql\n(.+?)```", (ROOT / "docs/postgres-role.md").read_text(), re.DOTALL)
_CREATE, *_GRANTS = [statement.strip() for statement in _SQL.split(";") if statement.strip()]
_ROLE = "wnc_store"
_RIGHTS = [
    (right.strip(), table.strip())
    for grant in _GRANTS
    for rights, tables in re.findall(r"^GRANT (.+?) ON (wnc_.+?) TO", grant, re.DOTALL)
    for right in rights.split(",")
    for table in tables.split(",")
]


class _Database(NamedTuple):
    """A database with tables, and the documented role."""

    owner_url: str
    role_url: str


@pytest.fixture
async def granted(postgres_server: PostgresServer) -> AsyncIterator[_Database]:
    """A database whose default rights were revoked, so that the role has only the documented ones."""
    async with database(postgres_server) as name:
        owner_url = postgres_server.url(name)
        await create_tables(owner_url)
        async with connected(owner_url) as owner:
            await owner.execute(f"REVOKE ALL ON SCHEMA public FROM PUBLIC; {_SQL}")
            yield _Database(owner_url, postgres_server.url(name, _ROLE))
            await owner.execute(f"DROP OWNED BY {_ROLE}; DROP ROLE {_ROLE}")


def test_the_page_grants_rights_on_every_table() -> None:
    """The page grants rights on each table of the store, and none twice."""
    assert sorted(set(_RIGHTS)) == sorted(_RIGHTS)
    assert {table for _, table in _RIGHTS} == set(TABLES)
    assert f"CREATE ROLE {_ROLE} LOGIN PASSWORD 'PASSWORD'" == _CREATE


async def test_health_counts_the_connections_of_other_roles(granted: _Database) -> None:
    """The number of connections in use includes those of other roles, about which the role may not read more."""
    async with open_store(granted.role_url, settings=PATIENT) as store:
        (check,) = [check for check in (await store.health()).checks if check.name == "connections"]
    own = 1
    assert int(check.detail.split()[0]) > own


async def test_the_rights_are_sufficient(granted: _Database) -> None:
    """Every operation works for the documented role, with events."""
    async with open_store(granted.role_url, settings=PATIENT.model_copy(update={"publish_changes": True})) as store:
        assert await refusals(store) == []


async def test_health_of_the_role(granted: _Database) -> None:
    """Health is ok for the documented role."""
    async with open_store(granted.role_url) as store:
        report = await store.health()
    assert report.ok, report.checks


async def test_health_notices_a_right_that_was_revoked(granted: _Database) -> None:
    """Health of an open store is not ok after the role has lost a right, and ok after it has regained it."""
    async with connected(granted.owner_url) as owner, open_store(granted.role_url) as store:
        await store.ping()
        await owner.execute(f"REVOKE INSERT ON wnc_store_hits FROM {_ROLE}")
        for _ in range(2):
            report = await store.health()
            (check,) = [check for check in report.checks if check.name == "schema"]
            assert (report.ok, check.status) == (False, "error")
            assert "wnc_store_hits" in check.detail
            assert await store.rooms.get_room("A") is None  # what the role may do still works
        await owner.execute(f"GRANT INSERT ON wnc_store_hits TO {_ROLE}")
        assert (await store.health()).ok


@pytest.mark.parametrize("limited", ["DATABASE", "ROLE"])
async def test_health_compares_each_limit_of_connections(granted: _Database, limited: str) -> None:
    """A store that uses most connections of its database or role gets a warning, which names the limit."""
    async with connected(granted.owner_url) as owner, open_store(granted.role_url) as store:
        await store.ping()
        name = await owner.fetchval("SELECT current_database()") if limited == "DATABASE" else _ROLE
        await owner.execute(f"ALTER {limited} {name} CONNECTION LIMIT 1")
        (check,) = [check for check in (await store.health()).checks if check.name == "connections"]
    async with open_store(granted.owner_url) as store:  # superusers are not limited
        (unlimited,) = [check for check in (await store.health()).checks if check.name == "connections"]
    assert (check.status, unlimited.status) == ("warning", "ok")
    assert f"of 1 connections of the {limited.lower()} are in use" in check.detail
    assert check.hint is not None
    assert "CONNECTION LIMIT" in check.hint


async def test_each_right_is_required(granted: _Database) -> None:
    """Without one of the rights on a table, a store raises ConfigurationError that names both, and writes nothing."""
    async with connected(granted.owner_url) as owner:
        for right, table in _RIGHTS:
            await owner.execute(f"REVOKE {right} ON {table} FROM {_ROLE}")
            message = await _refused(granted.role_url)
            assert right in message
            assert table in message
            assert "docs/postgres-role.md" in message
            await owner.execute(f"GRANT {right} ON {table} TO {_ROLE}")
        assert await owner.fetchval("SELECT count(*) FROM wnc_store_rooms") == 0


async def test_a_function_must_be_executable(granted: _Database) -> None:
    """Without EXECUTE on a function, the error names the right and the function."""
    async with connected(granted.owner_url) as owner:
        await owner.execute("REVOKE EXECUTE ON FUNCTION wnc_store_hit_v1 FROM PUBLIC")
        message = await _refused(granted.role_url)
    assert "EXECUTE on the function wnc_store_hit_v1" in message


async def test_the_schema_must_be_usable(granted: _Database) -> None:
    """Without USAGE on the schema, the error names the schemas of the search path."""
    async with connected(granted.owner_url) as owner:
        await owner.execute(f"REVOKE USAGE ON SCHEMA public FROM {_ROLE}")
        assert "search_path" in await _refused(granted.role_url)


async def test_a_role_that_must_not_create_tables(postgres_server: PostgresServer) -> None:
    """In a database without tables, the error for a role without CREATE names `wnc-store migrate` and the role."""
    async with database(postgres_server) as name, connected(postgres_server.url(name)) as owner:
        await owner.execute("REVOKE CREATE ON SCHEMA public FROM PUBLIC; CREATE ROLE poor LOGIN")
        try:
            message = await _refused(postgres_server.url(name, "poor"))
        finally:
            await owner.execute("DROP ROLE poor")
        assert "wnc-store migrate" in message
        assert "'poor'" in message
        assert await owner.fetchval("SELECT to_regclass('wnc_store_meta')") is None


async def _refused(url: str) -> str:
    with pytest.raises(ConfigurationError) as caught:
        async with open_store(url) as store:
            await store.rooms.create_room(room("A"))
    return str(caught.value)
