"""A quick form of the state machine for the contract tests of our own backends."""

from __future__ import annotations

import pytest
from hypothesis import settings


@pytest.fixture(autouse=True)
def _few_sequences(monkeypatch: pytest.MonkeyPatch) -> None:
    """Run ten sequences of operations; tests/stress/contract runs the shipped number."""
    from wnc_store_contract import statemachine  # noqa: PLC0415 - imported while pytest runs, so that its assertions are rewritten

    monkeypatch.setattr(statemachine, "SETTINGS", settings(statemachine.SETTINGS, max_examples=10))
