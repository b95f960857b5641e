"""Sequential models of a room, a chat, a connection key and a rate limit, for the search of an order of calls."""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Hashable, Sequence
from itertools import pairwise
from typing import Any, Protocol, TypeVar

from wnc_store_contract.faults.history import READS, Answer, Operation, Result, View

State = View | tuple[str, ...] | frozenset[str] | int | None
Outcome = tuple[State, Answer, Result]
_S = TypeVar("_S")


class Model(Protocol):
    """The rules of one key, and what its history reveals about the order of the calls."""

    @property
    def initial(self) -> State:
        """The state before the first call."""
        ...

    @property
    def written(self) -> Sequence[State] | None:
        """The states that the server stored, if known, without consecutive duplicates."""
        ...

    def apply(self, state: Any, operation: Operation) -> Outcome:
        """Return the state after an operation and the expected outcome."""
        ...

    def is_astray(self, state: Any, place: int) -> bool:
        """Return whether no later result can follow from a state, when `place` written states have been passed."""
        ...

    def is_ending(self, state: Any, place: int) -> bool:
        """Return whether a written deletion comes next, and no known state before it."""
        ...

    def is_fixed(self, operation: Operation) -> bool:
        """Return whether the result of an operation proves whether it changed the state."""
        ...

    def similar(self, operation: Operation) -> Hashable:
        """Return a value that is equal for writes that no result distinguishes, or None if no result reveals it."""
        ...


class RoomModel:
    """A room. It assumes that operations write unique values: users, positions, URLs.

    Args:
        operations: all operations.
        written: the states that the server stored, if known.
    """

    initial = None

    def __init__(self, operations: Sequence[Operation], written: Sequence[View | None] | None = None) -> None:
        self.written = None if written is None else _changes(None, written)
        returned = [one.result for one in operations if isinstance(one.result, View) and one.answer == "ok"]
        self._shown = {one for state in (*returned, *(self.written or ())) if state for one in _shown(state)}
        self._lives = _Lives(self.written, returned)

    def apply(self, state: View | None, operation: Operation) -> Outcome:
        """Return the state after an operation and the expected outcome."""
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

    def is_astray(self, state: View | None, place: int) -> bool:
        """Return whether fewer changes are left than the next known state of this life requires."""
        target = None if state is None else self._lives.next(state, place, state.rev)
        return state is not None and target is not None and _distance(state, target) > target.rev - state.rev

    def is_ending(self, state: View | None, place: int) -> bool:
        """Return whether a written deletion comes next, and no known state before it."""
        if self.written is None or self.written[place : place + 1] != [None]:
            return False
        return state is None or self._lives.next(state, place, state.rev + 1) is None

    def is_fixed(self, operation: Operation) -> bool:
        """Return False for a leave that returned None: it deleted the room, or the room did not exist."""
        return (operation.kind, operation.result) != ("leave", None)

    def similar(self, operation: Operation) -> Hashable:
        """Return the kind and value; without the value if it was overwritten before a caller received it."""
        same = (operation.kind, operation.value)
        if operation.kind in READS:
            return None
        return (operation.kind, None) if operation.kind in {"video", "edit"} and same not in self._shown else same


def _leave(state: View, user: str) -> View | None:
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


class _Lives:
    """The known states of each life of a room: those that were written or returned to a caller.

    A user joins only once, so states that share a user belong to the same life.

    Args:
        written: the written states, if known.
        returned: the states that callers received.
    """

    def __init__(self, written: Sequence[View | None] | None, returned: Sequence[View]) -> None:
        self._of_place: list[int] = []
        self._of_user: dict[str, int] = {}
        for place, state in enumerate(written or ()):
            begins = state is not None and (place == 0 or (written or ())[place - 1] is None)
            self._of_place.append((self._of_place[-1] if self._of_place else -1) + begins)
            for user in state.users if state else ():
                self._of_user[user] = self._of_place[-1]
        if written is None:
            self._join(returned)
        self._known: dict[int, list[View]] = defaultdict(list)
        for view in sorted((*(state for state in written or () if state), *returned), key=lambda one: one.rev):
            life = self._life(view)
            if life is not None:
                self._known[life].append(view)

    def next(self, state: View, place: int, rev: int) -> View | None:
        """Return the first known state with that `rev` or a later one in the life of a state."""
        life = self._life(state) if not self._of_place else self._of_place[place]
        known = self._known[life] if life is not None else []
        found = bisect_left(known, rev, key=lambda one: one.rev)
        return known[found] if found < len(known) else None

    def _life(self, view: View) -> int | None:
        return next((self._of_user[user] for user in view.users if user in self._of_user), None)

    def _join(self, views: Sequence[View]) -> None:
        """Give the users of each connected group of states one number."""
        for number, view in enumerate(views):
            lives = {self._of_user[user] for user in view.users if user in self._of_user}
            for user, life in self._of_user.items():
                if life in lives:
                    self._of_user[user] = number
            self._of_user.update(dict.fromkeys(view.users, number))


def _distance(state: View, target: View) -> int:
    """Return the minimum number of changes from one state to another."""
    moved = len(set(state.users) ^ set(target.users))
    return moved + (state.position != target.position) + (state.url != target.url) or state != target


def _shown(state: View) -> set[tuple[str, str | float | None]]:
    """Return the kinds and values of the operations that are visible in a state."""
    return {("video", state.position), ("edit", state.url), *(("join", user) for user in state.users)}


def _changes(initial: _S, written: Sequence[_S]) -> list[_S]:
    """Return the states after the initial one, without consecutive duplicates."""
    return [after for before, after in pairwise([initial, *written]) if before != after]


class _KeyModel:
    """A key whose states contain no revision.

    Args:
        written: the states that the server stored, if known.
    """

    initial: State

    def __init__(self, written: Sequence[State] | None = None) -> None:
        self.written = None if written is None else _changes(self.initial, written)

    def is_astray(self, state: Any, place: int) -> bool:  # noqa: ARG002 - for subclasses
        """Return False: any state can be followed by any result."""
        return False

    def is_ending(self, state: Any, place: int) -> bool:  # noqa: ARG002 - see Model
        """Return False."""
        return False

    def is_fixed(self, operation: Operation) -> bool:
        """Return whether the operation is a read."""
        return operation.kind in READS

    def similar(self, operation: Operation) -> Hashable:
        """Return the kind and value of a write."""
        return None if operation.kind in READS else (operation.kind, operation.value)


class ChatModel(_KeyModel):
    """The ids of the kept messages, each followed by "=" and its text if it was corrected. One call adds each id.

    Args:
        operations: all operations.
        kept: the number of messages that are kept.
    """

    initial: State = ()

    def __init__(self, operations: Sequence[Operation], kept: int) -> None:
        super().__init__()
        self._kept = kept
        self._before: dict[str, str | None] = {}
        self._shown: set[str] = set()
        # Only messages that nobody removes keep their predecessors.
        self._removable = {str(one.value) for one in operations if one.kind == "remove" and one.answer != "refused"}
        for one in operations:
            if one.answer == "ok" and isinstance(one.result, tuple) and one.result:
                entries = tuple(map(str, one.result))
                self._shown.update(entries, map(_message_id, entries))
                ids = self._permanent(entries)
                self._before.update((after, before) for before, after in pairwise(ids))
                if len(entries) < kept and not self._removable:
                    self._before[ids[0]] = None
            elif one.kind in {"correct", "remove"} and one.answer == "ok" and one.result:
                self._shown.add(_message_id(str(one.value)))

    def apply(self, state: tuple[str, ...], operation: Operation) -> Outcome:
        """Return the messages after an operation and the expected outcome."""
        if operation.kind == "read":
            return state, "ok", state
        if operation.kind == "clear":
            return (), "ok", None
        if operation.kind in {"correct", "remove"}:
            entry = str(operation.value)
            changed = [entry] if operation.kind == "correct" else []
            found = [_message_id(one) == _message_id(entry) for one in state]
            after = (part for one, is_it in zip(state, found, strict=True) for part in (changed if is_it else [one]))
            return tuple(after), "ok", any(found)
        return (*state, str(operation.value))[-self._kept :], "ok", None

    def is_astray(self, state: tuple[str, ...], place: int) -> bool:  # noqa: ARG002 - see Model
        """Return whether the last message follows another message than a read returned before it."""
        ids = self._permanent(state)
        if not ids or ids[-1] not in self._before:
            return False
        return self._before[ids[-1]] != (ids[-2] if len(ids) > 1 else None)

    def is_fixed(self, operation: Operation) -> bool:
        """Return whether the operation is a read, or its result shows whether it has changed a message."""
        return operation.kind in {"correct", "remove"} or super().is_fixed(operation)

    def similar(self, operation: Operation) -> Hashable:
        """Return the kind and value of a write; None for a message or a text that no result shows."""
        if operation.kind in {"say", "correct"} and operation.value not in self._shown:
            return None
        return super().similar(operation)

    def _permanent(self, entries: Sequence[str]) -> Sequence[str]:
        """Return the ids of the entries that nobody removes."""
        return [one for one in map(_message_id, entries) if one not in self._removable]


def _message_id(entry: str) -> str:
    return entry.partition("=")[0]


class LeaseModel(_KeyModel):
    """The ids of the leases of a connection key.

    `acquire` and `release` return no count. A "count" with the value "+id" or "-id" is one at a time when that lease
    exists or does not exist.
    """

    initial = frozenset[str]()

    def apply(self, state: frozenset[str], operation: Operation) -> Outcome:
        """Return the leases after an operation and the expected outcome."""
        if operation.kind == "acquire":
            state |= {str(operation.value)}
        elif operation.kind == "release":
            state -= {str(operation.value)}
        if operation.kind != "count":
            return state, "ok", None
        value = str(operation.value or "")
        is_early = value != "" and (value[1:] in state) != (value[0] == "+")
        return state, "ok", None if is_early else len(state)


class HitModel(_KeyModel):
    """The number of hits of a rate limit's key."""

    initial = 0

    def apply(self, state: int, operation: Operation) -> Outcome:
        """Return the count after an operation and the expected outcome."""
        after = state + (operation.kind == "hit")
        return after, "ok", after

    def similar(self, operation: Operation) -> Hashable:
        """Return the kind: hits are alike."""
        return None if operation.kind in READS else operation.kind
