"""`wnc-store verify` with some clauses of the contract, where a test is about the report."""

from __future__ import annotations

from collections.abc import Container, Sequence

import pytest

from wnc_store_contract import Clause, clauses_of, verify


class _Few:
    """A pytest plugin that leaves only the clauses of some names."""

    def __init__(self, names: Container[str]) -> None:
        self._names = names

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Leave out the others."""
        items[:] = [item for item in items if item.name in self._names]


def few_clauses(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    """Have the contract consist of the clauses of these names."""
    whole = pytest.main

    def few(arguments: list[str], plugins: Sequence[object]) -> int | pytest.ExitCode:
        return whole(arguments, [*plugins, _Few(names)])

    def named(contract: type) -> dict[str, Clause]:
        return {name: clause for name, clause in clauses_of(contract).items() if name in names}

    monkeypatch.setattr(pytest, "main", few)
    monkeypatch.setattr(verify, "clauses_of", named)
