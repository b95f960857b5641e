"""Search for an order of a key's operations that explains all results (Wing and Gong's linearizability check).

The order must agree with real time: an operation that ended before another began comes first. An operation with an
unknown outcome may have happened at any time after its start and before it is final, or never. Two facts keep the
search of a room short. Every result contains the room's `rev`, and the order must pass the states that the server
stored, if they are known, one after the other. Because a user joins only once, the users in a result also identify the
life of the room. So every result is a state that must be passed, and after every guess enough changes must be left to
reach the next one. In a chat, a read reveals which message comes before each message.

The search remembers the pairs (operations done, state) that it has tried, as the algorithms of Lowe and of Porcupine
do. A budget of steps limits the search.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from wnc_store_contract.faults.history import Operation, View, settled
from wnc_store_contract.faults.models import Model, RoomModel, State

_LEAST_BUDGET = 200_000
_STEPS_PER_OPERATION = 20
"""Steps per operation. Most operations take one, and clusters of changes with an unknown outcome take more."""


@dataclass(frozen=True)
class Verdict:
    """The result of a search.

    Attributes:
        problem: why the history is not linearizable, or that the budget was exceeded; None if it is linearizable.
        steps: number of steps of the search.
        is_exceeded: whether the budget was exceeded.
    """

    problem: str | None
    steps: int
    is_exceeded: bool = False


class _Node(NamedTuple):
    """A node of the search: the operations done so far, and the resulting state.

    Attributes:
        base: all operations with a known outcome before this index are done.
        done: bit set of the operations from `base` on that are done.
        guessed: bit set of the operations with an unknown outcome that are done.
        state: the resulting state of the room.
        written: number of states in the append-only file that have been passed.
    """

    base: int
    done: int
    guessed: int
    state: State
    written: int


def check_room(
    operations: Sequence[Operation], written: Sequence[View | None] | None = None, budget: int | None = None
) -> Verdict:
    """Search for an order that explains the history of a room.

    Args:
        operations: all operations on one room, which does not exist at first.
        written: the states that the server stored, if known. Several operations may lie between two states.
        budget: maximum number of steps. By default it depends on the length of the history.
    """
    return find_order(operations, RoomModel(operations, written), budget)


def find_order(operations: Sequence[Operation], model: Model, budget: int | None = None) -> Verdict:
    """Search for an order that explains the history of a key.

    Args:
        operations: all operations on one key.
        model: the rules of the key, made for these operations.
        budget: maximum number of steps. By default it depends on the length of the history.
    """
    if budget is None:
        budget = max(_LEAST_BUDGET, _STEPS_PER_OPERATION * len(operations))
    return _Search(operations, model, budget).run()


class _Search:
    def __init__(self, operations: Sequence[Operation], model: Model, budget: int) -> None:
        mine = settled(operations)
        self._model = model
        self._known = [one for one in mine if one.answer != "unknown"]
        unknown = ((one, model.similar(one)) for one in mine if one.answer == "unknown")
        self._unknown = [(one, same) for one, same in unknown if same is not None]
        self._written = model.written
        self._budget = budget

    def run(self) -> Verdict:
        steps = 0
        farthest = start = _Node(0, 0, 0, self._model.initial, 0)
        stack = [start]
        tried: dict[tuple[int, int, State, int], list[int]] = {}
        while stack:
            node = stack.pop()
            # A node with a superset of another node's guesses cannot succeed where that node failed.
            guesses = tried.setdefault((node.base, node.done, node.state, node.written), [])
            if any(fewer & node.guessed == fewer for fewer in guesses):
                continue
            guesses.append(node.guessed)
            if self._is_end(node):
                return Verdict(None, steps)
            if (node.written, node.base) > (farthest.written, farthest.base):
                farthest = node
            steps += 1
            if steps > self._budget:
                problem = f"the budget of {self._budget} steps was exceeded at {self._describe(farthest)}"
                return Verdict(problem, steps, is_exceeded=True)
            stack.extend(self._following(node))
        return Verdict(f"no order explains the history; the search ended at {self._describe(farthest)}", steps)

    def _is_end(self, node: _Node) -> bool:
        return node.base == len(self._known) and (self._written is None or node.written == len(self._written))

    def _following(self, node: _Node) -> list[_Node]:
        """Return the nodes to try next, the most promising one last."""
        candidates, earliest_end = self._candidates(node)
        returned: _Node | None = None
        fitting: list[_Node] = []
        unchanged: list[_Node] = []
        for index in candidates:
            operation = self._known[index]
            following = self._after(node, index)
            if following is None:
                continue
            # An operation that changes nothing wherever it is placed can be applied now if that excludes no change.
            if following.state == node.state and self._model.is_fixed(operation) and not self._excludes(node, index):
                return [following]
            if following.state == node.state:
                unchanged.append(following)
            # An operation that returned a room fits only one revision, because the written values are unique.
            elif isinstance(operation.result, View):
                returned = following
            fitting.append(following)
        return [*unchanged, returned] if returned else [*self._guesses(node, earliest_end), *fitting]

    def _after(self, node: _Node, index: int) -> _Node | None:
        """Return the node after an operation with a known outcome, or None if it cannot come next."""
        operation = self._known[index]
        state, answer, result = self._model.apply(node.state, operation)
        if (answer, result if answer == "ok" else None) != (operation.answer, operation.result):
            return None
        written = self._pass(node, state)
        if written is None:
            return None
        base, done = node.base, node.done | 1 << (index - node.base)
        while done & 1:
            base, done = base + 1, done >> 1
        return _Node(base, done, node.guessed, state, written)

    def _excludes(self, node: _Node, index: int) -> bool:
        """Return whether applying an operation now would exclude a change that may come before it.

        Changes with an unknown outcome that were final before the operation began can only come before it.
        """
        operation = self._known[index]
        if isinstance(operation.result, tuple) and operation.result:
            return False  # no state after another change has this result
        began = self._began(node)
        return any(
            began <= change.end < operation.start and not node.guessed >> number & 1
            for number, (change, _) in enumerate(self._unknown)
        )

    def _began(self, node: _Node) -> float:
        """Return when the operation began that began last among those that are done."""
        latest = node.base + node.done.bit_length() - 1
        return self._known[latest].start if latest >= 0 else 0

    def _guesses(self, node: _Node, earliest_end: float) -> Iterator[_Node]:
        """Yield the nodes after operations with an unknown outcome that may have happened by then."""
        began = self._began(node)
        # Of equivalent operations, trying the one that is final first is sufficient.
        first: dict[Hashable, tuple[float, int]] = {}
        for number, (operation, same) in enumerate(self._unknown):
            if operation.start > earliest_end:
                break
            if not node.guessed >> number & 1 and operation.end >= began:
                first[same] = min(first.get(same, (math.inf, number)), (operation.end, number))
        # Before a deletion, an intermediate state that no caller received and no user left makes no difference.
        ending = self._model.is_ending(node.state, node.written)
        for _, number in first.values():
            operation, _ = self._unknown[number]
            if ending and operation.kind not in {"leave", "delete"}:
                continue
            state, _, _ = self._model.apply(node.state, operation)
            written = self._pass(node, state)
            if state != node.state and written is not None:
                yield node._replace(guessed=node.guessed | 1 << number, state=state, written=written)

    def _candidates(self, node: _Node) -> tuple[list[int], float]:
        """Return the operations with a known outcome that may come next: those that began before another one ended."""
        found: list[int] = []
        earliest_end = float("inf")
        for index in range(node.base, len(self._known)):
            operation = self._known[index]
            if operation.start > earliest_end:
                break
            if not node.done >> (index - node.base) & 1:
                found.append(index)
                earliest_end = min(earliest_end, operation.end)
        return found, earliest_end

    def _pass(self, node: _Node, state: State) -> int | None:
        """Return the number of written states passed at `state`, or None if nothing can follow from it."""
        if state == node.state:
            return node.written
        if self._written is None:
            return None if self._model.is_astray(state, node.written) else node.written
        if node.written == len(self._written):
            return None
        target = self._written[node.written]
        if state == target:
            return node.written + 1
        # A group commit leaves several operations between two written states.
        is_between = isinstance(state, View) and not (isinstance(target, View) and state.rev >= target.rev)
        if not is_between or node.state is None or self._model.is_astray(state, node.written):
            return None
        return node.written

    def _describe(self, node: _Node) -> str:
        candidates, _ = self._candidates(node)
        waiting = ", ".join(map(_brief, (self._known[index] for index in candidates[:5])))
        target = ""
        if self._written is not None and node.written < len(self._written):
            target = f"; the file goes on with {self._written[node.written]}"
        return f"state {node.state}, operation {node.base} of {len(self._known)}: {waiting or 'all done'}{target}"


def _brief(operation: Operation) -> str:
    returned = operation.result if operation.answer == "ok" else operation.answer
    return f"{operation.client} {operation.kind}({operation.value!r}) -> {returned}"
