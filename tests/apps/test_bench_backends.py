"""The parts of the benchmark that compare the backends, with and without Postgres. Speed is not tested."""

from __future__ import annotations

import asyncio
import runpy
import sys
from contextlib import AsyncExitStack
from pathlib import Path
from typing import NoReturn

import pytest
from typer.testing import CliRunner

from bench_run import smoke
from postgres_database import TABLES, connected, database
from postgres_server import PostgresServer, ServerNotFoundError
from processes import ROOT
from redis_server import RedisServer
from wnc_store.cli import output
from wnc_store.cli.app import app
from wnc_store_bench import Result
from wnc_store_bench.counts import count
from wnc_store_bench.server import Target, temporary_keys

PARTS = ["--only", "backends,backend_joins"]
POSTGRES = {"Postgres", "Postgres, synchronous_commit=off"}


@pytest.fixture(scope="module", name="made")
def _made(
    redis_server: RedisServer, postgres_server: PostgresServer, tmp_path_factory: pytest.TempPathFactory
) -> Result:
    """A quick run of the parts, which leaves no rows in a new database."""

    async def run() -> Result:
        async with database(postgres_server) as name:
            url = postgres_server.url(name)
            folder = tmp_path_factory.mktemp("bench")
            made = await asyncio.to_thread(
                smoke, redis_server.url.replace("/0", "/6"), folder, *PARTS, "--postgres", url
            )
            async with connected(url) as plain:
                for table in TABLES[1:]:
                    assert await plain.fetchval(f"SELECT count(*) FROM {table}") == 0, table  # noqa: S608
        return made.run

    return asyncio.run(run())


def test_each_backend_runs_each_operation(made: Result) -> None:
    """A read, a join and a message are measured on each backend, without errors."""
    rows = made.tables.backends
    operations = ("get_room", "add_user_to_room", "add_message")
    backends = {"Redis", "memory", *POSTGRES}
    assert {(row.contender, row.operation) for row in rows} == {(one, what) for one in backends for what in operations}
    assert [row for row in rows if row.errors or not row.ops_per_second] == []
    assert "fsync" in made.versions["PostgreSQL"]


def test_no_backend_loses_a_join(made: Result) -> None:
    """All concurrent joins of one room are kept, and the joins of one process share their transactions."""
    rows = made.tables.backend_joins
    assert {(row.backend, row.processes) for row in rows} == {
        ("memory", 1),
        *((backend, processes) for backend in {"Redis", *POSTGRES} for processes in (1, 2)),
    }
    assert [row for row in rows if row.errors or row.kept != row.joins] == []
    assert [row for row in rows if row.processes == 1 and row.backend != "memory" and row.writes > 3] == []


@pytest.mark.parametrize("backend", ["redis", "postgres"])
async def test_round_trips_and_transactions_are_counted(backend: str, request: pytest.FixtureRequest) -> None:
    """A read takes no transaction, a write at most one, and concurrent reads of a tick share a round trip."""
    server: RedisServer | PostgresServer = request.getfixturevalue(f"{backend}_server")
    async with AsyncExitStack() as stack:
        if isinstance(server, PostgresServer):
            target = Target(server.url(await stack.enter_async_context(database(server))), "")
        else:
            target = await stack.enter_async_context(temporary_keys(server.url.replace("/0", "/6"), 1))
        read, write = await count(backend, target, ["get_room", "add_message"])
    assert read.writes == 0
    assert 0 < read.round_trips < 0.1
    assert 0.9 < write.writes <= 1.01  # other transactions of the server are rare


def test_without_postgres(redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without --postgres, the other backends are measured, and a note names the option."""
    monkeypatch.setattr(output.out, "width", 200)
    result = CliRunner().invoke(app, ["bench", redis_server.url, "--quick", "--only", "backends"])
    assert result.exit_code == 0, result.output
    assert "Postgres was skipped: pass the URL of a database with --postgres" in result.stdout
    assert "get_room, on each backend" in result.stdout


def test_the_url_of_another_database_is_refused(redis_server: RedisServer) -> None:
    """A --postgres URL with another scheme is wrong usage, and the error does not repeat it."""
    result = CliRunner().invoke(app, ["bench", redis_server.url, "--postgres", "mysql://app:SECRET-9f1c@host/db"])
    assert result.exit_code == 2
    assert "--postgres expects the URL of a PostgreSQL database" in result.stderr
    assert "SECRET-9f1c" not in result.output


def test_make_bench_goes_on_without_a_server(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """If there is no PostgreSQL server, the script of `make bench` prints why, and runs the command without it."""

    def missing(**_: object) -> NoReturn:
        message = "found no PostgreSQL server"
        raise ServerNotFoundError(message)

    monkeypatch.setattr("postgres_server.postgres_server", missing)
    monkeypatch.setattr("wnc_store.cli.main", lambda: (tmp_path / "arguments").write_text(" ".join(sys.argv)))
    monkeypatch.setattr(sys, "argv", ["bench.py", "--quick"])
    monkeypatch.setattr(sys, "path", [*sys.path])
    runpy.run_path(str(ROOT / "scripts/bench.py"), run_name="__main__")
    assert "Postgres is not measured: found no PostgreSQL server" in capsys.readouterr().err
    assert (tmp_path / "arguments").read_text() == "wnc-store bench --quick"
