"""The complete benchmark, with all parts and contenders, including Node."""

from __future__ import annotations

import re
from statistics import median

import pytest

from bench_run import PAGE, Smoke, check_contender, check_left_behind, smoke
from redis_server import RedisServer
from wnc_store_bench.contenders import CONTENDERS, IOREDIS, IOREDIS_AUTO, LOCK, WATCH, Contender
from wnc_store_bench.load import OPERATIONS
from wnc_store_bench.report import NOT_MEASURED, fill, tables
from wnc_store_bench.results import Tables

pytestmark = pytest.mark.timeout(600)  # a complete run takes 40 s on an idle machine


@pytest.fixture(scope="module", name="whole")
def _whole(redis_server: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> Smoke:
    """A quick run of all parts, on database 7."""
    return smoke(redis_server.url.replace("/0", "/7"), tmp_path_factory.mktemp("bench"))


def test_every_part_is_measured(whole: Smoke) -> None:
    """A complete run has rows in every table, notes nothing missing and leaves no keys."""
    assert whole.run.notes == []
    assert {name for name in Tables.model_fields if not getattr(whole.run.tables, name)} == set()
    check_left_behind(whole)


def test_every_contender_runs_its_operations(whole: Smoke) -> None:
    """Each contender has a row without errors for each of its operations."""
    rows = whole.run.tables.throughput
    wanted = {(one.name, operation) for one in CONTENDERS.values() for operation in one.operations}
    assert {(row.contender, row.operation) for row in rows} == wanted
    assert [row for row in rows if row.errors] == []


def test_the_server_counts_the_traffic(whole: Smoke) -> None:
    """The server's counts are per operation: a read of a room of five users sends little more than that room."""
    read = [row for row in whole.run.tables.throughput if row.operation == "get_room"]
    assert 600 < median(row.bytes_out for row in read) < 3000
    assert all(row.server_cpu_us >= 0 for row in read)


def test_contenders_keep_what_they_claim(whole: Smoke) -> None:
    """A contender that claims to lose no concurrent join loses none, from one process and from several."""
    rows = [row for row in whole.run.tables.contention if CONTENDERS[row.contender].keeps_all]
    assert {row.processes for row in rows} == {1, 2}
    assert [row for row in rows if row.finished and not row.errors and row.kept != row.joins] == []


def test_the_limit_does_the_same_work(whole: Smoke) -> None:
    """The commands of a join and a message that redis-benchmark repeats write to the server."""
    assert {row.operation: row.same_work for row in whole.run.tables.limit} == dict.fromkeys(OPERATIONS, True)


def test_listing_and_sweeping_are_complete(whole: Smoke) -> None:
    """The pass over the index finds the one living room in a hundred and removes the others."""
    found = {row.operation: row.found for row in whole.run.tables.listing}
    assert found == {"active_room_ids": 50, "sweep_active_rooms": 4950}


def test_goals_are_shown_with_the_results(whole: Smoke) -> None:
    """Each goal is printed with a verdict, and a missed goal is not a failure."""
    names = " ".join(goal.name for goal in whole.run.goals)
    wanted = [f"{operation}: {figure} against" for operation in OPERATIONS for figure in ("ops/s", "p99", "server CPU")]
    wanted += ["WATCH/MULTI", "commits", "one plain GET", "round trips", "fastest library", "slowest concurrent ping"]
    assert [name for name in wanted if name not in names] == []
    assert "not met" in whole.printed


def test_the_page_is_filled_from_the_run(whole: Smoke) -> None:
    """Every table on the performance page is filled from a run, and nothing else on the page changes."""
    filled = fill(PAGE, whole.run)
    assert NOT_MEASURED not in filled
    assert set(re.findall(r"<!-- bench:([a-z-]+) -->", PAGE)) <= {table.name for table in tables(whole.run)}
    assert re.sub(r"^\|.*\n|^\n", "", filled, flags=re.MULTILINE) == re.sub(
        r"^\|.*\n|^\n|^Not part of .*\n", "", PAGE, flags=re.MULTILINE
    )


@pytest.mark.parametrize("contender", [WATCH, LOCK, IOREDIS, IOREDIS_AUTO], ids=lambda contender: contender.name)
async def test_contenders_do_the_same(contender: Contender, redis_server: RedisServer) -> None:
    """After a load, a contender leaves the same data as the store."""
    await check_contender(contender, redis_server.url.replace("/0", "/8"))
