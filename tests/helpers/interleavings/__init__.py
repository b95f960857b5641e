"""Exhaustive tests of every order in which a few operations can reach a server; see `schedules`."""
