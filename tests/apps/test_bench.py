"""The benchmark runs all of its parts and leaves no keys. Speed is not tested."""

from __future__ import annotations

import asyncio
import json
import socket
import sys
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from typer.testing import CliRunner, Result

from bench_run import PAGE, Smoke, check_contender, check_left_behind, smoke
from processes import run_python
from redis_server import RedisServer, free_port
from tcp import closing_streams
from wnc_store import ConfigurationError, StoreError
from wnc_store.cli import output
from wnc_store.cli.app import app
from wnc_store_bench import Options, limit
from wnc_store_bench import Result as Run
from wnc_store_bench import run as measure_all
from wnc_store_bench.contenders import REDIS_PY, WNC, Contender
from wnc_store_bench.goals import judge
from wnc_store_bench.load import percentile
from wnc_store_bench.options import PARTS, chosen_contenders, chosen_parts
from wnc_store_bench.report import NOT_MEASURED, fill, main
from wnc_store_bench.results import ContentionRow, MemoryRow, SingleClientRow, Tables
from wnc_store_bench.server import plain_client, temporary_keys
from wnc_store_bench.spread import Spread, figure, ratios, spread

SECRET = "SECRET-9f1c"


def bench(*arguments: str, code: int = 0) -> Result:
    """Run the benchmark command in this process."""
    result = CliRunner().invoke(app, ["bench", *arguments])
    assert result.exit_code == code, (result.output, result.exception)
    return result


@pytest.fixture(scope="module", name="small")
def _small(redis_server: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> Smoke:
    """A run of two parts with two contenders, on database 7."""
    chosen = ["--only", "get_room,single_client", "--contenders", "wnc-store,redis-py"]
    return smoke(redis_server.url.replace("/0", "/7"), tmp_path_factory.mktemp("bench"), *chosen)


def test_the_command_measures_the_selection(small: Smoke) -> None:
    """A run measures the selected parts with the selected contenders and notes nothing missing."""
    assert small.run.notes == []
    assert [row.contender for row in small.run.tables.throughput] == ["wnc-store", "redis-py"]
    assert all(row.errors == {} and row.bytes_out > 0 for row in small.run.tables.throughput)
    assert small.run.tables.single_client
    assert small.run.tables.contention == []


def test_nothing_is_left_behind(small: Smoke) -> None:
    """A run prints its tables, draws a chart, and keeps all other keys, even those similar to its own."""
    check_left_behind(small)


def test_round_trips_are_counted(small: Smoke) -> None:
    """A plain GET and a message of the store each take one round trip, as the server counts them."""
    trips = {(row.contender, row.operation): row.round_trips for row in small.run.tables.single_client}
    assert trips["redis-py", "one plain GET"] == 1
    assert trips["wnc-store", "add_message"] == 1


def test_the_address_is_not_written(small: Smoke) -> None:
    """The JSON contains neither the server's address nor this machine's name."""
    text = small.run.model_dump_json()
    assert "127.0.0.1" not in text
    assert f'"{socket.gethostname()}"' not in text


def test_a_page_is_filled_from_a_file(small: Smoke, tmp_path: Path) -> None:
    """The report command fills each table of the performance page from the JSON of a run."""
    (tmp_path / "run.json").write_text(small.run.model_dump_json())
    (tmp_path / "page.md").write_text(PAGE)
    main([str(tmp_path / "run.json"), str(tmp_path / "page.md")])
    assert (tmp_path / "page.md").read_text() == fill(PAGE, small.run)


def test_an_unknown_table_is_rejected() -> None:
    """A page with an unknown table is rejected, and a table without measurements contains a notice."""
    run = Run(started="", machine={}, versions={}, options={})
    with pytest.raises(ValueError, match="unknown table 'latency'"):
        fill("<!-- bench:latency -->\n<!-- /bench -->\n", run)
    assert NOT_MEASURED in fill("<!-- bench:contention -->\n<!-- /bench -->\n", run)


@pytest.mark.parametrize("contender", [WNC, REDIS_PY], ids=lambda contender: contender.name)
async def test_contenders_do_the_same(contender: Contender, redis_server: RedisServer) -> None:
    """After the load a room has its five users in join order, and a chat its newest 20 messages."""
    await check_contender(contender, redis_server.url.replace("/0", "/8"))


@pytest.mark.parametrize("waits", [False, True])
async def test_all_connections_are_open_before_concurrent_joins(waits: bool, redis_server: RedisServer) -> None:
    """A contender with a pool reports that it is connected only when all connections are open."""
    url = redis_server.url.replace("/0", "/8")
    async with temporary_keys(url, 8) as target, plain_client(url) as client:
        await REDIS_PY.seed(target, ["contention"], 1)
        async with REDIS_PY.open(replace(target, waits=waits)) as session:
            before = len(await client.client_list())
            await session.connect("contention", target.connections)
            assert len(await client.client_list()) - before >= target.connections


async def test_keys_are_removed_after_a_failure(redis_server: RedisServer) -> None:
    """The keys of a run are removed even if it fails, and no prefix is used twice."""
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
    """Write 2,500 keys, and raise."""
    async with temporary_keys(url, 4) as target, plain_client(url) as client:
        prefixes.add(target.prefix)
        await client.mset({f"{target.of('x').prefix}{number}": "" for number in range(2500)})
        message = "on purpose"
        raise RuntimeError(message)


async def test_the_recorder_waits_for_its_connections(
    redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The recorder leaves no task, even if its client closes a connection before the server's is open."""
    opening, open_connection = asyncio.Event(), asyncio.open_connection

    async def open_slowly(host: str, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        opening.set()
        await asyncio.sleep(0.01)
        return await open_connection(host, port)

    monkeypatch.setattr(asyncio, "open_connection", open_slowly)
    async with limit._recorder(redis_server.url) as (url, _):
        with socket.create_connection(("127.0.0.1", urlsplit(url).port)):
            await opening.wait()
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_the_recorder_closes_a_connection_without_a_server(caplog: pytest.LogCaptureFixture) -> None:
    """If the server is down, the recorder closes its client's connection and logs nothing."""
    async with limit._recorder(f"redis://127.0.0.1:{free_port()}") as (url, _):
        reader, writer = await asyncio.open_connection("127.0.0.1", urlsplit(url).port)
        async with closing_streams((reader, writer)):
            assert await reader.read() == b""
    assert not caplog.records


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have only getrusage")
def test_peak_memory_is_that_of_the_process() -> None:
    """The peak memory of a process excludes that of its parent, and it grows."""
    ballast = b"x" * 300_000_000
    code = (
        "from wnc_store_bench.many_rooms import peak_bytes\n"
        "before = peak_bytes(); more = b'x' * 50_000_000; print(before, peak_bytes() - before)"
    )
    own, grown = map(int, run_python("-c", code).split())
    assert own < len(ballast) / 2
    assert 45_000_000 < grown < 60_000_000


def test_ioredis_is_skipped_on_a_unix_socket(redis_server: RedisServer) -> None:
    """On a Unix socket, which ioredis does not accept as a URL, the others run and a note explains it."""
    shown = bench(redis_server.unix_url, "--quick", "--only", "get_room", "--contenders", "ioredis,redis-py").stdout
    assert "ioredis was skipped: it supports only redis://" in shown
    assert "redis-py" in shown


@pytest.mark.parametrize("failure", [TimeoutError(), StoreError("on purpose")])
async def test_a_failing_part_does_not_affect_others(monkeypatch: pytest.MonkeyPatch, failure: Exception) -> None:
    """A part that fails or times out is noted, and the other parts are measured."""

    async def fail(*_: object) -> None:
        raise failure

    async def succeed(*_: object) -> list[MemoryRow]:
        return [MemoryRow(contender="wnc-store", operation="get_room", round=1, ops_per_second=1)]

    monkeypatch.setattr(sys.modules["wnc_store_bench.many_rooms"], "measure", fail)
    monkeypatch.setattr(sys.modules["wnc_store_bench.memory"], "measure", succeed)
    run = await measure_all(None, Options(parts=("memory", "many_rooms")).quick(), lambda _: None)
    assert run.notes == [f"many_rooms was not measured: {str(failure) or 'it timed out'}"]
    assert run.tables.memory == await succeed()
    assert run.tables.many_rooms == []


def test_it_starts_its_own_server(tmp_path: Path) -> None:
    """Without a URL the command starts a redis-server and ends it."""
    path = tmp_path / "run.json"
    bench("--quick", "--only", "single_client", "--json", str(path))
    run = json.loads(path.read_text())
    assert run["options"]["server"] == "a temporary redis-server"
    assert run["tables"]["single_client"]
    assert run["tables"]["throughput"] == []


def test_no_server_is_exit_3() -> None:
    """If no server replies the exit code is 3, and the password is not printed."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    result = bench(f"redis://:{SECRET}@127.0.0.1:{port}/0", "--only", "single_client", code=3)
    assert "did not reply" in result.stderr
    assert SECRET not in result.output


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--only", "get_room,speed"], "unknown part 'speed'"),
        (["--contenders", "mongodb"], "unknown contender 'mongodb'"),
        (["postgres://host", "--only", "single_client"], "redis://"),
    ],
)
def test_wrong_usage_is_exit_2(arguments: list[str], says: str) -> None:
    """An unknown part or contender is rejected, and the error lists the known ones."""
    assert says in bench(*arguments, code=2).stderr


def test_parts_and_contenders_keep_their_order() -> None:
    """A list selects parts and contenders in their own order, and without a list all are selected."""
    assert chosen_parts("memory, get_room") == ("get_room", "memory")
    assert chosen_parts(None) == PARTS
    assert [one.name for one in chosen_contenders("redis-py,wnc-store")] == ["wnc-store", "redis-py"]
    assert chosen_contenders(None) == Options().contenders


def single_client(round_number: int, median_us: float) -> SingleClientRow:
    """Return a row whose value is its median."""
    return SingleClientRow(contender="", operation="", round=round_number, median_us=median_us, round_trips=1)


def test_ratios_are_calculated_per_round() -> None:
    """A ratio compares results of the same round, and its median and limits are taken over the rounds."""
    ours = [single_client(1, 10), single_client(2, 40), single_client(3, 90)]
    theirs = [single_client(3, 30), single_client(2, 20), single_client(1, 10)]
    assert ratios(ours, theirs, lambda row: row.median_us) == Spread(2, 1, 3)
    assert ratios(ours, [], lambda row: row.median_us) is None
    assert spread([]) is None


@pytest.mark.parametrize(
    ("value", "shown"), [(0, "0"), (0.01234, "0.0123"), (1.5, "1.50"), (12.345, "12.3"), (1234.5, "1,234")]
)
def test_figures_have_three_digits(value: float, shown: str) -> None:
    """A number is shown with three significant digits, and with all digits before the point."""
    assert figure(value) == shown


def test_percentiles_are_measured_values() -> None:
    """A percentile is the smallest measured value that the given share does not exceed."""
    values = [float(number) for number in range(1, 101)]
    assert (percentile(values, 0.5), percentile(values, 0.99), percentile(values, 1)) == (50, 99, 100)
    assert percentile([7.0], 0.01) == 7
    assert percentile([], 0.5) == 0


def contention(contender: str, *, seconds: float, kept: int, finished: bool = True) -> ContentionRow:
    """Return a row of 1,000 concurrent joins from one process."""
    return ContentionRow(
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


def test_a_stopped_contender_is_reported() -> None:
    """A stopped contender counts with its time limit, and the goal says when it was stopped."""
    rows = [
        contention("wnc-store", seconds=0.1, kept=1000),
        contention("watch-multi", seconds=30, kept=120, finished=False),
    ]
    goals = {goal.name: goal for goal in judge(Tables(contention=rows))}
    (name,) = (name for name in goals if "WATCH/MULTI" in name)
    assert "stopped after 30 s with 120 joins done" in name
    assert (goals[name].measured, goals[name].met) == ("300x", False)
    assert goals["1000 joins from 1 process: kept"].met is True


def test_node_is_missing(monkeypatch: pytest.MonkeyPatch, redis_server: RedisServer) -> None:
    """If ioredis cannot be installed, the run notes it and measures the others."""

    def missing() -> None:
        message = "node is missing"
        raise ConfigurationError(message)

    monkeypatch.setattr(sys.modules["wnc_store_bench.run"], "installed", missing)
    monkeypatch.setattr(output.out, "width", 200)
    url = redis_server.url.replace("/0", "/8")
    arguments = ["--quick", "--only", "get_room", "--contenders", "wnc-store,ioredis"]
    shown = bench(url, *arguments).stdout
    assert "ioredis was skipped: node is missing" in shown
    assert "get_room, under load" in shown
