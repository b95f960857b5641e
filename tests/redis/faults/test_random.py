"""Random faults under load with a few seeds. `tests/stress/faults` runs hundreds."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import pytest

from chaos.load import under_cuts
from chaos.soak import soak
from wnc_store_redis import chat, limiters
from wnc_store_redis.scripts import APPEND, HIT


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


_RECOGNIZED = b"if is_present or #similar > 1"
assert _RECOGNIZED in APPEND.source

MUTANTS: dict[str, tuple[Any, str, Any, str]] = {
    "a hit is retried": (limiters, "HIT", replace(HIT, idempotent=True), "counted"),
    "a retry does not recognize its message": (
        chat,
        "APPEND",
        replace(APPEND, source=APPEND.source.replace(_RECOGNIZED, b"if false")),
        "added 2 times",
    ),
}


@pytest.mark.parametrize("mutant", MUTANTS)
async def test_a_mutant_is_detected(monkeypatch: pytest.MonkeyPatch, mutant: str) -> None:
    """A store with one of these mutations violates a guarantee with these seeds."""
    owner, name, wrong, sign = MUTANTS[mutant]
    monkeypatch.setattr(owner, name, wrong)
    for seed in itertools.count():  # how a network cuts data into packets is not decided by the seed
        problems = (await under_cuts(seed)).problems
        if any(sign in problem for problem in problems):
            break
