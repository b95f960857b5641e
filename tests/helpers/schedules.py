"""Every run of something whose steps are chosen one by one: each choice is tried wherever it can be made."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol, TypeVar

Choice = tuple[str, *tuple[int, ...]]
"""The name of a step and its arguments. A choice of one run can be taken in another run after the same choices."""


class Run(Protocol):
    """A run whose next steps are chosen. Its possible steps depend only on the earlier choices."""

    def choices(self) -> Sequence[Choice]:
        """Return the possible next steps, or nothing at the end of the run."""
        ...

    def take(self, choice: Choice) -> None:
        """Take a step."""
        ...


R = TypeVar("R", bound=Run)


def every_run(begin: Callable[[], R]) -> Iterator[R]:
    """Yield each run at its end, in depth-first order."""
    waiting: list[list[Choice]] = [[]]
    while waiting:
        path = waiting.pop()
        run = begin()
        for choice in path:
            run.take(choice)
        while choices := run.choices():
            waiting += [[*path, choice] for choice in choices[:0:-1]]
            path.append(choices[0])
            run.take(choices[0])
        yield run
