"""Random faults under load, with hundreds of seeds."""

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
async def test_outcomes_are_correct_under_random_faults(scenario: str, seed: int) -> None:
    """Rooms are linearizable, each message and hit counts once, and no rejected write was applied."""
    done = await under_load(scenario, seed)
    assert done.problems == []


@pytest.mark.parametrize("seed", range(1000, 1008))
async def test_outcomes_are_correct_under_every_fault(seed: int) -> None:
    """The same holds for two processes while 40 faults of all kinds are injected."""
    done = await soak(40, seed=seed)
    assert done.report.problems == []
    assert len(done.injected) == 12


@pytest.mark.parametrize("seed", range(1000, 1040))
async def test_cancelled_callers_do_not_affect_others(seed: int) -> None:
    """If half of a thousand callers are cancelled at random moments, each of the others gets its own reply."""
    assert await impatient_callers(seed) == []
