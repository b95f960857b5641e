"""How clauses run on a broken store: without waiting for what never comes."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine, Iterable
from typing import Any
from unittest.mock import patch

import pytest

from broken_stores.mistake import Mistake
from wnc_store_contract import Harness, StoreContract


class Case(StoreContract):
    """The contract on the harness of a mistake."""

    def __init__(self, mistake: Mistake) -> None:
        self.mistake = mistake

    def make_harness(self) -> Harness:
        """Return a new harness."""
        return self.mistake.harness()


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """An event loop whose clock stands still while anything can run, and otherwise moves to the next timer at once.

    For stores in this process alone: nothing can come from outside while all tasks wait.
    """

    def __init__(self) -> None:
        self._now = 0.0
        super().__init__(_Selector(self))

    def time(self) -> float:
        """Return the virtual time in seconds."""
        return self._now

    def advance(self, seconds: float) -> None:
        """Move the clock."""
        self._now += seconds


class _Selector(selectors.DefaultSelector):
    def __init__(self, loop: VirtualTimeLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise RuntimeError("all tasks wait, and for no timer")
        ready = super().select(0)
        if not ready:
            self._loop.advance(timeout)
        return ready


def _run(main: Coroutine[Any, Any, None]) -> None:
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        runner.run(main)


def reds(mistake: Mistake, clauses: Iterable[str]) -> set[str]:
    """Return which of some clauses fail on a store with a mistake."""
    with mistake.made(), patch.object(asyncio, "run", _run):
        case = Case(mistake)
        return {name for name in clauses if is_red(case, name)}


def is_red(case: Case, name: str) -> bool:
    """Run one clause and return whether it failed."""
    try:
        getattr(case, name)()
    except pytest.skip.Exception:
        return False
    except (Exception, pytest.fail.Exception):  # noqa: BLE001 - whatever a broken store raises
        return True
    return False
