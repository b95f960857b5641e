"""Stores with one mistake each, and the clauses that must catch it.

Each mistake breaks a rule or a primitive of a backend of ours, and names every clause that it turns red; the state
machine, a net for everything, is left out of that.
"""

from broken_stores import chat, clients, events, guards, lifetime, limits, listing, rooms, rules, store, text, wire
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
    *events.CUTS,
    *events.SILENT,
    *guards.MUTANTS,
    *limits.MUTANTS,
    *wire.MUTANTS,
    *clients.MUTANTS,
    *text.MUTANTS,
]
