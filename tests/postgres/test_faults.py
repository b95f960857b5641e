"""Random faults under some loads with one seed. `tests/stress/postgres` runs every kind of load in every mode."""

from __future__ import annotations

import pytest

from chaos.postgres import postgres_target
from chaos.random_faults import under_faults
from postgres_server import PostgresServer
from wnc_store_contract.faults.run import run_faults
from wnc_store_contract.postgres import PostgresHarness

pytestmark = pytest.mark.usefixtures("postgres_server")  # skips the tests if there is none


@pytest.mark.parametrize(("kind", "mode"), [("messages", "cuts"), ("rooms", "late"), ("events", "two stores")])
async def test_outcomes_are_correct_under_random_faults(kind: str, mode: str) -> None:
    """Each result, error and event is true, and each write is applied at most once."""
    problems, done = await under_faults(kind, mode, 1, postgres_target)
    assert problems == []
    assert done > 10


async def test_postgres_violates_nothing(postgres_server: PostgresServer) -> None:
    """Stores whose connections are terminated violate no rule."""
    harness = PostgresHarness(postgres_server.url())
    try:
        report = await run_faults(harness, 1, operations=450)
    finally:
        await harness.aclose()
    assert (report.violations, report.undecided) == ([], 0)
    assert report.operations >= 450
    assert report.faults > 5
