"""Clauses run on a mutant, in virtual time: a clause that waits for a lost event ends at once."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import Phase, settings

from broken_stores.mutant import Mutant
from virtual_time import VirtualTimeLoop
from wnc_store_contract import Harness, StoreContract


class Case(StoreContract):
    """The contract on the harness of a mutant."""

    def __init__(self, mutant: Mutant) -> None:
        self.mutant = mutant

    def make_harness(self) -> Harness:
        """Return a new harness."""
        return self.mutant.harness()


def _run(main: Coroutine[Any, Any, None]) -> None:
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        runner.run(main)


def failed_clauses(mutant: Mutant, clauses: Iterable[str]) -> set[str]:
    """Return the clauses that fail on a mutant. The state machine runs the shipped number of sequences, unshrunk."""
    from wnc_store_contract import statemachine  # noqa: PLC0415 - imported while pytest runs, so that its assertions are rewritten

    unshrunk = settings(statemachine.SETTINGS, phases=[Phase.generate])
    with mutant.applied(), patch.object(asyncio, "run", _run), patch.object(statemachine, "SETTINGS", unshrunk):
        case = Case(mutant)
        return {name for name in clauses if fails(case, name)}


def fails(case: Case, name: str) -> bool:
    """Run one clause and return whether it failed."""
    try:
        getattr(case, name)()
    except pytest.skip.Exception:
        return False
    except (Exception, pytest.fail.Exception):  # noqa: BLE001 - a mutant may raise anything
        return True
    return False
