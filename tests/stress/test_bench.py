"""The complete benchmark, with all parts and contenders, including Node."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from bench_run import Smoke, check_contender, check_left_behind, smoke
from redis_server import RedisServer
from wnc_store_bench.contenders import CONTENDERS, IOREDIS, IOREDIS_AUTO, Contender
from wnc_store_bench.load import OPERATIONS
from wnc_store_bench.report import fill, tables
from wnc_store_bench.results import Tables

PAGE = (Path(__file__).resolve().parents[2] / "docs/performance.md").read_text()

pytestmark = [pytest.mark.exhaustive, pytest.mark.timeout(600)]  # a complete run takes 40 s on an idle machine


@pytest.fixture(scope="module", name="whole")
def _whole(redis_server: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> Smoke:
    """A quick run of all parts, on database 7."""
    return smoke(redis_server.url.replace("/0", "/7"), tmp_path_factory.mktemp("bench"))


def test_every_part_is_measured(whole: Smoke) -> None:
    """A complete run has rows in every table, notes nothing missing but Postgres and leaves no keys."""
    assert [note for note in whole.run.notes if not re.search("--enable-optimizations|--postgres", note)] == []
    assert {name for name in Tables.model_fields if not getattr(whole.run.tables, name)} == set()
    check_left_behind(whole)


def test_every_contender_runs_every_operation(whole: Smoke) -> None:
    """Each contender has a row without errors for each operation, under load and of one caller."""
    wanted = {(name, operation) for name in CONTENDERS for operation in OPERATIONS}
    for rows in (whole.run.tables.throughput, whole.run.tables.single_client):
        assert {(row.contender, row.operation) for row in rows} == wanted
        assert [row for row in rows if row.errors] == []
        assert all(row.server_cpu_us >= 0 and row.reads > 0 for row in rows)


def test_the_store_keeps_all_joins(whole: Smoke) -> None:
    """The store loses no concurrent join, from one process and from several, with and without group commit."""
    rows = [row for row in whole.run.tables.contention if row.contender == "wnc-store"]
    assert {row.processes for row in rows} == {1, 2}
    assert [row for row in [*rows, *whole.run.tables.group_commit] if row.errors or row.kept != row.joins] == []


def test_round_trips_are_counted(whole: Smoke) -> None:
    """Of one caller, the server's reads per operation are its round trips: one of the store, and three of a message."""
    trips = {(row.contender, row.operation): row.reads for row in whole.run.tables.single_client}
    assert trips["wnc-store", "add_message"] == pytest.approx(1)
    assert trips["redis-py", "add_message"] == pytest.approx(3)


def test_group_commit_saves_scripts(whole: Smoke) -> None:
    """Without group commit, concurrent joins of a room take more scripts."""
    scripts = {row.contender: row.scripts for row in whole.run.tables.group_commit}
    assert scripts["unchanged"] < scripts["without group commit"]


def test_the_page_is_filled_from_the_run(whole: Smoke) -> None:
    """Every table on the performance page is filled from a run, and nothing else on the page changes."""
    filled = fill(PAGE, whole.run)
    assert set(re.findall(r"<!-- bench:(\w+) -->", PAGE)) <= {table.name for table in tables(whole.run)}
    assert re.sub(r"^\|.*\n|^\n", "", filled, flags=re.MULTILINE) == re.sub(
        r"^\|.*\n|^\n", "", PAGE, flags=re.MULTILINE
    )


@pytest.mark.parametrize("contender", [IOREDIS, IOREDIS_AUTO], ids=lambda contender: contender.name)
async def test_contenders_do_the_same(contender: Contender, redis_server: RedisServer) -> None:
    """After a load, a contender leaves the same data as the store."""
    await check_contender(contender, redis_server.url.replace("/0", "/8"))
