"""The benchmark: that all of it runs, measures what it says, and leaves a server as it was. How fast is not tested."""

from __future__ import annotations

import asyncio
import json
import os
import re
import socket
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

import pytest
from typer.testing import CliRunner, Result

from redis_server import RedisServer
from wnc_store import ConfigurationError, StoreError, StoreSettings, open_store
from wnc_store.cli import output
from wnc_store.cli.app import app
from wnc_store_bench import Options
from wnc_store_bench import Result as Run
from wnc_store_bench import run as measure_all
from wnc_store_bench.contenders import CONTENDERS, IOREDIS, IOREDIS_AUTO, LOCK, ORIGINAL, WATCH, WNC, Contender
from wnc_store_bench.load import OPERATIONS, Load, percentile
from wnc_store_bench.options import PARTS, chosen_contenders, chosen_parts
from wnc_store_bench.records import room_ids, user_id
from wnc_store_bench.report import NOT_MEASURED, fill, main, tables
from wnc_store_bench.results import CrowdRow, LonelyRow, Tables
from wnc_store_bench.server import Place, own_keys, plain_client, read_server
from wnc_store_bench.spread import Spread, figure, ratios, spread
from wnc_store_bench.targets import judge

ROOT = Path(__file__).resolve().parents[2]
SECRET = "SECRET-9f1c"

pytestmark = pytest.mark.timeout(300)  # a quick run over everything takes 15 s, and much longer among other tests

FOREIGN = {"wnc-bench-0123456789ab:room:A": "of another run", "room:R000000": "somebody's", "active-rooms": "likewise"}
SMALL = Load(callers=4, rooms=6)
ENOUGH = 600
"""Operations after which each of six rooms was chosen more than 20 times."""

WRITES_WIRE = [WNC, ORIGINAL, WATCH, LOCK, IOREDIS, IOREDIS_AUTO]


def bench(*arguments: str, code: int = 0) -> Result:
    """Run the benchmark's command in this process."""
    result = CliRunner().invoke(app, ["bench", *arguments])
    assert result.exit_code == code, (result.output, result.exception)
    return result


def bench_as_a_program(*arguments: str) -> str:
    """Run the benchmark's command in a process of its own, where warnings of other libraries are none of ours."""
    command = [sys.executable, "-c", "from wnc_store.cli import main; main()", "bench", *arguments]
    wide = {**os.environ, "COLUMNS": "200"}
    done = subprocess.run(command, env=wide, capture_output=True, text=True, timeout=280, check=False)  # noqa: S603
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@dataclass(frozen=True)
class Smoke:
    """A quick run over everything, and what it left on the server."""

    run: Run
    printed: str
    chart: bytes
    left: dict[str, str]


@pytest.fixture(scope="module")
def smoke(redis_server: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> Smoke:
    """Run all of it on database 7, which holds keys of others."""
    url = redis_server.url.replace("/0", "/7")
    folder = tmp_path_factory.mktemp("bench")

    async def fill_server() -> None:
        async with plain_client(url) as client:
            await client.flushdb()
            await client.mset(FOREIGN)

    async def all_keys() -> dict[str, str]:
        async with plain_client(url, decode_responses=True) as client:
            found = {key: await client.get(key) async for key in client.scan_iter()}
            await client.flushdb()
        return found

    asyncio.run(fill_server())
    files = ["--json", str(folder / "run.json"), "--chart", str(folder / "chart.png")]
    printed = bench_as_a_program(url, "--quick", *files)
    run = Run.model_validate_json((folder / "run.json").read_text())
    return Smoke(run, printed, (folder / "chart.png").read_bytes(), asyncio.run(all_keys()))


def test_every_part_is_measured(smoke: Smoke) -> None:
    """A run over everything has rows in every table, and notes nothing that is missing."""
    assert smoke.run.notes == []
    assert {name for name in Tables.model_fields if not getattr(smoke.run.tables, name)} == set()


def test_every_contender_does_what_it_can(smoke: Smoke) -> None:
    """Each contender has a row for each operation that it can do, without an error."""
    rows = smoke.run.tables.throughput
    wanted = {(one.name, operation) for one in CONTENDERS.values() for operation in one.operations}
    assert {(row.contender, row.operation) for row in rows} == wanted
    assert [row for row in rows if row.errors or row.ops_per_second <= 0 or row.p99_ms < row.p50_ms] == []


def test_the_server_counts_what_arrives(smoke: Smoke) -> None:
    """The server's counts are per operation: one that reads a room of five users sends that room, and little else."""
    read = [row for row in smoke.run.tables.throughput if row.operation == "get_room"]
    assert 600 < median(row.bytes_out for row in read) < 3000
    assert 0 < median(row.server_cpu_us for row in read) < 5000


def test_who_claims_to_keep_all_does(smoke: Smoke) -> None:
    """No contender that claims to lose no join of a crowd loses one, from one process and from several."""
    rows = [row for row in smoke.run.tables.crowd if CONTENDERS[row.contender].keeps_all]
    assert {row.processes for row in rows} == {1, 2}
    assert [row for row in rows if row.finished and not row.errors and row.kept != row.joins] == []
    assert {row.contender for row in rows if row.kept == row.joins} == {"wnc-store", "watch-multi", "redis-py-lock"}


def test_round_trips_are_counted(smoke: Smoke) -> None:
    """A bare GET is one round trip, as the server counts it, and so is the store's message."""
    trips = {(row.contender, row.operation): row.round_trips for row in smoke.run.tables.lonely}
    assert trips["redis-py", "one bare GET"] == 1
    assert trips["wnc-store", "add_message"] == 1


def test_the_limit_is_of_the_same_work(smoke: Smoke) -> None:
    """What redis-benchmark repeats of a join and of a message really writes."""
    assert {row.operation: row.same_work for row in smoke.run.tables.limit} == dict.fromkeys(OPERATIONS, True)


def test_listing_and_sweeping_are_whole(smoke: Smoke) -> None:
    """The pass over the index finds the one in a hundred that lives, and sweeps the others."""
    found = {row.operation: row.found for row in smoke.run.tables.listing}
    assert found == {"active_room_ids": 50, "sweep_active_rooms": 4950}


def test_targets_are_shown_beside_what_was_measured(smoke: Smoke) -> None:
    """Each target is printed with a verdict, and a target that is not met is no failure."""
    names = " ".join(target.name for target in smoke.run.targets)
    for operation in OPERATIONS:
        for against in ("redis-py", "ioredis"):
            assert re.search(rf"{operation}: ops/s against the original's steps on {against}", names)
            assert re.search(rf"{operation}: p99 against {against}", names)
            assert re.search(rf"{operation}: server CPU against {against}", names)
    for name in ("WATCH/MULTI", "commits", "one bare GET", "round trips", "fastest library", "worst ping"):
        assert name in names
    assert "not met" in smoke.printed
    assert all(table.title in smoke.printed for table in tables(smoke.run))


def test_its_keys_are_removed_and_no_others(smoke: Smoke) -> None:
    """A run leaves no key of its own, and every key of others as it was, also those that look like its own."""
    assert smoke.left == FOREIGN


def test_the_chart_is_a_picture(smoke: Smoke) -> None:
    """The chart is a PNG."""
    assert smoke.chart.startswith(b"\x89PNG")


def test_no_address_is_told(smoke: Smoke) -> None:
    """The JSON holds neither the server's address nor this machine's name."""
    text = smoke.run.model_dump_json()
    assert "127.0.0.1" not in text
    assert socket.gethostname() not in text


def test_the_page_is_filled_from_the_run(smoke: Smoke) -> None:
    """Every table of the page on performance is filled from a run, and filling it again changes nothing."""
    page = (ROOT / "docs/performance.md").read_text()
    filled = fill(page, smoke.run)
    assert NOT_MEASURED not in filled
    assert fill(filled, smoke.run) == filled
    assert set(re.findall(r"<!-- bench:([a-z-]+) -->", page)) == {table.name for table in tables(smoke.run)}
    assert re.sub(r"^\|.*\n|^\n", "", filled, flags=re.MULTILINE) == re.sub(
        r"^\|.*\n|^\n|^Not part of .*\n", "", page, flags=re.MULTILINE
    )


def test_a_page_is_filled_from_a_file(smoke: Smoke, tmp_path: Path) -> None:
    """The report's own command fills a page from a run's JSON, as the run itself does."""
    (tmp_path / "run.json").write_text(smoke.run.model_dump_json())
    (tmp_path / "page.md").write_text((ROOT / "docs/performance.md").read_text())
    main([str(tmp_path / "run.json"), str(tmp_path / "page.md")])
    assert (tmp_path / "page.md").read_text() == fill((ROOT / "docs/performance.md").read_text(), smoke.run)


def test_a_page_can_not_ask_for_what_is_not_there() -> None:
    """A page that asks for a table of another name is refused; a table without measurements says so."""
    run = Run(started="", machine={}, versions={}, options={})
    with pytest.raises(ValueError, match="no table 'latency'"):
        fill("<!-- bench:latency -->\n<!-- /bench -->\n", run)
    assert NOT_MEASURED in fill("<!-- bench:crowd -->\n<!-- /bench -->\n", run)


@pytest.mark.parametrize("contender", WRITES_WIRE, ids=lambda contender: contender.name)
async def test_contenders_do_the_same(contender: Contender, redis_server: RedisServer) -> None:
    """After the load a room has its five users, those who joined again last, and a chat its newest 20 messages."""
    url = redis_server.url.replace("/0", "/8")
    async with own_keys(url, 4) as place:
        await contender.seed(place, room_ids(SMALL.rooms), 5)
        async with contender.open(place) as session:
            for operation in contender.operations:
                done = 0
                while done < ENOUGH:  # however slow the machine is by now
                    sample = await session.load(operation, SMALL, 0.2)
                    assert sample.errors == {}
                    done += sample.operations
        settings = StoreSettings(key_prefix=place.prefix)
        async with plain_client(url) as client, open_store(url, settings=settings) as store:
            for room_id in room_ids(SMALL.rooms):
                room = await store.rooms.get_room(room_id)
                assert room is not None
                assert sorted(user.id for user in room.users) == [user_id(number) for number in range(5)]
                messages = await store.chat.get_messages(room_id)
                assert len({message.id for message in messages}) == 20
                assert await client.llen(f"{place.prefix}chat:{room_id}") == 20
                if "add_message" in contender.operations:
                    assert not any(message.id.startswith("kept") for message in messages)
                assert room.users[0].id == user_id(0)  # who never joined again is left behind by those who did
                assert any(user.name == user.id for user in room.users[1:])


@pytest.mark.parametrize("waits", [False, True])
async def test_all_connections_are_open_before_a_crowd(waits: bool, redis_server: RedisServer) -> None:
    """A contender with a pool has opened all of it when it says that it is connected, whichever pool that is."""
    url = redis_server.url.replace("/0", "/8")
    async with own_keys(url, 8) as place, plain_client(url) as client:
        await ORIGINAL.seed(place, ["crowd"], 1)
        async with ORIGINAL.open(replace(place, waits=waits)) as session:
            before = len(await client.client_list())
            await session.connect("crowd", place.connections)
            assert len(await client.client_list()) - before >= place.connections


async def test_server_counts_are_differences(redis_server: RedisServer) -> None:
    """What a server has done since a reading is counted by command, in reads and in bytes."""
    async with plain_client(redis_server.url.replace("/0", "/8")) as client:
        await client.get("nothing")
        before = await read_server(client)
        for _ in range(10):
            await client.get("nothing")
        spent = (await read_server(client)).since(before)
    assert spent.count("get") == 10
    assert spent.reads == 11
    assert spent.bytes_in > 10 * len("nothing")


async def test_keys_are_removed_after_a_failure(redis_server: RedisServer) -> None:
    """Own keys are removed also when a run fails, and a prefix is never lent twice."""
    url = redis_server.url.replace("/0", "/8")
    prefixes: set[str] = set()
    for _ in range(2):
        with pytest.raises(RuntimeError, match="on purpose"):
            await fail_among_own_keys(url, prefixes)
    assert len(prefixes) == 2
    async with plain_client(url) as client:
        for prefix in prefixes:
            assert await client.keys(f"{prefix}*") == []


async def fail_among_own_keys(url: str, prefixes: set[str]) -> None:
    """Write 2,500 keys, and fail."""
    async with own_keys(url, 4) as place, plain_client(url) as client:
        prefixes.add(place.prefix)
        await client.mset({f"{place.of('x').prefix}{number}": "" for number in range(2500)})
        message = "on purpose"
        raise RuntimeError(message)


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere only getrusage tells")
def test_a_peak_is_that_of_one_process() -> None:
    """The most memory a process used is its own, not that of a larger one that started it; and it grows."""
    ballast = b"x" * 300_000_000
    code = (
        "from wnc_store_bench.many_rooms import peak_bytes\n"
        "before = peak_bytes(); more = b'x' * 50_000_000; print(before, peak_bytes() - before)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)  # noqa: S603
    own, grown = map(int, done.stdout.split())
    assert own < len(ballast) / 2
    assert 45_000_000 < grown < 60_000_000


def test_ioredis_takes_no_part_on_a_socket(redis_server: RedisServer) -> None:
    """On a Unix socket, which ioredis can't be given as a URL, the others run and the note says so."""
    shown = bench_as_a_program(
        redis_server.unix_url, "--quick", "--only", "get_room", "--contenders", "ioredis,redis-py"
    )
    assert "ioredis took no part: it takes redis://" in shown
    assert "redis-py" in shown


def test_memory_alone_needs_no_server() -> None:
    """The parts that are in memory run without a server."""
    assert "In memory, one caller" in bench_as_a_program("redis://127.0.0.1:1/0", "--quick", "--only", "memory")


@pytest.mark.parametrize("failure", [TimeoutError(), StoreError("on purpose")])
async def test_a_part_that_fails_loses_no_other(monkeypatch: pytest.MonkeyPatch, failure: Exception) -> None:
    """A part that fails or takes too long is noted, and the others are measured."""

    async def fail(*_: object) -> None:
        raise failure

    monkeypatch.setattr(sys.modules["wnc_store_bench.many_rooms"], "measure", fail)
    run = await measure_all(None, Options(parts=("memory", "many_rooms")).quick(), lambda _: None)
    assert run.notes == [f"many_rooms was not measured: {str(failure) or 'it took too long'}"]
    assert run.tables.memory
    assert run.tables.many_rooms == []


def test_it_starts_a_server_of_its_own(tmp_path: Path) -> None:
    """Without a URL it starts a redis-server and ends it."""
    path = tmp_path / "run.json"
    bench_as_a_program("--quick", "--only", "lonely", "--rounds", "2", "--json", str(path))
    run = json.loads(path.read_text())
    assert run["options"]["server"] == "its own redis-server"
    assert run["tables"]["lonely"]
    assert run["tables"]["throughput"] == []


def test_no_server_is_exit_3() -> None:
    """Where no server answers the exit code is 3, and the password is not repeated."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    result = bench(f"redis://:{SECRET}@127.0.0.1:{port}/0", "--only", "lonely", code=3)
    assert "does not answer" in result.stderr
    assert SECRET not in result.output


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--only", "get_room,speed"], "no part 'speed'"),
        (["--contenders", "mongodb"], "no contender 'mongodb'"),
        (["postgres://host", "--only", "lonely"], "redis://"),
    ],
)
def test_wrong_usage_is_exit_2(arguments: list[str], says: str) -> None:
    """What is not known is refused, and what there is is named."""
    assert says in bench(*arguments, code=2).stderr


def test_parts_and_contenders_are_chosen_in_their_own_order() -> None:
    """A list chooses, nothing else than all is chosen without one."""
    assert chosen_parts("memory, get_room") == ("get_room", "memory")
    assert chosen_parts(None) == PARTS
    assert [one.name for one in chosen_contenders("redis-py,wnc-store")] == ["wnc-store", "redis-py"]
    assert chosen_contenders(None) == Options().contenders


def lonely(round_number: int, median_us: float) -> LonelyRow:
    """Return a row whose value is its median."""
    return LonelyRow(contender="", operation="", round=round_number, median_us=median_us, round_trips=1)


def test_ratios_are_formed_round_by_round() -> None:
    """A ratio compares what ran in the same round; its median and its limits are those of the rounds."""
    ours = [lonely(1, 10), lonely(2, 40), lonely(3, 90)]
    theirs = [lonely(3, 30), lonely(2, 20), lonely(1, 10)]
    assert ratios(ours, theirs, lambda row: row.median_us) == Spread(2, 1, 3)
    assert ratios(ours, [], lambda row: row.median_us) is None
    assert spread([]) is None


@pytest.mark.parametrize(
    ("value", "shown"), [(0, "0"), (0.01234, "0.0123"), (1.5, "1.50"), (12.345, "12.3"), (1234.5, "1,234")]
)
def test_figures_have_three_digits(value: float, shown: str) -> None:
    """A figure is shown with three digits, and all of those before the point."""
    assert figure(value) == shown


def test_percentiles_are_measured_values() -> None:
    """A percentile is the smallest value that so many do not exceed."""
    values = [float(number) for number in range(1, 101)]
    assert (percentile(values, 0.5), percentile(values, 0.99), percentile(values, 1)) == (50, 99, 100)
    assert percentile([7.0], 0.01) == 7
    assert percentile([], 0.5) == 0


def crowd(contender: str, *, seconds: float, kept: int, finished: bool = True) -> CrowdRow:
    """Return a crowd of 1,000 from one process."""
    return CrowdRow(
        contender=contender,
        processes=1,
        round=1,
        joins=1000,
        kept=kept,
        seconds=seconds,
        finished=finished,
        scripts=1,
        sets=1,
        errors={},
    )


def test_a_stopped_crowd_is_told() -> None:
    """A contender that was stopped counts with its bound, and the target says that it was stopped, and how far."""
    rows = [crowd("wnc-store", seconds=0.1, kept=1000), crowd("watch-multi", seconds=30, kept=120, finished=False)]
    targets = {target.name: target for target in judge(Tables(crowd=rows))}
    (name,) = (name for name in targets if "WATCH/MULTI" in name)
    assert "stopped after 30 s with 120 joins done" in name
    assert (targets[name].measured, targets[name].met) == ("300x", False)
    assert targets["crowd of 1000 from 1 process: kept"].met is True


def test_a_place_is_behind_its_prefix() -> None:
    """Each contender has a place of its own behind the run's prefix."""
    place = Place("redis://h", "p:")
    assert place.of("a").prefix == "p:a:"
    assert place.of("a") != place.of("b")


def test_without_node_the_others_run(monkeypatch: pytest.MonkeyPatch, redis_server: RedisServer) -> None:
    """Where ioredis can't be installed the run says so, and measures the others."""

    def missing() -> None:
        message = "there is no node"
        raise ConfigurationError(message)

    monkeypatch.setattr(sys.modules["wnc_store_bench.run"], "installed", missing)
    monkeypatch.setattr(output.out, "width", 200)
    url = redis_server.url.replace("/0", "/8")
    arguments = ["--quick", "--only", "get_room", "--contenders", "wnc-store,ioredis"]
    shown = bench(url, *arguments).stdout
    assert "ioredis took no part: there is no node" in shown
    assert "get_room, under load" in shown
