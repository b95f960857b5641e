"""Random faults under load, with hundreds of seeds."""

from __future__ import annotations

import pytest

from chaos.load import under_cuts
from chaos.soak import soak

pytestmark = pytest.mark.timeout(1200)


@pytest.mark.parametrize("seed", range(1000, 1200))
async def test_outcomes_are_correct_under_random_cuts(seed: int) -> None:
    """Rooms are linearizable, each message and hit counts once, and no rejected write was applied."""
    assert (await under_cuts(seed)).problems == []


@pytest.mark.parametrize("seed", range(1000, 1016))
async def test_outcomes_are_correct_under_every_fault(seed: int) -> None:
    """The same holds for two processes while 40 faults of all kinds are injected."""
    done = await soak(40, seed=seed)
    assert done.report.problems == []
    assert len(done.injected) == 12
