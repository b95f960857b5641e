"""Mutants fail no other clauses, and the state machine kills mutants of very different kinds."""

from __future__ import annotations

import pytest

from broken_stores import MUTANTS, Mutant
from broken_stores.case import failed_clauses
from wnc_store_contract import StoreContract, clauses_of

STATE_MACHINE = "test_any_sequence_of_operations"


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_mutant_fails_no_other_clause(mutant: Mutant) -> None:
    """A mutant fails the clauses that must kill it and no others."""
    others = set(clauses_of(StoreContract)) - {STATE_MACHINE}
    assert failed_clauses(mutant, others) == mutant.killed_by - {STATE_MACHINE}


KILLED_BY_STATE_MACHINE = {
    "19 messages are kept",
    "the last user becomes host",
    "a rejoin keeps the position",
    "expired rooms are listed",
    "an empty room is kept",
}


@pytest.mark.parametrize("name", sorted(KILLED_BY_STATE_MACHINE))
def test_the_state_machine_kills_mutants(name: str) -> None:
    """The state machine kills mutants of very different kinds."""
    (mutant,) = (mutant for mutant in MUTANTS if mutant.name == name)
    assert failed_clauses(mutant, {STATE_MACHINE}) == {STATE_MACHINE}
