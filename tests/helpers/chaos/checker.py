"""Checker of histories: linearizable rooms, chats without loss or duplicates, exact counts, and present hosts."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any

from chaos.callers import GROUPS
from chaos.ledger import Ledger
from wnc_store_contract.faults.history import Operation, View
from wnc_store_contract.faults.judge import halves
from wnc_store_contract.faults.linearizable import check_room, find_order
from wnc_store_contract.faults.models import HitModel, LeaseModel

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
    keys: dict[tuple[str, str], list[Operation]] = defaultdict(list)
    for one in operations:
        keys[GROUPS[one.kind], one.key].append(one)
    for (group, key), mine in keys.items():
        report.problems += [f"{group} {key}: {problem}" for problem in _CHECKS[group](mine, ledger, key)]
    for key, states in ledger.rooms.items():
        report.problems += [f"rooms {key}: {problem}" for problem in absent_hosts(states)]
    return report


def _check_room(operations: Sequence[Operation], ledger: Ledger, key: str) -> Iterator[str]:
    states = [state and View.of_json(state) for state in ledger.rooms.get(key, [])]
    yield from filter(None, [check_room(operations, states).problem])


def _check_chat(operations: Sequence[Operation], ledger: Ledger, key: str) -> Iterator[str]:
    return chat_problems(operations, [entry and entry["id"] for entry in ledger.chats.get(key, [])])


def _check_leases(operations: Sequence[Operation], ledger: Ledger, key: str) -> Iterator[str]:
    changes = [half for one in operations for half in halves(one)]
    yield from filter(None, [find_order(changes, LeaseModel(ledger.leases.get(key, []))).problem])


def _check_hits(operations: Sequence[Operation], ledger: Ledger, key: str) -> Iterator[str]:
    counted = ledger.steps.get(f"rl:{key}", 0)
    yield from hit_problems(operations, counted)
    yield from filter(None, [find_order(operations, HitModel(range(1, counted + 1))).problem])


def _check_nothing(_operations: Sequence[Operation], _ledger: Ledger, _key: str) -> Iterator[str]:
    """Check nothing, because the ledger contains no events."""
    return iter(())


_CHECKS: dict[str, Callable[[Sequence[Operation], Ledger, str], Iterator[str]]] = {
    "rooms": _check_room,
    "chats": _check_chat,
    "connections": _check_leases,
    "limits": _check_hits,
    "events": _check_nothing,
}


def absent_hosts(states: Sequence[Any]) -> Iterator[str]:
    """Yield a problem for each stored state of a room whose host is not one of its users."""
    for state in states:
        if state and state["hostId"] not in {user["id"] for user in state["users"]}:
            yield f"at rev {state.get('rev', 0)} its host {state['hostId']!r} is not one of its users"


def chat_problems(operations: Sequence[Operation], log: Sequence[str | None]) -> Iterator[str]:
    """Yield the problems of a chat, given the ids in the order in which they were added, None for a deletion."""
    says = {str(one.value): one for one in operations if one.kind == "say"}
    allowed = Counter(str(one.value) for one in operations if one.kind in {"say", "repeat"} and one.answer != "refused")
    called = {str(one.value) for one in operations if one.kind in {"say", "repeat"}}
    places: dict[str, list[int]] = defaultdict(list)
    for place, message in enumerate(log):
        if message is not None:
            places[message].append(place)
    for message, found in places.items():
        if message not in called:
            yield f"message {message} was added without a call"
        elif not allowed[message]:
            yield f"message {message} was rejected, but added"
        elif len(found) > allowed[message]:
            yield f"message {message} was added {len(found)} times"
    for message in {str(one.value) for one in operations if one.kind in {"say", "repeat"} and one.answer == "ok"}:
        if message not in places:
            yield f"message {message} was acknowledged, but not added"
    yield from _out_of_order([says[message] for message in log if message in says])
    yield from _Reads(operations, says, places, log).problems()


def _out_of_order(appended: Sequence[Operation]) -> Iterator[str]:
    latest: Operation | None = None
    for one in appended:
        end = one.end if one.answer == "ok" else one.final
        if latest is not None and latest.start > end:
            yield f"message {one.value} was acknowledged or final before {latest.value} began, but was added after it"
        if latest is None or one.start > latest.start:
            latest = one


class _Reads:
    """A check that each read of a chat returns its state at some moment during the read."""

    def __init__(
        self,
        operations: Sequence[Operation],
        says: dict[str, Operation],
        places: dict[str, list[int]],
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
            for place in self._places.get(message, []):
                begun.append((one.start, place))
                if one.answer == "ok":
                    seen.append((one.end, place))
        for read in self._reads:
            found = _ids(read)
            if found and found[-1] in self._says:
                seen += [(read.end, place) for place in self._places.get(found[-1], [])]
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
        places = [place for place in self._places.get(found[-1], []) if found == self._kept_at(place)]
        if not places:
            yield f"{read.client} read a state that the chat never had: {found}"
        elif places[-1] < least:
            yield f"{read.client} read {found[-1]} as the last message after {self._log[least]} had been seen"
        elif min(place for place in places if place >= least) >= below:
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
