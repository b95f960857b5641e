"""`wnc-store verify` with a few clauses of the contract, where a test is about the report."""

from __future__ import annotations

from collections.abc import Sequence

import pytest


def few_clauses(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    """Have `verify` run only the clauses of these names."""
    whole = pytest.main

    def few(arguments: Sequence[str], plugins: Sequence[object]) -> int:
        return whole([*arguments, "-k", " or ".join(names)], plugins)

    monkeypatch.setattr(pytest, "main", few)
