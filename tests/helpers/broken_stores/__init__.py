"""Mutants: stores with one defect each, and the clauses that must kill them.

Each mutant replaces one function of a backend and names every clause that fails because of it. The state machine and
the clauses over all of a kind detect many defects. They are named only by their own mutants: those of `identity`,
`isolation`, `ttls`, `values`, `sizes`, `races` and `sequences`.
"""

from broken_stores import (
    change_events,
    changes,
    chat,
    clients,
    empty_rooms,
    events,
    host_token,
    identity,
    isolation,
    lease_ttls,
    lifetime,
    limiters,
    listing,
    many_rooms,
    message_edits,
    races,
    room_codes,
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
    *host_token.MUTANTS,
    *rooms.MUTANTS,
    *empty_rooms.MUTANTS,
    *empty_rooms.REDIS_MUTANTS,
    *room_codes.MUTANTS,
    *store.MUTANTS,
    *listing.MUTANTS,
    *many_rooms.MUTANTS,
    *lifetime.MUTANTS,
    *chat.MUTANTS,
    *message_edits.MUTANTS,
    *message_edits.REDIS_MUTANTS,
    *events.MUTANTS,
    *events.DISCONNECTS,
    *change_events.MUTANTS,
    *change_events.UNSUPPORTED,
    *changes.MUTANTS,
    *limiters.MUTANTS,
    *lease_ttls.MUTANTS,
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
