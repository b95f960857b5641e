"""The suite proves itself: each mistake is caught by the clauses meant for it."""

from __future__ import annotations

import pytest

from broken_stores import MISTAKES, Mistake
from broken_stores.case import reds


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda one: one.name)
def test_a_mistake_turns_its_clauses_red(mistake: Mistake) -> None:
    """A store with one mistake fails every clause that is meant for it."""
    assert reds(mistake, mistake.reds) == mistake.reds


def test_no_mistake_is_made_twice() -> None:
    """Every mistake has a name of its own."""
    names = [one.name for one in MISTAKES]
    assert len(names) == len(set(names)) > 100
