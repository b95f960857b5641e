"""The benchmark runs all of its parts and leaves no keys. Speed is not tested."""

from __future__ import annotations

import asyncio
import json
import socket
import sys
from dataclasses import replace
from itertools import chain, repeat
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from bench_run import Smoke, check_contender, check_left_behind, smoke
from redis_server import RedisServer
from virtual_time import VirtualTimeLoop, now
from wnc_store import ConfigurationError, StoreError
from wnc_store.cli import output
from wnc_store.cli.app import app
from wnc_store_bench import Options
from wnc_store_bench import run as measure_all
from wnc_store_bench.contenders import REDIS_PY, WNC, Contender
from wnc_store_bench.interpreter import is_optimised
from wnc_store_bench.load import Load, percentile, run_load
from wnc_store_bench.options import PARTS, chosen_contenders, chosen_parts
from wnc_store_bench.records import room_ids, seed
from wnc_store_bench.report import fill, tables
from wnc_store_bench.results import MemoryRow
from wnc_store_bench.run import MEASUREMENTS
from wnc_store_bench.server import driver_url, plain_client, server_version, temporary_keys
from wnc_store_bench.spread import Spread, figure, ratios, spread

SECRET = "SECRET-9f1c"
RUN = sys.modules["wnc_store_bench.run"]


def bench(*arguments: str, code: int = 0) -> Result:
    """Run the benchmark command in this process."""
    result = CliRunner().invoke(app, ["bench", *arguments])
    assert result.exit_code == code, (result.output, result.exception)
    return result


@pytest.fixture(scope="module", name="small")
def _small(redis_server: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> Smoke:
    """A run of two parts with two contenders, on database 7."""
    chosen = ["--only", "fixed_rate,group_commit", "--contenders", "wnc-store,redis-py"]
    return smoke(redis_server.url.replace("/0", "/7"), tmp_path_factory.mktemp("bench"), *chosen)


def test_the_command_measures_the_selection(small: Smoke) -> None:
    """A run measures the selected parts with the selected contenders and notes nothing missing."""
    assert [note for note in small.run.notes if "--enable-optimizations" not in note] == []
    assert [row.contender for row in small.run.tables.fixed_rate] == ["wnc-store", "redis-py"]
    assert [row for row in small.run.tables.fixed_rate if row.errors] == []
    assert small.run.tables.group_commit
    assert small.run.tables.contention == []


def test_nothing_is_left_behind(small: Smoke) -> None:
    """A run prints its tables, draws a chart, and keeps all other keys, even those similar to its own."""
    check_left_behind(small)


def test_the_address_is_not_written(small: Smoke) -> None:
    """The JSON contains neither the server's address nor this machine's name."""
    text = small.run.model_dump_json()
    assert "127.0.0.1" not in text
    assert f'"{socket.gethostname()}"' not in text


def test_only_measured_tables_are_filled(small: Smoke) -> None:
    """A page gets the measured tables at their comments, and keeps the others."""
    page = "".join(
        f"<!-- bench:{name} -->\nold\n<!-- /bench -->\n" for name in ("fixed_rate_add_user_to_room", "contention")
    )
    filled = fill(page, small.run)
    assert "| wnc-store |" in filled
    assert filled.count("old") == 1
    assert fill(filled, small.run) == filled


@pytest.mark.parametrize("contender", [WNC, REDIS_PY], ids=lambda contender: contender.name)
async def test_contenders_do_the_same(contender: Contender, redis_server: RedisServer) -> None:
    """After the load a room has its five users in join order, and a chat its newest 20 messages."""
    await check_contender(contender, redis_server.url.replace("/0", "/8"))


@pytest.mark.parametrize("waits", [False, True])
async def test_all_connections_are_open_before_concurrent_joins(waits: bool, redis_server: RedisServer) -> None:
    """A contender with a pool reports that it is connected only when all connections are open."""
    url = redis_server.url.replace("/0", "/8")
    async with temporary_keys(url, 8) as target, plain_client(url) as client:
        await seed(target, room_ids(1))
        async with REDIS_PY.open(replace(target, waits=waits)) as session:
            before = len(await client.client_list())
            await session.warm_up("get_room", Load(callers=target.connections, rooms=1), 0.5)
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


def test_ioredis_is_skipped_on_a_unix_socket(redis_server: RedisServer) -> None:
    """On a Unix socket, which ioredis does not accept as a URL, the others run and a note explains it."""
    shown = bench(redis_server.unix_url, "--quick", "--only", "fixed_rate", "--contenders", "ioredis,redis-py").stdout
    assert "ioredis was skipped: it supports only redis://" in shown
    assert "redis-py" in shown


@pytest.mark.parametrize("failure", [TimeoutError(), StoreError("on purpose")])
async def test_a_failing_part_does_not_affect_others(
    monkeypatch: pytest.MonkeyPatch, redis_server: RedisServer, failure: Exception
) -> None:
    """A part that fails or times out is noted, and the other parts are measured."""

    async def fail(*_: object) -> None:
        raise failure

    async def succeed(*_: object) -> list[MemoryRow]:
        return [MemoryRow(operation="get_room", round=1, ops_per_second=1)]

    monkeypatch.setitem(MEASUREMENTS, "ablations", fail)
    monkeypatch.setitem(MEASUREMENTS, "memory", succeed)
    monkeypatch.setattr(RUN, "is_optimised", lambda: True)
    run = await measure_all(redis_server.url, Options(parts=("ablations", "memory")), lambda _: None)
    assert run.notes == [f"ablations was not measured: {str(failure) or 'it timed out'}"]
    assert run.tables.memory == await succeed()
    assert run.tables.ablations == []


@pytest.mark.parametrize("optimised", [False, True])
async def test_a_slow_interpreter_is_noted(
    monkeypatch: pytest.MonkeyPatch, redis_server: RedisServer, optimised: bool
) -> None:
    """The report warns if Python was built without optimisation, and only then."""
    monkeypatch.setattr(RUN, "is_optimised", lambda: optimised)
    run = await measure_all(redis_server.url, Options(parts=()), lambda _: None)
    (facts,) = (table for table in tables(run) if table.name == "machine")
    assert any(name == "note" and "--enable-optimizations" in value for name, value in facts.rows) is not optimised


@pytest.mark.parametrize(
    ("arguments", "schemes", "optimised"),
    [
        ("'--enable-shared'", ("posix_prefix",), False),
        ("'--enable-optimizations' '--with-lto'", ("posix_prefix",), True),
        ("'--enable-shared'", ("posix_prefix", "deb_system"), True),
        (None, ("nt",), True),
    ],
)
def test_optimised_interpreters_are_recognised(
    monkeypatch: pytest.MonkeyPatch, arguments: str | None, schemes: tuple[str, ...], optimised: bool
) -> None:
    """Python is optimised if its build options contain it, and on Debian and Windows, which omit the option."""
    monkeypatch.setattr("sysconfig.get_config_var", {"CONFIG_ARGS": arguments}.get)
    monkeypatch.setattr("sysconfig.get_scheme_names", lambda: schemes)
    assert is_optimised() is optimised


def test_it_starts_its_own_server(tmp_path: Path) -> None:
    """Without a URL the command starts a redis-server and ends it."""
    path = tmp_path / "run.json"
    bench("--quick", "--only", "memory", "--output", str(path))
    run = json.loads(path.read_text())
    assert run["options"]["server"] == "a temporary redis-server"
    assert run["tables"]["memory"]
    assert run["tables"]["throughput"] == []


@pytest.mark.parametrize("scheme", ["redis", "rediss", "redis+cluster", "memory"])
def test_a_valkey_url_is_one_of_redis_for_the_drivers(scheme: str) -> None:
    """The clients of other contenders get a Valkey URL with the scheme of Redis, and other URLs unchanged."""
    url = f"{scheme}://app:pw@host:6379/0"
    assert driver_url(url) == url
    if scheme in {"redis", "rediss"}:
        assert driver_url(url.replace("redis", "valkey", 1)) == url


def test_the_version_of_valkey_is_its_own() -> None:
    """A report contains the version of Valkey, and not the version of Redis that Valkey also reports."""
    assert server_version({"redis_version": "7.2.4", "valkey_version": "9.1.2"}) == ("valkey-server", "9.1.2")
    assert server_version({"redis_version": "8.2.3"}) == ("redis-server", "8.2.3")


def test_no_server_is_exit_3() -> None:
    """If no server replies the exit code is 3, and the password is not printed."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    result = bench(f"redis://:{SECRET}@127.0.0.1:{port}/0", "--only", "memory", code=3)
    assert "did not reply" in result.stderr
    assert SECRET not in result.output


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--only", "memory,speed"], "unknown part 'speed'"),
        (["--contenders", "mongodb"], "unknown contender 'mongodb'"),
        (["postgres://host", "--only", "memory"], "redis://"),
        (["", "--only", "memory"], "redis://"),
        (["--key-prefix", "x" * 25, "--only", "memory"], "invalid --key-prefix"),
    ],
)
def test_wrong_usage_is_exit_2(arguments: list[str], says: str) -> None:
    """An unknown part or contender, a URL of another database and a long key prefix are rejected."""
    assert says in bench(*arguments, code=2).stderr


def test_the_url_is_checked_first(tmp_path: Path) -> None:
    """A URL that the benchmark cannot use is reported before other wrong options and files that cannot be written."""
    options = ["--only", "speed", "--output", str(tmp_path / "none" / "run.json")]
    assert "the benchmark needs the URL of one Redis server" in bench("memory://", *options, code=2).stderr
    assert "unknown part 'speed'" in bench("redis://127.0.0.1:1", *options, code=2).stderr


def test_the_result_is_printed_as_json(redis_server: RedisServer) -> None:
    """With --json the command prints the results of all rounds instead of tables."""
    result = json.loads(bench("--url", redis_server.url, "--quick", "--only", "memory", "--json").stdout)
    assert result["tables"]["memory"]


async def test_keys_begin_with_the_prefix(redis_server: RedisServer) -> None:
    """The unique prefix of a run begins with that of the user."""
    async with temporary_keys(redis_server.url, 4, "app:") as target:
        assert target.prefix.startswith("app:wnc-bench-")


def test_parts_and_contenders_keep_their_order() -> None:
    """A list selects parts and contenders in their own order, and without a list all are selected."""
    assert chosen_parts("memory, throughput") == ("throughput", "memory")
    assert chosen_parts(None) == PARTS
    assert [one.name for one in chosen_contenders("redis-py,wnc-store")] == ["wnc-store", "redis-py"]
    assert chosen_contenders(None) == Options().contenders


def memory_row(number: int, rate: float) -> MemoryRow:
    """Return a row whose value is its rate."""
    return MemoryRow(operation="get_room", round=number, ops_per_second=rate)


def test_ratios_are_calculated_per_round() -> None:
    """A ratio compares results of the same round, and its median and limits are taken over the rounds."""
    ours = [memory_row(1, 10), memory_row(2, 40), memory_row(3, 90)]
    theirs = [memory_row(3, 30), memory_row(2, 20), memory_row(1, 10)]
    assert ratios(ours, theirs, lambda row: row.ops_per_second) == Spread(2, 1, 3)
    assert ratios(ours, [], lambda row: row.ops_per_second) is None
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


class SlowOnce:
    """A client whose first read takes half a second, and the others no time."""

    def __init__(self) -> None:
        self._delays = chain([0.5], repeat(0))

    async def get_room(self, room_id: str) -> None:
        """Return after the next delay."""
        del room_id
        await asyncio.sleep(next(self._delays))


def test_a_fixed_rate_includes_the_delay_of_late_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    """At a fixed rate, calls that a slow one delays are measured from the time at which they were due."""
    client: Any = SlowOnce()
    monkeypatch.setattr("wnc_store_bench.load.time", SimpleNamespace(perf_counter=now))
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        sample = runner.run(run_load(client, "get_room", Load(callers=1, rooms=1, rate=100), 1))
    assert sample.operations == pytest.approx(100, abs=1)
    assert sample.p50_ms == pytest.approx(0, abs=15)
    assert sample.p99_ms == pytest.approx(490, abs=15)


async def test_each_caller_makes_a_call() -> None:
    """Also if the time is up before the first call, as on a machine that was suspended, each caller makes one call."""
    client: Any = SlowOnce()
    sample = await run_load(client, "get_room", Load(callers=3, rooms=1), 0)
    assert (sample.operations, sample.errors) == (3, {})


def test_node_is_missing(monkeypatch: pytest.MonkeyPatch, redis_server: RedisServer) -> None:
    """If ioredis cannot be installed, the run notes it and measures the others."""

    def missing() -> None:
        message = "node is missing"
        raise ConfigurationError(message)

    monkeypatch.setattr(RUN, "installed", missing)
    monkeypatch.setattr(output.out, "width", 200)
    url = redis_server.url.replace("/0", "/8")
    arguments = ["--quick", "--only", "fixed_rate", "--contenders", "wnc-store,ioredis"]
    shown = bench(url, *arguments).stdout
    assert "ioredis was skipped: node is missing" in shown
    assert "add_user_to_room, at the same rate" in shown
