"""The tutorial on each backend, by changing the URL alone, and the SQL of the page on Postgres."""

from __future__ import annotations

import re
import runpy
from pathlib import Path
from uuid import uuid4

import pytest

from postgres_database import connected, database
from postgres_server import PostgresServer
from processes import ROOT
from redis_server import HANG_SECONDS, RedisServer
from wnc_store import open_store

_PROGRAMS = [
    program
    for program in re.findall(r"```python\n(.*?)```", (ROOT / "docs/tutorial.md").read_text(), re.DOTALL)
    if 'open_store("memory://"' in program
]
_MOVING_TIME = "ManualClock"
"""The clock of the memory backend. TTLs on servers follow the server's clock, as the page states."""


@pytest.fixture(autouse=True)
def _patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """A time-out that the creation of tables does not reach on a busy machine."""
    monkeypatch.setenv("WNC_STORE_OPERATION_TIMEOUT", str(HANG_SECONDS))


def test_the_programs_are_found() -> None:
    """The tutorial has five programs with a store, and one of them moves the time of the memory backend."""
    assert len(_PROGRAMS) == 5
    assert [_MOVING_TIME in program for program in _PROGRAMS].count(True) == 1


@pytest.mark.parametrize("backend", ["memory", "redis", "postgres"])
@pytest.mark.parametrize("number", range(len(_PROGRAMS)))
def test_the_tutorial_runs_on_each_backend(
    number: int, backend: str, tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each program of the tutorial runs on each backend with another URL, except for the one that moves time."""
    program, url = _PROGRAMS[number], "memory://"
    if backend != "memory":
        if _MOVING_TIME in program:
            return
        server: RedisServer | PostgresServer = request.getfixturevalue(f"{backend}_server")
        url = server.url() if isinstance(server, PostgresServer) else server.url.replace("/0", "/13")
    monkeypatch.setenv("WNC_STORE_KEY_PREFIX", f"{uuid4().hex}:")  # as if the database were empty
    path = tmp_path / "program.py"
    path.write_text(program.replace("memory://", url))
    runpy.run_path(str(path), run_name="__main__")


async def test_the_sql_of_the_page_runs(postgres_server: PostgresServer) -> None:
    """Each statement of the page on Postgres runs on the tables."""
    statements = re.findall(r"```sql\n(.*?)```", (ROOT / "docs/how-to/postgres.md").read_text(), re.DOTALL)
    assert statements
    async with database(postgres_server) as name, open_store(postgres_server.url(name)) as store:
        await store.ping()
        async with connected(postgres_server.url(name)) as plain:
            for statement in statements:
                await plain.execute(statement)
