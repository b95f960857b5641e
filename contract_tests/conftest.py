"""A quick form of the state machine for the contract tests of our own backends."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def _use_few_sequences(few_sequences: None) -> None:
    """Run ten sequences of operations; tests/stress/contract runs the shipped number."""
