"""Stores with one mistake each, and the clauses that must catch it.

Each mistake breaks a rule or a primitive of a backend of ours, and names every clause that it turns red; the state
machine, a net for everything, is left out of that.
"""

from broken_stores import chat, clients, events, guards, lifetime, limits, listing, rooms, rules, store, text, wire
from broken_stores.mutant import Mistake

__all__ = ["MISTAKES", "Mistake"]

MISTAKES = [
    *rules.MISTAKES,
    *rooms.MISTAKES,
    *store.MISTAKES,
    *listing.MISTAKES,
    *lifetime.MISTAKES,
    *chat.MISTAKES,
    *events.MISTAKES,
    *events.CUTS,
    *events.SILENT,
    *guards.MISTAKES,
    *limits.MISTAKES,
    *wire.MISTAKES,
    *clients.MISTAKES,
    *text.MISTAKES,
]
