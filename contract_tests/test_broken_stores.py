"""The clauses that must kill each mutant do so."""

from __future__ import annotations

import pytest

from broken_stores import MUTANTS, Mutant
from broken_stores.case import failed_clauses


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_mutant_is_killed_by_its_clauses(mutant: Mutant) -> None:
    """A mutant fails every clause that must kill it."""
    assert failed_clauses(mutant, mutant.killed_by) == mutant.killed_by


def test_mutant_names_are_unique() -> None:
    """No two mutants have the same name."""
    names = [mutant.name for mutant in MUTANTS]
    assert len(names) == len(set(names)) > 100
