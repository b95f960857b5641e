"""Callers at work while something breaks at random: hundreds of seeds."""

from __future__ import annotations

import pytest

from chaos.impatient import impatient_callers
from chaos.load import under_load
from chaos.soak import soak

pytestmark = pytest.mark.timeout(1200)

_SEEDS = {"random cuts": 200, "killed clients": 60, "killed server": 20, "forgotten scripts": 20}


@pytest.mark.parametrize(
    ("scenario", "seed"), [(scenario, 1000 + number) for scenario, count in _SEEDS.items() for number in range(count)]
)
async def test_callers_are_told_the_truth(scenario: str, seed: int) -> None:
    """Rooms are linearizable, each message and each hit is there once, and nothing that was refused has happened."""
    done = await under_load(scenario, seed)
    assert done.problems == []


@pytest.mark.parametrize("seed", range(1000, 1008))
async def test_processes_are_told_the_truth_under_every_fault(seed: int) -> None:
    """The same holds for two processes while 40 faults of all kinds are injected."""
    done = await soak(40, seed=seed)
    assert done.report.problems == []
    assert len(done.injected) == 12


@pytest.mark.parametrize("seed", range(1000, 1040))
async def test_callers_who_give_up_harm_nobody(seed: int) -> None:
    """Of a thousand callers half give up at random moments; each of the others gets the reply to its own call."""
    assert await impatient_callers(seed) == []
