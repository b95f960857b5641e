"""The contract in its quick form."""

from __future__ import annotations

import pytest
from hypothesis import settings


@pytest.fixture(autouse=True)
def _few_sequences(monkeypatch: pytest.MonkeyPatch) -> None:
    """Try ten sequences of operations; tests/stress/contract tries as many as a stranger does."""
    from wnc_store_contract import statemachine  # noqa: PLC0415 - pytest rewrites its assertions when it is imported

    monkeypatch.setattr(statemachine, "SETTINGS", settings(statemachine.SETTINGS, max_examples=10))
