"""Every run of a plan: each choice is tried wherever it can be made, by running the plan again from its start."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from interleavings.judge import Judge
from interleavings.world import Plan, World

_LONGEST = 400
"""Choices of one run; more of them would be a store that never comes to an end."""


@dataclass
class Found:
    """What came of all runs of some plans.

    Attributes:
        runs: how many there were.
        problems: what was wrong, with the plan and the choices that lead there.
    """

    runs: int = 0
    problems: list[str] = field(default_factory=list[str])


def explore(plan: Plan) -> Found:
    """Try every run of a plan, up to the first that breaks a promise."""
    judge = Judge(plan)
    found = Found()
    path: list[int] = []
    while True:
        world, counts = _run(plan, path)
        found.runs += 1
        problems = judge.problems(world)
        if problems:
            names = [f"{operation.name} in {process}" for operation, process in plan.operations]
            log = " > ".join(world.log)
            results = [repr(call.outcome)[:300] for call in world.calls]
            found.problems.append(f"{'; '.join(problems)}\n  {names}, {plan.cache}\n  {log}\n  {results}")
            return found
        path = _next(path, counts)
        if not path:
            return found


def explore_all(plans: Iterable[Plan]) -> Found:
    """Try every run of some plans."""
    total = Found()
    for plan in plans:
        found = explore(plan)
        total.runs += found.runs
        total.problems += found.problems
    return total


def _run(plan: Plan, path: list[int]) -> tuple[World, list[int]]:
    """Run a plan, choosing as a path says and then always the first; return how many choices there were each time."""
    world = World(plan)
    counts: list[int] = []
    for place in _places():
        choices = world.choices()
        if not choices:
            return world, counts
        counts.append(len(choices))
        world.run(choices[path[place] if place < len(path) else 0])
    world.problems.append("it comes to no end")
    return world, counts


def _places() -> Iterator[int]:
    return iter(range(_LONGEST))


def _next(path: list[int], counts: list[int]) -> list[int]:
    """Return the path after one, in depth-first order; an empty one when all were tried."""
    full = [*path, *[0] * (len(counts) - len(path))]
    while full and full[-1] + 1 >= counts[len(full) - 1]:
        full.pop()
    if full:
        full[-1] += 1
    return full
