"""Health and `wnc-store doctor` on Postgres."""

from __future__ import annotations

import json

import pytest

from command_line import wnc_store
from postgres_database import TABLES, connected
from postgres_server import PostgresServer, find_programs, version
from redis_server import free_port
from wnc_store import HealthReport, open_store


async def read_health(url: str) -> HealthReport:
    """Return the health of a store."""
    async with open_store(url) as store:
        return await store.health()


def status(health: HealthReport, name: str) -> str:
    """Return the status of a check."""
    (matching,) = [check for check in health.checks if check.name == name]
    return matching.status


async def test_a_server_is_reported(url: str) -> None:
    """The report contains the server's version and the round trip, and every check except durability is ok."""
    health = await read_health(url)
    assert health.ok
    assert health.server is not None
    assert str(health.server) == f"PostgreSQL {'.'.join(map(str, version(find_programs())))}"
    assert health.round_trip_ms is not None
    assert {check.name for check in health.checks if check.status != "ok"} == {"durability"}  # the tests run without it


@pytest.mark.parametrize(
    ("setting", "check", "expected"),
    [
        ("track_counts=off", "autovacuum", "error"),
        ("log_statement=all", "privacy", "warning"),
        ("log_transaction_sample_rate=0.1", "privacy", "warning"),
        ("log_min_duration_sample=100", "privacy", "warning"),
        ("log_statement=all&log_parameter_max_length=0", "privacy", "ok"),
        ("auto_explain.log_min_duration=100&auto_explain.log_parameter_max_length=-1", "privacy", "warning"),
    ],
)
async def test_settings_of_the_server(url: str, setting: str, check: str, expected: str) -> None:
    """Settings with which tables grow, or arguments are logged, are reported."""
    assert status(await read_health(f"{url}?{setting}"), check) == expected


@pytest.mark.parametrize(
    ("dropped", "named"),
    [
        (f"TABLE {', '.join(TABLES)}", "do not exist"),
        ("TABLE wnc_store_hits", "wnc_store_hits is missing"),
        ("FUNCTION wnc_store_fence_v1", "wnc_store_fence_v1 is missing"),
    ],
    ids=["all tables", "a table", "a function"],
)
async def test_what_was_dropped_is_reported(fresh: str, dropped: str, named: str) -> None:
    """Health of an open store reports tables and functions that were dropped, and does not create them."""
    async with open_store(fresh) as store, connected(fresh) as plain:
        await store.ping()
        await plain.execute(f"DROP {dropped} CASCADE")
        for _ in range(2):
            assert named in next(check.detail for check in (await store.health()).checks if check.name == "schema")


async def test_an_unreachable_server_is_reported() -> None:
    """Health reports an unreachable server with host and port instead of raising."""
    port = free_port()
    health = await read_health(f"postgresql://postgres@127.0.0.1:{port}/party")
    assert not health.ok
    assert health.round_trip_ms is None
    assert str(port) in health.checks[0].detail


def test_doctor(postgres_server: PostgresServer, shared: str) -> None:
    """`wnc-store doctor` prints the server and the checks, and exits 0; 3 without a server."""
    shown = wnc_store("doctor", postgres_server.url(shared)).stdout
    assert "PostgresStore on PostgreSQL" in shown
    report = json.loads(wnc_store("doctor", postgres_server.url(shared), "--json").stdout)
    assert {check["name"] for check in report["checks"]} >= {
        "ping",
        "schema",
        "durability",
        "autovacuum",
        "connections",
    }
    wnc_store("doctor", f"postgresql://postgres@127.0.0.1:{free_port()}/party", code=3)
