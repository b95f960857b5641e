"""Random faults under load on Postgres. `FAULT_SEEDS=200` sets the number of seeds for each kind and mode."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator

import pytest

from chaos.postgres import postgres_target
from chaos.random_faults import KINDS, MODES, under_faults
from postgres_server import PostgresServer
from postgres_server import postgres_server as start_server
from wnc_store_contract import Capability
from wnc_store_contract.faults.run import run_faults
from wnc_store_contract.postgres import PostgresHarness

pytestmark = [pytest.mark.timeout(1200), pytest.mark.usefixtures("postgres_server")]

_SEEDS = range(1000, 1000 + int(os.environ.get("FAULT_SEEDS", "1")))


class RestartingHarness(PostgresHarness):
    """Stores on a server that can be killed and restarted."""

    capabilities = PostgresHarness.capabilities | {Capability.RESTART}

    def __init__(self, server: PostgresServer) -> None:
        super().__init__(server.url())
        self._server = server

    async def restart(self) -> None:
        """Kill the server and start it again."""
        self._server.kill()
        await asyncio.to_thread(self._server.start)


@pytest.fixture(name="server")
def _server() -> Iterator[PostgresServer]:
    """A server of the test's own, which writes each commit to its disk."""
    with start_server(fsync="on") as server:
        yield server


@pytest.mark.parametrize("seed", _SEEDS)
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("kind", KINDS)
async def test_outcomes_are_correct_under_random_faults(kind: str, mode: str, seed: int) -> None:
    """Each result, error and event is true, and each write is applied at most once."""
    problems, _ = await under_faults(kind, mode, seed, postgres_target)
    assert not problems, (
        f"{problems}\nrepeat with: FAULT_SEEDS={len(_SEEDS)} python -m pytest tests/stress/postgres/test_random.py "
        f"-k 'random_faults and {kind} and {mode} and {seed}'"
    )


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.exhaustive) for seed in range(1, 20))])
async def test_a_killed_server_violates_nothing(server: PostgresServer, seed: int) -> None:
    """Stores whose connections are terminated and whose server is killed and restarted violate no rule."""
    harness = RestartingHarness(server)
    try:
        report = await run_faults(harness, seed, operations=3000)
    finally:
        await harness.aclose()
    assert (report.violations, report.undecided) == ([], 0)
    assert report.faults > 50
