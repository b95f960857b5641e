"""The suite proves itself: no clause turns red for a mistake that is another's, and the state machine sees many."""

from __future__ import annotations

import pytest
from hypothesis import Phase, settings

from broken_stores import MISTAKES, Mistake
from broken_stores.case import reds
from wnc_store_contract import StoreContract, clauses_of, statemachine

NET = "test_any_sequence_of_operations"


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda one: one.name)
def test_a_mistake_turns_no_other_clause_red(mistake: Mistake) -> None:
    """A store with one mistake fails the clauses meant for it, and no other."""
    assert reds(mistake, set(clauses_of(StoreContract)) - {NET}) == mistake.reds


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
    (mistake,) = (one for one in MISTAKES if one.name == name)
    assert reds(mistake, {NET}) == {NET}
