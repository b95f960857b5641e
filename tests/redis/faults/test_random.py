"""Random faults under load with one seed for each kind of load. `tests/stress/faults` runs hundreds."""

from __future__ import annotations

import pytest

from chaos.random_faults import KINDS, MODES, under_faults
from chaos.soak import soak


@pytest.mark.parametrize(
    ("kind", "mode"), [(kind, list(MODES)[number % len(MODES)]) for number, kind in enumerate(KINDS)]
)
async def test_outcomes_are_correct_under_random_faults(kind: str, mode: str) -> None:
    """Each result, error and event is true, and each write is applied at most once."""
    problems, done = await under_faults(kind, mode, seed=1)
    assert problems == []
    assert done > 10


async def test_outcomes_are_correct_under_every_fault() -> None:
    """The same holds for two processes while each kind of fault is injected once."""
    done = await soak(12, seed=1)
    assert done.report.problems == []
    assert len(done.injected) == 12
    assert done.report.operations["ok"] > 100
