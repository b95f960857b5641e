"""The benchmark with all of its parts and all whom it compares, Node among them."""

from __future__ import annotations

import re
from statistics import median

import pytest

from bench_run import PAGE, Smoke, bench_as_a_program, check_contender, check_left_behind, smoke
from redis_server import RedisServer
from wnc_store_bench.contenders import CONTENDERS, IOREDIS, IOREDIS_AUTO, LOCK, WATCH, Contender
from wnc_store_bench.load import OPERATIONS
from wnc_store_bench.report import NOT_MEASURED, fill, tables
from wnc_store_bench.results import Tables

pytestmark = pytest.mark.timeout(600)  # a run over everything takes 40 s on a quiet machine


@pytest.fixture(scope="module", name="whole")
def _whole(redis_server: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> Smoke:
    """A quick run over everything, on database 7."""
    return smoke(redis_server.url.replace("/0", "/7"), tmp_path_factory.mktemp("bench"))


def test_every_part_is_measured(whole: Smoke) -> None:
    """A run over everything has rows in every table, notes nothing that is missing, and leaves nothing behind."""
    assert whole.run.notes == []
    assert {name for name in Tables.model_fields if not getattr(whole.run.tables, name)} == set()
    check_left_behind(whole)


def test_every_contender_does_what_it_can(whole: Smoke) -> None:
    """Each contender has a row for each operation that it can do, without an error."""
    rows = whole.run.tables.throughput
    wanted = {(one.name, operation) for one in CONTENDERS.values() for operation in one.operations}
    assert {(row.contender, row.operation) for row in rows} == wanted
    assert [row for row in rows if row.errors] == []


def test_the_server_counts_what_arrives(whole: Smoke) -> None:
    """The server's counts are per operation: one that reads a room of five users sends that room, and little else."""
    read = [row for row in whole.run.tables.throughput if row.operation == "get_room"]
    assert 600 < median(row.bytes_out for row in read) < 3000
    assert all(row.server_cpu_us >= 0 for row in read)


def test_who_claims_to_keep_all_does(whole: Smoke) -> None:
    """No contender that claims to lose no join of a crowd loses one, from one process and from several."""
    rows = [row for row in whole.run.tables.crowd if CONTENDERS[row.contender].keeps_all]
    assert {row.processes for row in rows} == {1, 2}
    assert [row for row in rows if row.finished and not row.errors and row.kept != row.joins] == []


def test_the_limit_is_of_the_same_work(whole: Smoke) -> None:
    """What redis-benchmark repeats of a join and of a message really writes."""
    assert {row.operation: row.same_work for row in whole.run.tables.limit} == dict.fromkeys(OPERATIONS, True)


def test_listing_and_sweeping_are_whole(whole: Smoke) -> None:
    """The pass over the index finds the one in a hundred that lives, and sweeps the others."""
    found = {row.operation: row.found for row in whole.run.tables.listing}
    assert found == {"active_room_ids": 50, "sweep_active_rooms": 4950}


def test_targets_are_shown_beside_what_was_measured(whole: Smoke) -> None:
    """Each target is printed with a verdict, and a target that is not met is no failure."""
    names = " ".join(target.name for target in whole.run.targets)
    for operation in OPERATIONS:
        for against in ("redis-py", "ioredis"):
            assert re.search(rf"{operation}: ops/s against the original's steps on {against}", names)
            assert re.search(rf"{operation}: p99 against {against}", names)
            assert re.search(rf"{operation}: server CPU against {against}", names)
    for name in ("WATCH/MULTI", "commits", "one bare GET", "round trips", "fastest library", "worst ping"):
        assert name in names
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
    """A contender leaves after the load what the store leaves."""
    await check_contender(contender, redis_server.url.replace("/0", "/8"))


def test_memory_alone_needs_no_server() -> None:
    """The parts that are in memory run without a server."""
    assert "In memory, one caller" in bench_as_a_program("redis://127.0.0.1:1/0", "--quick", "--only", "memory")
