"""The calls under faults of `wnc-store verify --faults` on a real server."""

from __future__ import annotations

import itertools

import pytest

from chaos.mutants import MUTANTS
from redis_server import RedisServer
from wnc_store_contract.faults.run import FaultReport, run_faults
from wnc_store_contract.redis import RedisHarness


async def run(server: RedisServer, seed: int) -> FaultReport:
    """Run calls of two stores whose connections are killed repeatedly."""
    harness = RedisHarness(server.url)
    try:
        return await run_faults(harness, seed, operations=900)
    finally:
        await harness.aclose()


async def test_redis_violates_nothing(redis_server: RedisServer) -> None:
    """Stores whose connections are killed violate no rule."""
    report = await run(redis_server, 1)
    assert (report.violations, report.undecided) == ([], 0)
    assert report.operations >= 900
    assert report.faults > 10


@pytest.mark.parametrize("mutant", [name for name, mutant in MUTANTS.items() if mutant.rule])
async def test_a_mutant_is_detected(redis_server: RedisServer, mutant: str) -> None:
    """A store with one of these mutations violates a rule with one of the first seeds."""
    with MUTANTS[mutant].applied():
        for seed in itertools.count():  # which replies a killed connection loses is not decided by the seed
            violations = (await run(redis_server, seed)).violations
            if any(str(MUTANTS[mutant].rule) in violation.rule for violation in violations):
                break
