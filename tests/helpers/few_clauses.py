"""`wnc-store verify` with a few clauses of the contract, where a test is about the report."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from wnc_store_contract import Clause, clauses_of, verify


def few_clauses(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    """Have the contract consist of the clauses of these names."""
    whole = pytest.main

    def few(arguments: Sequence[str], plugins: Sequence[object]) -> int | pytest.ExitCode:
        return whole([*arguments, "-k", " or ".join(names)], plugins)

    def named(contract: type) -> dict[str, Clause]:
        return {name: clause for name, clause in clauses_of(contract).items() if name in names}

    monkeypatch.setattr(pytest, "main", few)
    monkeypatch.setattr(verify, "clauses_of", named)
