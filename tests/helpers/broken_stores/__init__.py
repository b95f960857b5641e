"""Mutants: stores with one defect each, and the clauses that must kill them.

Each mutant replaces one function of a backend and names every clause that fails because of it. The state machine and
the clauses over all of a kind detect many defects. They are named only by their own mutants: those of `identity`,
`isolation`, `ttls`, `values`, `sizes`, `races` and `sequences`.
"""

from broken_stores import (
    changes,
    chat,
    clients,
    events,
    identity,
    isolation,
    lifetime,
    limiters,
    listing,
    races,
    rooms,
    rules,
    sequences,
    size_limits,
    sizes,
    store,
    text,
    ttls,
    values,
    wire,
)
from broken_stores.mutant import Mutant

__all__ = ["MUTANTS", "Mutant"]

MUTANTS = [
    *rules.MUTANTS,
    *rooms.MUTANTS,
    *store.MUTANTS,
    *listing.MUTANTS,
    *lifetime.MUTANTS,
    *chat.MUTANTS,
    *events.MUTANTS,
    *changes.MUTANTS,
    *events.DISCONNECTS,
    *events.UNSUPPORTED,
    *limiters.MUTANTS,
    *size_limits.MUTANTS,
    *wire.MUTANTS,
    *clients.MUTANTS,
    *text.MUTANTS,
    *identity.MUTANTS,
    *isolation.MUTANTS,
    *ttls.MUTANTS,
    *values.MUTANTS,
    *sizes.MUTANTS,
    *races.MUTANTS,
    *sequences.MUTANTS,
]
