"""Fault injection for connections and servers, and checkers of what the store reported."""
