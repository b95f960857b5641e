"""Processes at work under faults: everything that callers were told is true."""

from __future__ import annotations

from chaos.soak import soak


async def test_callers_are_told_the_truth_under_faults() -> None:
    """Under every fault at least one time, two processes see linearizable rooms and each message and hit once."""
    done = await soak(3.5, seed=1)
    assert done.report.problems == [], str(done)
    assert len(done.injected) >= 10, str(done)
    assert done.report.operations["ok"] > 100, str(done)
    assert done.recoveries, str(done)
