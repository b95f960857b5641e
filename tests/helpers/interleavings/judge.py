"""Checks of the runs of a plan."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import combinations, permutations
from typing import Any, NamedTuple

from interleavings.operations import Operation, State, told
from interleavings.process import Call
from interleavings.world import Plan, World
from schedules import every_run
from wnc_store import (
    ConflictError,
    OutcomeUnknownError,
    RoomExistsError,
    RoomNotFoundError,
    StoreUnavailableError,
    UserNotFoundError,
    to_wire,
)

_ANSWERS = (RoomExistsError, RoomNotFoundError, UserNotFoundError)


@dataclass
class Found:
    """The result of exploring a plan.

    Attributes:
        runs: number of runs.
        problems: each violation, with the plan and the choices that lead to it.
    """

    runs: int = 0
    problems: list[str] = field(default_factory=list[str])


def explore(plan: Plan) -> Found:
    """Run every schedule of a plan, until one violates a guarantee."""
    judge = Judge(plan)
    found = Found()
    for world in every_run(lambda: World(plan)):
        found.runs += 1
        if problems := judge.problems(world):
            names = [f"{operation.name} in {process}" for operation, process in plan.operations]
            log = " > ".join(" ".join(map(str, choice)) for choice in world.log)
            results = [repr(call.outcome)[:300] for call in world.calls]
            found.problems.append(f"{'; '.join(problems)}\n  {names}, {plan.cache}\n  {log}\n  {results}")
            break
    return found


class _After(NamedTuple):
    """The state after operations, their results, and what the server stores."""

    state: State
    results: tuple[Any, ...]
    stored: tuple[bytes | None, list[bytes]]


def _wire(state: State) -> tuple[bytes | None, list[bytes]]:
    return state.room and to_wire(state.room), [to_wire(one) for one in state.chat]


class Judge:
    """Checks runs of one plan."""

    def __init__(self, plan: Plan) -> None:
        self._operations: Sequence[Operation] = [operation for operation, _ in plan.operations]
        self._states: dict[tuple[int, ...], _After] = {(): _After(plan.before, (), _wire(plan.before))}

    def problems(self, world: World) -> list[str]:
        """Return the violations of a completed run, after one more call to each store."""
        found = list(world.problems)
        if found:
            return found
        happened: list[int] = []
        perhaps: list[int] = []
        for number, call in enumerate(world.calls):
            kind = self._kind(call, world)
            if kind == "yes":
                happened.append(number)
            elif kind == "perhaps":
                perhaps.append(number)
            elif kind != "no":
                found.append(kind)
        found += [
            f"{entry!r} was added {times} times"
            for entry, times in world.server.appended.items()
            if times > sum(one.fits([b"EVALSHA", b"", entry]) for one in self._operations)
        ]
        stored = world.stored()
        if not found and not self._is_explained(world, happened, perhaps, stored):
            found.append("no order of the operations explains the results and the stored data")
        return found or self._afterwards(world)

    def _kind(self, call: Call, world: World) -> str:
        """Return whether an operation happened: "yes", "no", "perhaps", or a problem with its outcome."""
        outcome = call.outcome
        if isinstance(outcome, asyncio.CancelledError):
            return "perhaps" if call.may_be_in(call.process.sent[: call.cancelled_after]) else "no"
        if isinstance(outcome, OutcomeUnknownError):
            was_lost = call.may_be_in(call.process.unanswered)
            return "perhaps" if was_lost else f"{call.operation.name}: the outcome is unknown, but no reply was lost"
        if isinstance(outcome, StoreUnavailableError | ConflictError):
            is_so = call.process.was_refused or world.time_was_lost
            return "no" if is_so else f"{call.operation.name}: {type(outcome).__name__}, but the server is reachable"
        if isinstance(outcome, BaseException) and not isinstance(outcome, _ANSWERS):
            return f"{call.operation.name}: {outcome!r}"
        return "yes"

    def _is_explained(
        self, world: World, happened: list[int], perhaps: list[int], stored: tuple[bytes | None, list[bytes]]
    ) -> bool:
        results = {number: told(world.calls[number].outcome) for number in happened}
        for order in self._orders(world, happened, perhaps):
            after = self._after(order)
            if after.stored == stored and all(
                after.results[place] == results[number] for place, number in enumerate(order) if number in results
            ):
                return True
        return False

    def _orders(self, world: World, happened: list[int], perhaps: list[int]) -> Iterator[tuple[int, ...]]:
        """Yield the orders that agree with real time: an operation that ended before another began comes first."""
        calls = world.calls
        for count in range(len(perhaps) + 1):
            for some in combinations(perhaps, count):
                for order in permutations([*happened, *some]):
                    pairs = combinations(order, 2)
                    if not any(b in happened and calls[b].ended < calls[a].began for a, b in pairs):
                        yield order

    def _after(self, order: tuple[int, ...]) -> _After:
        found = self._states.get(order)
        if found is None:
            before = self._after(order[:-1])
            state, result = self._operations[order[-1]].apply(before.state)
            found = self._states[order] = _After(state, (*before.results, told(result)), _wire(state))
        return found

    def _afterwards(self, world: World) -> list[str]:
        """Call every store once more. It must work and return the stored data."""
        stored = world.stored()
        for number, process in enumerate(world.processes):
            process.refusals = 0
            found = world.read(number)
            if found is not None and _wire(State(found[0], tuple(found[1]))) != stored:
                return ["afterwards, a store returns data that is not stored"]
            if process.is_committing or process.loop.problems:
                return [f"afterwards, the event loop has problems: {process.loop.problems}"]
            if process.loop.time() >= process.multiplexer._timeout and not world.time_was_lost:
                return ["a call waited for a timeout, but no reply was missing"]
        return world.problems
