"""A restriction of `wnc-store verify` to some clauses, for tests of its report."""

from __future__ import annotations

from collections.abc import Container, Sequence

import pytest

from wnc_store_contract import Clause, clauses_of, verify


class _ClauseFilter:
    """A pytest plugin that deselects all clauses except the given ones."""

    def __init__(self, names: Container[str]) -> None:
        self._names = names

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Remove the other items."""
        items[:] = [item for item in items if item.name in self._names]


def few_clauses(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    """Restrict the contract to the given clauses."""
    pytest_main = pytest.main

    def filtered_main(arguments: list[str], plugins: Sequence[object]) -> int | pytest.ExitCode:
        return pytest_main(arguments, [*plugins, _ClauseFilter(names)])

    def filtered_clauses(contract: type) -> dict[str, Clause]:
        return {name: clause for name, clause in clauses_of(contract).items() if name in names}

    monkeypatch.setattr(pytest, "main", filtered_main)
    monkeypatch.setattr(verify, "clauses_of", filtered_clauses)
