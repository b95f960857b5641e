"""What a mistake is, and how a module collects its mistakes."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, TypeVar
from unittest.mock import patch

from wnc_store_contract import Harness
from wnc_store_contract.memory import MemoryHarness

Place = tuple[object, str]
FunctionT = TypeVar("FunctionT", bound=Callable[..., Any])


@dataclass(frozen=True)
class Mutant:
    """A broken function in the place of a right one.

    Attributes:
        name: what is wrong, in words; unique.
        place: the module or class of the right function, and its name there.
        reds: the clauses that it turns red.
        harness: makes the stores that have the mistake.
    """

    name: str
    place: Place
    broken: object
    reds: frozenset[str]
    harness: Callable[[], Harness]

    def made(self) -> AbstractContextManager[object]:
        """Return a context in which the mistake is made."""
        return patch.object(*self.place, self.broken)


class Mistakes(list[Mutant]):
    """The mistakes of a module, all found by one harness."""

    def __init__(self, harness: Callable[[], Harness] = MemoryHarness) -> None:
        super().__init__()
        self._harness = harness

    def breaks(self, place: Place, *reds: str, name: str | None = None) -> Callable[[FunctionT], FunctionT]:
        """Collect the decorated function as a mistake.

        Args:
            place: where it goes.
            reds: the clauses that it turns red, without their `test_`.
            name: of the mistake; the function's, in words, if left out.
        """

        def collect(broken: FunctionT) -> FunctionT:
            words = name or broken.__name__.replace("_", " ")
            self.append(Mutant(words, place, broken, frozenset(f"test_{one}" for one in reds), self._harness))
            return broken

        return collect
