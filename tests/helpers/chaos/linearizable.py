"""Whether there is one order of a room's operations that explains what every caller was told (Wing and Gong's search).

The order must agree with real time: what ended before something else began comes first. An operation of unknown outcome
may have happened at any time after its start, or never. Two things keep the search short: every result carries the
room's `rev`, and the states that the server's append-only file holds must be passed one after the other. Since a user
joins only once, a result's users tell which life of the room it is from, too: so every result is a state that must be
passed, and every guess has to leave enough changes to come to the next one.

What has been tried is remembered as (operations done, state), as in Lowe's and Porcupine's variants, so that no such
pair is tried twice; a budget of steps bounds the rest, and running out of it is a failure.

It takes for granted that the values which operations write are unique: users, positions, URLs.
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
"""Most take one; the rest is for places where many changes of unknown outcome meet."""


@dataclass(frozen=True)
class Verdict:
    """What a search found.

    Attributes:
        problem: why the history is not linearizable, or that the budget ran out; None if all is well.
        steps: how many steps the search took.
    """

    problem: str | None
    steps: int


class _Node(NamedTuple):
    """A point of the search: what has happened, and the state that it led to.

    Attributes:
        base: all operations of known outcome before this one have happened.
        done: which of those from `base` on have, as bits.
        guessed: which of those of unknown outcome have, as bits.
        state: the room by then.
        written: how many of the states in the append-only file have been passed.
    """

    base: int
    done: int
    guessed: int
    state: State
    written: int


def apply(state: State, operation: Operation) -> tuple[State, Answer, Result]:
    """Return the state after an operation, and what its caller is told: the rules of a room, on views."""
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
    message = f"no room has an operation {kind!r}"
    raise ValueError(message)


def check_room(
    operations: Sequence[Operation], written: Sequence[State] | None = None, budget: int | None = None
) -> Verdict:
    """Search for an order that explains a room's history.

    Args:
        operations: all operations of one room, which was not there before.
        written: the states that the server went through, where that is known. Several operations may lie between two.
        budget: how many steps the search may take; by default it grows with the history.
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
        told = [known.result for known in self._known if isinstance(known.result, View)]
        self._shown = {one for state in (*told, *(self._written or ())) if state for one in _shown(state)}
        self._lives = _Lives(self._written or (), told)
        self._budget = budget

    def run(self) -> Verdict:
        steps = 0
        farthest = start = _Node(0, 0, 0, None, 0)
        stack = [start]
        tried: dict[tuple[int, int, State, int], list[int]] = {}
        while stack:
            node = stack.pop()
            # A node that has guessed more than one that was tried, and got no further, can't do better.
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
                return Verdict(f"no verdict within {self._budget} steps; stuck at {self._describe(farthest)}", steps)
            stack.extend(self._following(node))
        return Verdict(f"no order explains it; none gets beyond {self._describe(farthest)}", steps)

    def _is_end(self, node: _Node) -> bool:
        return node.base == len(self._known) and (self._written is None or node.written == len(self._written))

    def _following(self, node: _Node) -> list[_Node]:
        """Return the nodes to try next, the best one last."""
        candidates, earliest_end = self._candidates(node)
        returned: _Node | None = None
        fitting: list[_Node] = []
        for index in candidates:
            operation = self._known[index]
            following = self._after(node, index)
            if following is None:
                continue
            # What changes nothing may as well come now. (To leave, and find no room afterwards, is ambiguous: the last
            # one may have left, or nobody was there.)
            if following.state == node.state and (operation.kind, operation.result) != ("leave", None):
                return [following]
            # What returned a room fits at one revision only, because the values that are written are unique.
            if isinstance(operation.result, View):
                returned = following
            fitting.append(following)
        return [returned] if returned else [*self._guesses(node, earliest_end), *fitting]

    def _after(self, node: _Node, index: int) -> _Node | None:
        """Return where an operation of known outcome leads; None if it can't come now."""
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
        """Yield where operations of unknown outcome lead that may have happened by now."""
        alike: set[tuple[str, str | float | None]] = set()
        # On the way to a deletion a state that nobody was told of, and that nobody left, makes no difference.
        ending = self._written is not None and self._written[node.written : node.written + 1] == [None]
        ending = ending and (node.state is None or self._lives.next(node.written, node.state.rev + 1) is None)
        for number, operation in enumerate(self._unknown):
            if operation.start > earliest_end:
                return
            same = (operation.kind, operation.value)
            if operation.kind in {"video", "edit"} and same not in self._shown:
                same = (operation.kind, None)  # it was overwritten before anybody saw it
            if node.guessed >> number & 1 or same in alike:
                continue
            alike.add(same)  # of two that do the same, the one that began first will do
            if ending and operation.kind not in {"leave", "delete"}:
                continue
            state, _, _ = apply(node.state, operation)
            written = self._pass(node, state)
            if state != node.state and written is not None:
                yield node._replace(guessed=node.guessed | 1 << number, state=state, written=written)

    def _candidates(self, node: _Node) -> tuple[list[int], float]:
        """Return the operations of known outcome that may come next: those that began before any other one ended."""
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
        """Return how many written states have been passed at `state`; None if it leads past the next one."""
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
        return node.written  # between two written states lie those of operations that were committed together

    def _describe(self, node: _Node) -> str:
        candidates, _ = self._candidates(node)
        waiting = ", ".join(map(_brief, (self._known[index] for index in candidates[:5])))
        target = ""
        if self._written is not None and node.written < len(self._written):
            target = f"; the file goes on with {self._written[node.written]}"
        return f"state {node.state}, operation {node.base} of {len(self._known)}: {waiting or 'all done'}{target}"


class _Lives:
    """The states of each life of a room that are known: written, or told to a caller.

    Args:
        written: the written states.
        told: the states that callers were told.
    """

    def __init__(self, written: Sequence[State], told: Sequence[View]) -> None:
        self._of_place: list[int] = []
        life_of_user: dict[str, int] = {}
        for place, state in enumerate(written):
            begins = state is not None and (place == 0 or written[place - 1] is None)
            self._of_place.append((self._of_place[-1] if self._of_place else -1) + begins)
            for user in state.users if state else ():
                life_of_user[user] = self._of_place[-1]
        states = [(life, state) for life, state in zip(self._of_place, written, strict=True) if state]
        for view in told:
            life = next((life_of_user[user] for user in view.users if user in life_of_user), None)
            if life is not None:
                states.append((life, view))
        self._known: dict[int, list[View]] = defaultdict(list)
        for life, view in sorted(states, key=lambda one: one[1].rev):
            self._known[life].append(view)

    def next(self, place: int, rev: int) -> View | None:
        """Return the first known state of that `rev` or a later one, in the life that a written state is of."""
        known = self._known[self._of_place[place]]
        found = bisect_left(known, rev, key=lambda one: one.rev)
        return known[found] if found < len(known) else None

    def is_astray(self, place: int, state: View) -> bool:
        """Tell whether too few changes are left from a state to the next known one."""
        target = self.next(place, state.rev)
        return target is not None and _distance(state, target) > target.rev - state.rev


def _distance(state: View, target: View) -> int:
    """Return how many changes it takes at least from one state to another."""
    moved = len(set(state.users) ^ set(target.users))
    return moved + (state.position != target.position) + (state.url != target.url) or state != target


def _shown(state: View) -> set[tuple[str, str | float | None]]:
    """Return the kinds of operations whose values a state shows, and the values."""
    return {("video", state.position), ("edit", state.url), *(("join", user) for user in state.users)}


def _brief(operation: Operation) -> str:
    told = operation.result if operation.answer == "ok" else operation.answer
    return f"{operation.client} {operation.kind}({operation.value!r}) -> {told}"


def _changes(written: Sequence[State]) -> list[State]:
    """Return the states without those that repeat the one before; at first there is no room."""
    return [after for before, after in pairwise([None, *written]) if before != after]
