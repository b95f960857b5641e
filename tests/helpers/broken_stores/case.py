"""How clauses run on a broken store: without waiting for what never comes."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable
from typing import Any
from unittest.mock import patch

import pytest

from broken_stores.mutant import Mutant
from virtual_time import VirtualTimeLoop
from wnc_store_contract import Harness, StoreContract


class Case(StoreContract):
    """The contract on the harness of a mistake."""

    def __init__(self, mutant: Mutant) -> None:
        self.mutant = mutant

    def make_harness(self) -> Harness:
        """Return a new harness."""
        return self.mutant.harness()


def _run(main: Coroutine[Any, Any, None]) -> None:
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        runner.run(main)


def reds(mutant: Mutant, clauses: Iterable[str]) -> set[str]:
    """Return which of some clauses fail on a store with a mistake."""
    with mutant.made(), patch.object(asyncio, "run", _run):
        case = Case(mutant)
        return {name for name in clauses if is_red(case, name)}


def is_red(case: Case, name: str) -> bool:
    """Run one clause and return whether it failed."""
    try:
        getattr(case, name)()
    except pytest.skip.Exception:
        return False
    except (Exception, pytest.fail.Exception):  # noqa: BLE001 - whatever a broken store raises
        return True
    return False
