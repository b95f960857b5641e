"""The suite proves itself: each mistake is caught by the clauses meant for it, and by no other."""

from __future__ import annotations

import pytest

from broken_stores import MISTAKES, Mistake
from wnc_store_contract import Harness, StoreContract, clauses_of
from wnc_store_contract.clauses import cancellation, events, store

NET = "test_any_sequence_of_operations"


class Case(StoreContract):
    """A contract on whatever harness a mistake needs."""

    def __init__(self, mistake: Mistake) -> None:
        self.mistake = mistake

    def make_harness(self) -> Harness:
        """Return a new harness."""
        return self.mistake.harness()


def is_red(case: Case, name: str) -> bool:
    """Run one clause and tell whether it failed."""
    try:
        getattr(case, name)()
    except pytest.skip.Exception:
        return False
    except (Exception, pytest.fail.Exception):  # noqa: BLE001 - whatever a broken store raises
        return True
    return False


@pytest.fixture(autouse=True)
def _impatience(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a broken store never tells is waited for, but not for long."""
    monkeypatch.setattr(events, "SILENCE", 1)
    monkeypatch.setattr(store, "PATIENCE", 1)
    monkeypatch.setattr(cancellation, "PATIENCE", 1)


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda one: one.name)
def test_a_mistake_turns_its_clauses_red(mistake: Mistake) -> None:
    """A store with one mistake fails the clauses meant for it, and no other."""
    with mistake.made():
        reds = {name for name in clauses_of(StoreContract) if name != NET and is_red(Case(mistake), name)}
    assert reds == mistake.reds


CAUGHT_BY_THE_NET = {
    "19 messages are kept",
    "the last becomes host",
    "a rejoin keeps its place",
    "dead rooms are listed",
    "an empty room is kept",
}


@pytest.mark.parametrize(
    "mistake", [one for one in MISTAKES if one.name in CAUGHT_BY_THE_NET], ids=lambda one: one.name
)
def test_the_state_machine_catches_mistakes(mistake: Mistake) -> None:
    """The state machine, which knows no clause, finds mistakes of very different kinds."""
    with mistake.made():
        assert is_red(Case(mistake), NET)


def test_no_mistake_is_made_twice() -> None:
    """Every mistake has a name of its own, and the state machine's are among them."""
    names = [one.name for one in MISTAKES]
    assert len(names) == len(set(names)) >= 20
    assert set(names) >= CAUGHT_BY_THE_NET
