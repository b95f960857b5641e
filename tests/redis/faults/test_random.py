"""Random faults under load with a few seeds. `tests/stress/faults` runs hundreds."""

from __future__ import annotations

import itertools

import pytest

from chaos.load import under_cuts
from chaos.mutants import MUTANTS
from chaos.soak import soak


@pytest.mark.parametrize("seed", range(5))
async def test_outcomes_are_correct_under_random_cuts(seed: int) -> None:
    """Rooms are linearizable, each message and hit counts once, and no rejected write was applied."""
    done = await under_cuts(seed)
    assert done.problems == []
    assert done.faults >= 3
    assert done.report.operations["ok"] > 100


async def test_outcomes_are_correct_under_every_fault() -> None:
    """The same holds for two processes while each kind of fault is injected once."""
    done = await soak(12, seed=1)
    assert done.report.problems == []
    assert len(done.injected) == 12
    assert done.report.operations["ok"] > 100


@pytest.mark.parametrize("mutant", MUTANTS)
async def test_a_mutant_is_detected(mutant: str) -> None:
    """A store with one of these mutations violates a guarantee with these seeds."""
    with MUTANTS[mutant].applied():
        for seed in itertools.count():  # how a network cuts data into packets is not decided by the seed
            problems = (await under_cuts(seed)).problems
            if any(MUTANTS[mutant].sign in problem for problem in problems):
                break
