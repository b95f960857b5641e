"""The benchmark: that all of it runs, measures what it says, and leaves a server as it was. How fast is not tested."""

from __future__ import annotations

import json
import socket
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from bench_run import PAGE, Smoke, check_contender, check_left_behind, smoke
from processes import run_python
from redis_server import RedisServer
from wnc_store import ConfigurationError, StoreError
from wnc_store.cli import output
from wnc_store.cli.app import app
from wnc_store_bench import Options
from wnc_store_bench import Result as Run
from wnc_store_bench import run as measure_all
from wnc_store_bench.contenders import ORIGINAL, WNC, Contender
from wnc_store_bench.load import percentile
from wnc_store_bench.options import PARTS, chosen_contenders, chosen_parts
from wnc_store_bench.report import NOT_MEASURED, fill, main
from wnc_store_bench.results import CrowdRow, LonelyRow, MemoryRow, Tables
from wnc_store_bench.server import Place, own_keys, plain_client, read_server
from wnc_store_bench.spread import Spread, figure, ratios, spread
from wnc_store_bench.targets import judge

SECRET = "SECRET-9f1c"


def bench(*arguments: str, code: int = 0) -> Result:
    """Run the benchmark's command in this process."""
    result = CliRunner().invoke(app, ["bench", *arguments])
    assert result.exit_code == code, (result.output, result.exception)
    return result


@pytest.fixture(scope="module", name="small")
def _small(redis_server: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> Smoke:
    """A run of two parts with two contenders, on database 7."""
    chosen = ["--only", "get_room,lonely", "--contenders", "wnc-store,redis-py"]
    return smoke(redis_server.url.replace("/0", "/7"), tmp_path_factory.mktemp("bench"), *chosen)


def test_the_command_measures_what_is_chosen(small: Smoke) -> None:
    """A run measures the parts that are chosen with the contenders that are chosen, and notes nothing missing."""
    assert small.run.notes == []
    assert [row.contender for row in small.run.tables.throughput] == ["wnc-store", "redis-py"]
    assert all(row.errors == {} and row.bytes_out > 0 for row in small.run.tables.throughput)
    assert small.run.tables.lonely
    assert small.run.tables.crowd == []


def test_nothing_is_left_behind(small: Smoke) -> None:
    """A run prints its tables, draws a chart, and leaves the keys of others, also those that look like its own."""
    check_left_behind(small)


def test_round_trips_are_counted(small: Smoke) -> None:
    """A bare GET is one round trip, as the server counts it, and so is the store's message."""
    trips = {(row.contender, row.operation): row.round_trips for row in small.run.tables.lonely}
    assert trips["redis-py", "one bare GET"] == 1
    assert trips["wnc-store", "add_message"] == 1


def test_no_address_is_told(small: Smoke) -> None:
    """The JSON holds neither the server's address nor this machine's name."""
    text = small.run.model_dump_json()
    assert "127.0.0.1" not in text
    assert f'"{socket.gethostname()}"' not in text


def test_a_page_is_filled_from_a_file(small: Smoke, tmp_path: Path) -> None:
    """The report's own command fills each table of the page on performance from a run's JSON."""
    (tmp_path / "run.json").write_text(small.run.model_dump_json())
    (tmp_path / "page.md").write_text(PAGE)
    main([str(tmp_path / "run.json"), str(tmp_path / "page.md")])
    assert (tmp_path / "page.md").read_text() == fill(PAGE, small.run)


def test_a_page_can_not_ask_for_what_is_not_there() -> None:
    """A page that asks for a table of another name is refused; a table without measurements says so."""
    run = Run(started="", machine={}, versions={}, options={})
    with pytest.raises(ValueError, match="no table 'latency'"):
        fill("<!-- bench:latency -->\n<!-- /bench -->\n", run)
    assert NOT_MEASURED in fill("<!-- bench:crowd -->\n<!-- /bench -->\n", run)


@pytest.mark.parametrize("contender", [WNC, ORIGINAL], ids=lambda contender: contender.name)
async def test_contenders_do_the_same(contender: Contender, redis_server: RedisServer) -> None:
    """After the load a room has its five users, those who joined again last, and a chat its newest 20 messages."""
    await check_contender(contender, redis_server.url.replace("/0", "/8"))


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
    own, grown = map(int, run_python("-c", code).split())
    assert own < len(ballast) / 2
    assert 45_000_000 < grown < 60_000_000


def test_ioredis_takes_no_part_on_a_socket(redis_server: RedisServer) -> None:
    """On a Unix socket, which ioredis can't be given as a URL, the others run and the note says so."""
    shown = bench(redis_server.unix_url, "--quick", "--only", "get_room", "--contenders", "ioredis,redis-py").stdout
    assert "ioredis took no part: it takes redis://" in shown
    assert "redis-py" in shown


@pytest.mark.parametrize("failure", [TimeoutError(), StoreError("on purpose")])
async def test_a_part_that_fails_loses_no_other(monkeypatch: pytest.MonkeyPatch, failure: Exception) -> None:
    """A part that fails or takes too long is noted, and the others are measured."""

    async def fail(*_: object) -> None:
        raise failure

    async def succeed(*_: object) -> list[MemoryRow]:
        return [MemoryRow(contender="wnc-store", operation="get_room", round=1, ops_per_second=1)]

    monkeypatch.setattr(sys.modules["wnc_store_bench.many_rooms"], "measure", fail)
    monkeypatch.setattr(sys.modules["wnc_store_bench.memory"], "measure", succeed)
    run = await measure_all(None, Options(parts=("memory", "many_rooms")).quick(), lambda _: None)
    assert run.notes == [f"many_rooms was not measured: {str(failure) or 'it took too long'}"]
    assert run.tables.memory == await succeed()
    assert run.tables.many_rooms == []


def test_it_starts_a_server_of_its_own(tmp_path: Path) -> None:
    """Without a URL it starts a redis-server and ends it."""
    path = tmp_path / "run.json"
    bench("--quick", "--only", "lonely", "--json", str(path))
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
