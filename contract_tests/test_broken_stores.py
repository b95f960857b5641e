"""The suite proves itself: each mistake is caught by the clauses meant for it."""

from __future__ import annotations

import pytest

from broken_stores import MUTANTS, Mutant
from broken_stores.case import reds


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda one: one.name)
def test_a_mistake_turns_its_clauses_red(mutant: Mutant) -> None:
    """A store with one mistake fails every clause that is meant for it."""
    assert reds(mutant, mutant.reds) == mutant.reds


def test_no_mistake_is_made_twice() -> None:
    """Every mistake has a name of its own."""
    names = [one.name for one in MUTANTS]
    assert len(names) == len(set(names)) > 100
