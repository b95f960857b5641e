"""Every interleaving of several operations, each a coroutine that awaits a `Step` before it touches what they share."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Coroutine, Generator, Hashable, Sequence
from typing import Any, Protocol


class Step:
    """Where another operation may come in between."""

    def __await__(self) -> Generator[None]:
        """Let the scheduler choose who goes on."""
        yield


class World(Protocol):
    """What the operations share."""

    def state(self) -> Hashable:
        """Return all of it."""
        ...

    def history(self) -> Hashable:
        """Return what each operation has seen so far: that and the code determine what it does next."""
        ...


Operation = Coroutine[Any, Any, object]
Run = tuple[World, Sequence[Operation]]


def explore(
    begin: Callable[[], Run], check: Callable[[World, Sequence[int]], None], crashes: Sequence[int] = ()
) -> int:
    """Run operations in every order of their steps, and check each end.

    Args:
        begin: makes a world, and the operations on it; always the same.
        check: is given the world when all have ended, and the numbers of those that died on the way.
        crashes: the numbers of operations that may also end before any of their steps.

    Returns:
        How many different states were seen.
    """
    seen: set[Hashable] = set()
    waiting: list[tuple[int, ...]] = [()]
    while waiting:
        schedule = waiting.pop()
        world, runnable, dead = _replay(begin, schedule)
        taken = tuple(sorted(Counter(schedule).items()))
        state = (world.state(), world.history(), taken, tuple(runnable), tuple(dead))
        if state in seen:
            continue
        seen.add(state)
        if not runnable:
            check(world, dead)
        waiting += [(*schedule, number) for number in runnable]
        waiting += [(*schedule, -1 - number) for number in runnable if number in crashes and not dead]
    return len(seen)


def _replay(begin: Callable[[], Run], schedule: Sequence[int]) -> tuple[World, list[int], list[int]]:
    """Take the steps of a schedule, where -1 - n stands for the death of n; return who can go on, and who died."""
    world, operations = begin()
    runnable, dead = list(range(len(operations))), list[int]()
    for choice in schedule:
        if choice < 0:
            dead.append(-1 - choice)
            runnable.remove(-1 - choice)
            continue
        try:
            operations[choice].send(None)
        except StopIteration:
            runnable.remove(choice)
    for operation in operations:
        operation.close()
    return world, runnable, dead
