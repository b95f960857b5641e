"""Search for an order of a room's operations that explains all results (Wing and Gong's linearizability check).

The order must agree with real time: an operation that ended before another began comes first. An operation with an
unknown outcome may have happened at any time after its start, or never. Two facts keep the search short. Every result
contains the room's `rev`, and the order must pass the states in the server's append-only file one after the other.
Because a user joins only once, the users in a result also identify the life of the room. So every result is a state
that must be passed, and after every guess enough changes must be left to reach the next one.

The search remembers the pairs (operations done, state) that it has tried, as the algorithms of Lowe and of Porcupine
do. A budget of steps limits the search, and exceeding the budget is a failure.

The search assumes that operations write unique values: users, positions, URLs.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

from chaos.history import Answer, Operation, Result, View, settled

State = View | None

_LEAST_BUDGET = 200_000
_STEPS_PER_OPERATION = 20
"""Steps per operation. Most operations take one, and clusters of changes with an unknown outcome take more."""


@dataclass(frozen=True)
class Verdict:
    """The result of a search.

    Attributes:
        problem: why the history is not linearizable, or that the budget was exceeded; None if it is linearizable.
        steps: number of steps of the search.
    """

    problem: str | None
    steps: int


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


def apply(state: State, operation: Operation) -> tuple[State, Answer, Result]:
    """Return the state after an operation and the expected outcome, according to the rules of a room."""
    kind, value = operation.kind, operation.value
    if kind == "get":
        return state, "ok", state
    if kind == "delete":
        return None, "ok", state is not None
    if kind == "create":
        if state is not None:
            return state, "exists", None
        return View(1, str(value), (str(value),)), "ok", None
    if state is None:
        return None, "ok" if kind == "leave" else "not found", None
    after = _leave(state, str(value)) if kind == "leave" else _change(state, kind, value)
    return after, "ok", after


def _leave(state: View, user: str) -> State:
    if user not in state.users:
        return state
    users = tuple(one for one in state.users if one != user)
    if not users:
        return None
    return state._replace(rev=state.rev + 1, users=users, host=users[0] if state.host == user else state.host)


def _change(state: View, kind: str, value: str | float | None) -> View:
    changed = state._replace(rev=state.rev + 1)
    if kind == "join":
        return changed._replace(users=(*(user for user in state.users if user != value), str(value)))
    if kind == "video" and isinstance(value, float | int):
        return changed._replace(position=value)
    if kind == "edit":
        return changed._replace(url=str(value))
    message = f"unknown operation on a room: {kind!r}"
    raise ValueError(message)


def check_room(
    operations: Sequence[Operation], written: Sequence[State] | None = None, budget: int | None = None
) -> Verdict:
    """Search for an order that explains the history of a room.

    Args:
        operations: all operations on one room, which does not exist at first.
        written: the states that the server stored, if known. Several operations may lie between two states.
        budget: maximum number of steps. By default it depends on the length of the history.
    """
    if budget is None:
        budget = max(_LEAST_BUDGET, _STEPS_PER_OPERATION * len(operations))
    return _Search(operations, written, budget).run()


class _Search:
    def __init__(self, operations: Sequence[Operation], written: Sequence[State] | None, budget: int) -> None:
        mine = settled(operations)
        self._known = [one for one in mine if one.answer != "unknown"]
        self._unknown = [one for one in mine if one.answer == "unknown" and one.kind != "get"]
        self._written = None if written is None else _changes(written)
        returned = [known.result for known in self._known if isinstance(known.result, View)]
        self._shown = {one for state in (*returned, *(self._written or ())) if state for one in _shown(state)}
        self._lives = _Lives(self._written or (), returned)
        self._budget = budget

    def run(self) -> Verdict:
        steps = 0
        farthest = start = _Node(0, 0, 0, None, 0)
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
                return Verdict(f"the budget of {self._budget} steps was exceeded at {self._describe(farthest)}", steps)
            stack.extend(self._following(node))
        return Verdict(f"no order explains the history; the search ended at {self._describe(farthest)}", steps)

    def _is_end(self, node: _Node) -> bool:
        return node.base == len(self._known) and (self._written is None or node.written == len(self._written))

    def _following(self, node: _Node) -> list[_Node]:
        """Return the nodes to try next, the most promising one last."""
        candidates, earliest_end = self._candidates(node)
        returned: _Node | None = None
        fitting: list[_Node] = []
        for index in candidates:
            operation = self._known[index]
            following = self._after(node, index)
            if following is None:
                continue
            # An operation that changes nothing can be applied now. Exception: a leave that finds no room is ambiguous,
            # because the user may have been the last one, or the room may not have existed.
            if following.state == node.state and (operation.kind, operation.result) != ("leave", None):
                return [following]
            # An operation that returned a room fits only one revision, because the written values are unique.
            if isinstance(operation.result, View):
                returned = following
            fitting.append(following)
        return [returned] if returned else [*self._guesses(node, earliest_end), *fitting]

    def _after(self, node: _Node, index: int) -> _Node | None:
        """Return the node after an operation with a known outcome, or None if it cannot come next."""
        operation = self._known[index]
        state, answer, result = apply(node.state, operation)
        if (answer, result if answer == "ok" else None) != (operation.answer, operation.result):
            return None
        written = self._pass(node, state)
        if written is None:
            return None
        base, done = node.base, node.done | 1 << (index - node.base)
        while done & 1:
            base, done = base + 1, done >> 1
        return _Node(base, done, node.guessed, state, written)

    def _guesses(self, node: _Node, earliest_end: float) -> Iterator[_Node]:
        """Yield the nodes after operations with an unknown outcome that may have happened by then."""
        alike: set[tuple[str, str | float | None]] = set()
        # Before a deletion, an intermediate state that no caller received and no user left makes no difference.
        ending = self._written is not None and self._written[node.written : node.written + 1] == [None]
        ending = ending and (node.state is None or self._lives.next(node.written, node.state.rev + 1) is None)
        for number, operation in enumerate(self._unknown):
            if operation.start > earliest_end:
                return
            same = (operation.kind, operation.value)
            if operation.kind in {"video", "edit"} and same not in self._shown:
                same = (operation.kind, None)  # the value was overwritten before a caller received it
            if node.guessed >> number & 1 or same in alike:
                continue
            alike.add(same)  # of two equivalent operations, trying the earlier one is sufficient
            if ending and operation.kind not in {"leave", "delete"}:
                continue
            state, _, _ = apply(node.state, operation)
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
        """Return the number of written states passed at `state`, or None if it skips the next written state."""
        if self._written is None or state == node.state:
            return node.written
        if node.written == len(self._written):
            return None
        target = self._written[node.written]
        if state == target:
            return node.written + 1
        if state is None or (target is not None and state.rev >= target.rev):
            return None
        if node.state is None or self._lives.is_astray(node.written, state):
            return None
        return node.written  # a group commit leaves several operations between two written states

    def _describe(self, node: _Node) -> str:
        candidates, _ = self._candidates(node)
        waiting = ", ".join(map(_brief, (self._known[index] for index in candidates[:5])))
        target = ""
        if self._written is not None and node.written < len(self._written):
            target = f"; the file goes on with {self._written[node.written]}"
        return f"state {node.state}, operation {node.base} of {len(self._known)}: {waiting or 'all done'}{target}"


class _Lives:
    """The known states of each life of a room: those that were written or returned to a caller.

    Args:
        written: the written states.
        returned: the states that callers received.
    """

    def __init__(self, written: Sequence[State], returned: Sequence[View]) -> None:
        self._of_place: list[int] = []
        life_of_user: dict[str, int] = {}
        for place, state in enumerate(written):
            begins = state is not None and (place == 0 or written[place - 1] is None)
            self._of_place.append((self._of_place[-1] if self._of_place else -1) + begins)
            for user in state.users if state else ():
                life_of_user[user] = self._of_place[-1]
        states = [(life, state) for life, state in zip(self._of_place, written, strict=True) if state]
        for view in returned:
            life = next((life_of_user[user] for user in view.users if user in life_of_user), None)
            if life is not None:
                states.append((life, view))
        self._known: dict[int, list[View]] = defaultdict(list)
        for life, view in sorted(states, key=lambda one: one[1].rev):
            self._known[life].append(view)

    def next(self, place: int, rev: int) -> View | None:
        """Return the first known state with that `rev` or a later one, in the same life as a written state."""
        known = self._known[self._of_place[place]]
        found = bisect_left(known, rev, key=lambda one: one.rev)
        return known[found] if found < len(known) else None

    def is_astray(self, place: int, state: View) -> bool:
        """Return whether fewer changes are left than the next known state requires."""
        target = self.next(place, state.rev)
        return target is not None and _distance(state, target) > target.rev - state.rev


def _distance(state: View, target: View) -> int:
    """Return the minimum number of changes from one state to another."""
    moved = len(set(state.users) ^ set(target.users))
    return moved + (state.position != target.position) + (state.url != target.url) or state != target


def _shown(state: View) -> set[tuple[str, str | float | None]]:
    """Return the kinds and values of the operations that are visible in a state."""
    return {("video", state.position), ("edit", state.url), *(("join", user) for user in state.users)}


def _brief(operation: Operation) -> str:
    returned = operation.result if operation.answer == "ok" else operation.answer
    return f"{operation.client} {operation.kind}({operation.value!r}) -> {returned}"


def _changes(written: Sequence[State]) -> list[State]:
    """Return the states without consecutive duplicates. The history starts without a room."""
    return [after for before, after in pairwise([None, *written]) if before != after]
