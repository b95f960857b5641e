"""Callers at work while something breaks at random: a few seeds; `tests/stress/faults` runs hundreds."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from chaos.load import SCENARIOS, under_load
from chaos.soak import soak
from wnc_store_redis import chat, limiters
from wnc_store_redis.scripts import APPEND, HIT
from wnc_store_redis.transport.executor import CommandExecutor

SEEDS = range(3)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("scenario", SCENARIOS)
async def test_callers_are_told_the_truth(scenario: str, seed: int) -> None:
    """Rooms are linearizable, each message and each hit is there once, and nothing that was refused has happened."""
    done = await under_load(scenario, seed)
    assert done.problems == []
    assert done.faults >= 3
    assert done.report.operations["ok"] > 100


async def test_processes_are_told_the_truth_under_every_fault() -> None:
    """The same holds for two processes while each kind of fault is injected once."""
    done = await soak(12, seed=1)
    assert done.report.problems == []
    assert len(done.injected) == 12
    assert done.report.operations["ok"] > 100


_FAILURE = CommandExecutor.to_store_error


def _sure(commands: CommandExecutor, error: BaseException, key: bytes, **_options: Any) -> Any:
    """Say of a write without an answer that it did not happen."""
    return _FAILURE(commands, error, key)


MISTAKES: dict[str, tuple[Any, str, Any, str]] = {
    "an unknown outcome is a failure": (CommandExecutor, "to_store_error", _sure, "refused"),
    "a hit is repeated": (limiters, "HIT", replace(HIT, idempotent=True), "counted"),
    "a repetition does not know its message": (
        chat,
        "APPEND",
        replace(APPEND, source=APPEND.source.replace(b"if is_kept or #similar > 2", b"if false")),
        "appended 2 times",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
async def test_a_mistake_is_found(monkeypatch: pytest.MonkeyPatch, mistake: str) -> None:
    """A store that makes one of these mistakes breaks a promise under the seeds that are tried here."""
    owner, name, wrong, sign = MISTAKES[mistake]
    monkeypatch.setattr(owner, name, wrong)
    problems = [problem for seed in SEEDS for problem in (await under_load("random cuts", seed)).problems]
    assert any(sign in problem for problem in problems)
