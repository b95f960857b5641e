"""Exhaustive exploration of runs whose steps are chosen one by one."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Generator, Hashable, Iterator, Sequence
from functools import partial
from typing import Any, Generic, Protocol, TypeVar

Choice = tuple[str, Callable[[], None]]


class Run(Protocol):
    """A run that is controlled step by step. Its choices depend only on the choices before."""

    def choices(self) -> Sequence[Choice]:
        """Return the named choices for the next step, or nothing at the end of the run."""
        ...

    def take(self, choice: Choice) -> None:
        """Take a choice."""
        ...


R = TypeVar("R", bound=Run)


def every_run(begin: Callable[[], R], is_new: Callable[[R], bool] = lambda _: True) -> Iterator[R]:
    """Yield each completed run in depth-first order. Runs are abandoned when they reach a known state."""
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


class Step:
    """A point at which another coroutine can be scheduled."""

    def __await__(self) -> Generator[None]:
        """Suspend the coroutine until the next choice."""
        yield


Operation = Coroutine[Any, Any, object]


class World(Protocol):
    """The state that coroutines share."""

    def state(self) -> Hashable:
        """Return the complete state, including what each coroutine has read, which determines the rest of the run."""
        ...


W = TypeVar("W", bound=World)


class Interleaving(Generic[W]):
    """A run of coroutines that await a `Step` before each access to the shared state.

    Args:
        world: the shared state.
        operations: functions that create the coroutines.
        crashes: numbers of the coroutines that can crash before any of their steps, at most one per run.

    Attributes:
        dead: numbers of the coroutines that crashed.
    """

    def __init__(self, world: W, operations: Sequence[Callable[[], Operation]], crashes: Sequence[int] = ()) -> None:
        self.world = world
        self.dead: list[int] = []
        self._begin = operations
        self._crashes = crashes
        self._begun: dict[int, Operation] = {}
        self._taken = [0] * len(operations)
        self._runnable = list(range(len(operations)))

    def choices(self) -> list[Choice]:
        """See `Run.choices`."""
        steps = [(f"{number} goes on", partial(self._go_on, number)) for number in self._runnable]
        mortal = [] if self.dead else [number for number in self._runnable if number in self._crashes]
        return steps + [(f"{number} dies", partial(self._die, number)) for number in mortal]

    def take(self, choice: Choice) -> None:
        """See `Run.take`."""
        choice[1]()

    def state(self) -> Hashable:
        """Return the state that determines the rest of the run."""
        return self.world.state(), tuple(self._taken), tuple(self._runnable), tuple(self.dead)

    def _go_on(self, number: int) -> None:
        self._taken[number] += 1
        if number not in self._begun:
            self._begun[number] = self._begin[number]()
        try:
            self._begun[number].send(None)
        except StopIteration:
            self._runnable.remove(number)

    def _die(self, number: int) -> None:
        self.dead.append(number)
        self._runnable.remove(number)


def interleave(begin: Callable[[], Interleaving[W]], check: Callable[[W, Sequence[int]], None]) -> int:
    """Run coroutines in every order of their steps, and check each final state.

    Args:
        begin: creates a world and its coroutines, always in the same state.
        check: receives the final world and the numbers of the coroutines that crashed.

    Returns:
        The number of distinct states.
    """
    seen: set[Hashable] = set()

    def is_new(run: Interleaving[W]) -> bool:
        before = len(seen)
        seen.add(run.state())
        return len(seen) > before

    for run in every_run(begin, is_new):
        check(run.world, run.dead)
    return len(seen)
