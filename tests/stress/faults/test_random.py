"""Random faults under load, with many seeds. `FAULT_SEEDS=200` sets the number of seeds for each kind and mode."""

from __future__ import annotations

import os

import pytest

from chaos.mutants import MUTANTS
from chaos.random_faults import KINDS, MODES, under_faults
from chaos.soak import soak

pytestmark = pytest.mark.timeout(1200)

_SEEDS = range(1000, 1000 + int(os.environ.get("FAULT_SEEDS", "2")))
_MUTANT_SEEDS = range(1000, 1010)


@pytest.mark.parametrize("seed", _SEEDS)
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("kind", KINDS)
async def test_outcomes_are_correct_under_random_faults(kind: str, mode: str, seed: int) -> None:
    """Each result, error and event is true, and each write is applied at most once."""
    problems, _ = await under_faults(kind, mode, seed)
    assert not problems, (
        f"{problems}\nrepeat with: FAULT_SEEDS={len(_SEEDS)} python -m pytest tests/stress/faults/test_random.py "
        f"-k 'random_faults and {kind} and {mode} and {seed}'"
    )


@pytest.mark.parametrize("mutant", MUTANTS)
async def test_a_mutant_is_detected(mutant: str) -> None:
    """A store with one of these mutations violates a promise with one of these seeds."""
    with MUTANTS[mutant].applied():
        for seed in _MUTANT_SEEDS:
            problems, _ = await under_faults(MUTANTS[mutant].kind, MUTANTS[mutant].mode, seed)
            if problems:
                return
    pytest.fail(f"{len(_MUTANT_SEEDS)} runs have not detected the mutant")


@pytest.mark.parametrize("seed", range(1000, 1016))
async def test_outcomes_are_correct_under_every_fault(seed: int) -> None:
    """The same holds for two processes while 40 faults of all kinds are injected."""
    done = await soak(40, seed=seed)
    assert done.report.problems == []
    assert len(done.injected) == 12
