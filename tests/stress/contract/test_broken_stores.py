"""Mutants fail no other clauses, and the state machine kills mutants of very different kinds."""

from __future__ import annotations

import pytest

from broken_stores import MUTANTS, Mutant
from broken_stores.case import failed_clauses
from wnc_store_contract import StoreContract, clauses_of
from wnc_store_contract.clauses.empty_rooms import EmptyRoomClauses
from wnc_store_contract.clauses.identity import IdentityClauses
from wnc_store_contract.clauses.isolation import IsolationClauses
from wnc_store_contract.clauses.races import RaceClauses
from wnc_store_contract.clauses.sizes import SizeClauses
from wnc_store_contract.clauses.ttls import TtlClauses
from wnc_store_contract.clauses.values import ValueClauses
from wnc_store_contract.memory import MemoryHarness

STATE_MACHINE = "test_any_sequence_of_operations"
BROAD = {STATE_MACHINE, "test_any_sequence_with_rooms_that_wait"}.union(
    *map(
        clauses_of,
        (EmptyRoomClauses, IdentityClauses, IsolationClauses, TtlClauses, ValueClauses, SizeClauses, RaceClauses),
    )
)
"""Clauses over all operations or values of a kind, and those that repeat joins and leaves in rooms that wait.

They fail on many mutants, which need not name them.
"""


def related_clauses(mutant: Mutant) -> set[str]:
    """Return all clauses. On fakeredis, which is slow, return those of the classes that have to kill the mutant."""
    if mutant.harness is MemoryHarness:
        return set(clauses_of(StoreContract))
    groups = [set(clauses_of(group)) for group in StoreContract.__bases__]
    return set[str]().union(*(group for group in groups if not mutant.killed_by.isdisjoint(group)))


@pytest.mark.exhaustive
@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_mutant_fails_no_other_clause(mutant: Mutant) -> None:
    """A mutant fails the clauses that must kill it and no others, except clauses over all of a kind."""
    assert failed_clauses(mutant, related_clauses(mutant) - BROAD) == mutant.killed_by - BROAD


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
