"""Every run of something whose steps are chosen one by one: each choice is tried wherever it can be made."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol, TypeVar

Choice = tuple[str, Callable[[], None]]


class Run(Protocol):
    """A run whose next steps are chosen. Its possible steps depend only on the earlier choices."""

    def choices(self) -> Sequence[Choice]:
        """Return what may happen next, each by its name; nothing when all is over."""
        ...

    def take(self, choice: Choice) -> None:
        """Let it happen."""
        ...


R = TypeVar("R", bound=Run)


def every_run(begin: Callable[[], R], is_new: Callable[[R], bool] = lambda _: True) -> Iterator[R]:
    """Yield each run that is over, in depth-first order; one that comes into a state that is not new is given up."""
    waiting: list[list[int]] = [[]]
    while waiting:
        path = waiting.pop()
        run = begin()
        for number in path:
            run.take(run.choices()[number])
        while is_new(run):
            choices = run.choices()
            if not choices:
                yield run
                break
            waiting += [[*path, number] for number in range(len(choices) - 1, 0, -1)]
            path.append(0)
            run.take(choices[0])
