"""The suite proves itself: no clause turns red for a mistake that is another's, and the state machine sees many."""

from __future__ import annotations

import pytest
from hypothesis import Phase, settings

from broken_stores import MUTANTS, Mutant
from broken_stores.case import reds
from wnc_store_contract import StoreContract, clauses_of, statemachine

NET = "test_any_sequence_of_operations"


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda one: one.name)
def test_a_mistake_turns_no_other_clause_red(mutant: Mutant) -> None:
    """A store with one mistake fails the clauses meant for it, and no other."""
    assert reds(mutant, set(clauses_of(StoreContract)) - {NET}) == mutant.reds


CAUGHT_BY_THE_NET = {
    "19 messages are kept",
    "the last becomes host",
    "a rejoin keeps its place",
    "dead rooms are listed",
    "an empty room is kept",
}


@pytest.mark.parametrize("name", sorted(CAUGHT_BY_THE_NET))
def test_the_state_machine_catches_mistakes(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The state machine, which knows no clause, finds mistakes of very different kinds."""
    # Nobody reads the shortest sequence that shows them.
    monkeypatch.setattr(statemachine, "SETTINGS", settings(statemachine.SETTINGS, phases=[Phase.generate]))
    (mutant,) = (one for one in MUTANTS if one.name == name)
    assert reds(mutant, {NET}) == {NET}
