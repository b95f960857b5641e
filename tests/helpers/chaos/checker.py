"""Checker of histories: linearizable rooms, chats without loss or duplicates, exact counts, and present hosts."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any

from chaos.ledger import Ledger
from wnc_store_contract.faults.history import Operation, View
from wnc_store_contract.faults.linearizable import Verdict, check_room
from wnc_store_contract.faults.worker import KINDS

_KEPT = 20


@dataclass
class Report:
    """The result of a check.

    Attributes:
        problems: each violation; empty if the history is correct.
        operations: number of operations with each outcome.
    """

    problems: list[str] = field(default_factory=list[str])
    operations: Counter[str] = field(default_factory=Counter[str])


def check(operations: Sequence[Operation], ledger: Ledger) -> Report:
    """Check the recorded operations against the ledger of the server."""
    report = Report(operations=Counter(operation.answer for operation in operations))
    rooms: dict[str, list[Operation]] = defaultdict(list)
    chats: dict[str, list[Operation]] = defaultdict(list)
    hits: dict[str, list[Operation]] = defaultdict(list)
    for one in operations:
        (rooms if one.kind in KINDS["rooms"] else chats if one.kind in KINDS["chats"] else hits)[one.key].append(one)
    for key, mine in rooms.items():
        verdict = _room(mine, ledger.rooms.get(key, []))
        if verdict.problem:
            report.problems.append(f"room {key}: {verdict.problem}")
    for key, states in ledger.rooms.items():
        report.problems += [f"room {key}: {problem}" for problem in absent_hosts(states)]
    for key, mine in chats.items():
        log = [entry and entry["id"] for entry in ledger.chats.get(key, [])]
        report.problems += [f"chat {key}: {problem}" for problem in chat_problems(mine, log)]
    for key, mine in hits.items():
        report.problems += [
            f"hits of {key}: {problem}" for problem in hit_problems(mine, ledger.steps.get(f"rl:{key}", 0))
        ]
    return report


def _room(operations: Sequence[Operation], states: Sequence[Any]) -> Verdict:
    return check_room(operations, [state and View.of_json(state) for state in states])


def absent_hosts(states: Sequence[Any]) -> Iterator[str]:
    """Yield a problem for each stored state of a room whose host is not one of its users."""
    for state in states:
        if state and state["hostId"] not in {user["id"] for user in state["users"]}:
            yield f"at rev {state.get('rev', 0)} its host {state['hostId']!r} is not one of its users"


def chat_problems(operations: Sequence[Operation], log: Sequence[str | None]) -> Iterator[str]:
    """Yield the problems of a chat, given the ids in the order in which they were added, None for a deletion."""
    says = {str(one.value): one for one in operations if one.kind == "say"}
    places = {message: place for place, message in enumerate(log) if message is not None}
    for message, times in Counter(message for message in log if message is not None).items():
        if times > 1:
            yield f"message {message} was added {times} times"
        if message not in says:
            yield f"message {message} was added without a call"
        elif says[message].answer == "refused":
            yield f"message {message} was rejected, but added"
    for message, one in says.items():
        if one.answer == "ok" and message not in places:
            yield f"message {message} was acknowledged, but not added"
    yield from _out_of_order([says[message] for message in log if message in says])
    yield from _Reads(operations, says, places, log).problems()


def _out_of_order(appended: Sequence[Operation]) -> Iterator[str]:
    latest: Operation | None = None
    for one in appended:
        if latest is not None and one.answer == "ok" and latest.start > one.end:
            yield f"message {one.value} was acknowledged before {latest.value} began, but was added after it"
        if latest is None or one.start > latest.start:
            latest = one


class _Reads:
    """A check that each read of a chat returns its state at some moment during the read."""

    def __init__(
        self,
        operations: Sequence[Operation],
        says: dict[str, Operation],
        places: dict[str, int],
        log: Sequence[str | None],
    ) -> None:
        self._reads = [one for one in operations if one.kind == "read" and one.answer == "ok"]
        self._clears = [one for one in operations if one.kind == "clear" and one.answer == "ok"]
        self._says = says
        self._places = places
        self._log = log

    def problems(self) -> Iterator[str]:
        """Yield the problems of each read."""
        seen: list[tuple[float, int]] = []  # when a message was returned or acknowledged, and its position
        begun: list[tuple[float, int]] = []  # when the message was sent, and its position
        for message, one in self._says.items():
            if message in self._places:
                begun.append((one.start, self._places[message]))
                if one.answer == "ok":
                    seen.append((one.end, self._places[message]))
        for read in self._reads:
            found = _ids(read)
            if found and found[-1] in self._places:
                seen.append((read.end, self._places[found[-1]]))
        seen_by, begun_after = _Highest(seen), _Highest([(-time, -place) for time, place in begun])
        for read in self._reads:
            least = seen_by.before(read.start, otherwise=-1)
            below = -begun_after.before(-read.end, otherwise=-len(self._log))
            yield from self._problems_of(read, least, below)

    def _problems_of(self, read: Operation, least: int, below: int) -> Iterator[str]:
        """Yield the problems of a read whose last message must be at a position from `least` to below `below`."""
        found = _ids(read)
        if not found:
            if not any(least <= place < below for place in self._empty_places()):
                yield f"{read.client} read an empty chat at a time when it was not empty"
            return
        last = self._places.get(found[-1], -1)
        if found != self._kept_at(last):
            yield f"{read.client} read a state that the chat never had: {found}"
        elif last < least:
            yield f"{read.client} read {found[-1]} as the last message after {self._log[least]} had been seen"
        elif last >= below:
            yield f"{read.client} read {found[-1]} before it was sent"
        else:
            yield from self._cleared(read, found)

    def _cleared(self, read: Operation, found: tuple[str, ...]) -> Iterator[str]:
        for clear in self._clears:
            if clear.end < read.start:
                for message in found:
                    said = self._says.get(message)
                    if said is not None and said.answer == "ok" and said.end < clear.start:
                        yield f"{read.client} read {message} after it had been cleared"

    def _empty_places(self) -> Iterator[int]:
        yield -1
        yield from (place for place, message in enumerate(self._log) if message is None)

    def _kept_at(self, place: int) -> tuple[str, ...]:
        kept: list[str] = []
        while place >= 0 and len(kept) < _KEPT and (message := self._log[place]) is not None:
            kept.append(message)
            place -= 1
        return tuple(reversed(kept))


class _Highest:
    """The highest number among the entries before a time."""

    def __init__(self, marks: Sequence[tuple[float, int]]) -> None:
        marks = sorted(marks)
        self._times = [time for time, _ in marks]
        self._numbers = list(accumulate((number for _, number in marks), max))

    def before(self, time: float, *, otherwise: int) -> int:
        found = bisect_left(self._times, time)
        return self._numbers[found - 1] if found else otherwise


def _ids(read: Operation) -> tuple[str, ...]:
    return read.result if isinstance(read.result, tuple) and not isinstance(read.result, View) else ()


def hit_problems(operations: Sequence[Operation], counted: int) -> Iterator[str]:
    """Yield the problems of the counts that callers received, given the server's count."""
    hits = [one for one in operations if one.kind == "hit"]
    acknowledged = sorted((one for one in hits if one.answer == "ok"), key=lambda one: one.start)
    unknown = sum(one.answer == "unknown" for one in hits)
    if not len(acknowledged) <= counted <= len(acknowledged) + unknown:
        yield f"counted {counted} times, for {len(acknowledged)} acknowledged and {unknown} unknown hits"
    for count, times in Counter(one.result for one in acknowledged).items():
        if times > 1:
            yield f"{times} callers received the count {count}"
    highest = _Highest([(one.end, one.result) for one in acknowledged if isinstance(one.result, int)])
    for one in acknowledged:
        if isinstance(one.result, int) and highest.before(one.start, otherwise=0) > one.result:
            yield f"{one.client} received the count {one.result} after a higher count"
