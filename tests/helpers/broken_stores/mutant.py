"""A mutant, and the list to which a module adds its mutants."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Any, TypeVar
from unittest.mock import patch

from wnc_store_contract import Harness
from wnc_store_contract.memory import MemoryHarness
from wnc_store_redis.transport.executor import Script

Target = tuple[object, str]
FunctionT = TypeVar("FunctionT", bound=Callable[..., Any])


@dataclass(frozen=True)
class Mutant:
    """A broken function and the function that it replaces.

    Attributes:
        name: The defect, in words; unique.
        target: The module or class of the replaced function, and the function's name.
        broken: The broken function, or another broken value.
        killed_by: The clauses that must fail.
        harness: Makes a harness whose stores use the function.
    """

    name: str
    target: Target
    broken: object
    killed_by: frozenset[str]
    harness: Callable[[], Harness]

    def applied(self) -> AbstractContextManager[object]:
        """Return a context in which the function is replaced."""
        return patch.object(*self.target, self.broken)


class Mutants(list[Mutant]):
    """The mutants of a module, all run on the same harness."""

    def __init__(self, harness: Callable[[], Harness] = MemoryHarness) -> None:
        super().__init__()
        self._harness = harness

    def breaks(self, target: Target, *killed_by: str, name: str | None = None) -> Callable[[FunctionT], FunctionT]:
        """Add the decorated function as a mutant.

        Args:
            target: The replaced function: its module or class, and its name.
            killed_by: The clauses that must fail, without their `test_`.
            name: The name of the mutant; by default the name of the function, in words.
        """

        def collect(broken: FunctionT) -> FunctionT:
            words = name or broken.__name__.replace("_", " ")
            clauses = frozenset(f"test_{clause}" for clause in killed_by)
            self.append(Mutant(words, target, broken, clauses, self._harness))
            return broken

        return collect

    def breaks_script(self, name: str, target: Target, old: str, new: str, *killed_by: str) -> None:
        """Add a mutant of a Lua script, in whose source `new` replaces `old`, which must occur. See `breaks`."""
        script: Script[Any] = getattr(*target)
        source = script.source.decode()
        assert old in source
        broken = replace(script, source=source.replace(old, new).encode())
        self.append(Mutant(name, target, broken, frozenset(f"test_{clause}" for clause in killed_by), self._harness))
