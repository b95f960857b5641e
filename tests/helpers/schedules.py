"""Every run of something whose steps are chosen one by one: each choice is tried wherever it can be made."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Generator, Hashable, Iterator, Sequence
from functools import partial
from typing import Any, Generic, Protocol, TypeVar

Choice = tuple[str, Callable[[], None]]


class Run(Protocol):
    """Something that goes on as it is told to; what it can do next depends only on what was chosen before."""

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


class Step:
    """Where another coroutine may come in between."""

    def __await__(self) -> Generator[None]:
        """Let the next choice decide who goes on."""
        yield


Operation = Coroutine[Any, Any, object]


class World(Protocol):
    """What coroutines share."""

    def state(self) -> Hashable:
        """Return all of it, and what each coroutine has seen: that and the code determine what happens next."""
        ...


W = TypeVar("W", bound=World)


class Interleaving(Generic[W]):
    """A run of coroutines, each of which awaits a `Step` before it touches what they share.

    Args:
        world: what they share.
        operations: begin a coroutine each.
        crashes: the numbers of those that may also end before any of their steps, one in a run.

    Attributes:
        dead: the numbers of those that ended so.
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
        """Return what determines how the run can go on."""
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
    """Run coroutines in every order of their steps, and check each end.

    Args:
        begin: makes a world, and the coroutines on it; always the same.
        check: is given the world when all have ended, and the numbers of those that died on the way.

    Returns:
        How many different states were seen.
    """
    seen: set[Hashable] = set()

    def is_new(run: Interleaving[W]) -> bool:
        before = len(seen)
        seen.add(run.state())
        return len(seen) > before

    for run in every_run(begin, is_new):
        check(run.world, run.dead)
    return len(seen)
