"""Performance goals and their verdicts. A missed goal does not fail a run."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from statistics import median

from wnc_store_bench.load import Operation
from wnc_store_bench.results import ContentionRow, Goal, Tables, ThroughputRow
from wnc_store_bench.spread import Spread, figure, ratios, spread

_AGAINST_REDIS_PY: dict[Operation, float] = {
    "get_room": 5,
    "add_user_to_room": 4,
    "add_message": 15,
    "get_messages": 3,
}
_AGAINST_IOREDIS: dict[Operation, float] = {
    "get_room": 1,
    "add_user_to_room": 1,
    "add_message": 2,
    "get_messages": 0.7,
}
_COMMITS = 40
_IOREDIS = ("ioredis", "ioredis-auto")


def judge(tables: Tables) -> list[Goal]:
    """Return every goal for which there are measurements."""
    return [
        *_throughput(tables),
        *_contention(tables.contention),
        *_single_client(tables),
        *_memory(tables),
        *_listing(tables),
    ]


def better_ioredis(rows: Sequence[ThroughputRow], operation: Operation) -> str | None:
    """Return the faster ioredis contender, with or without auto-pipelining, or None if neither was measured."""
    rates = {name: [row.ops_per_second for row in rows_of(rows, name, operation)] for name in _IOREDIS}
    return max((name for name in _IOREDIS if rates[name]), key=lambda name: median(rates[name]), default=None)


def rows_of(rows: Iterable[ThroughputRow], contender: str, operation: Operation) -> list[ThroughputRow]:
    """Return the rows of one contender and operation."""
    return [row for row in rows if row.contender == contender and row.operation == operation]


def _at_least(name: str, wanted: float, measured: Spread | None, unit: str = "x") -> list[Goal]:
    return _goal(name, f">= {wanted:,g}{unit}", measured, unit, lambda value: value >= wanted)


def _at_most(name: str, wanted: float, measured: Spread | None, unit: str = "x") -> list[Goal]:
    return _goal(name, f"<= {wanted:,g}{unit}", measured, unit, lambda value: value <= wanted)


def _goal(name: str, wanted: str, measured: Spread | None, unit: str, met: Callable[[float], bool]) -> list[Goal]:
    if measured is None:
        return []
    return [Goal(name=name, wanted=wanted, measured=measured.show(unit), met=met(measured.middle))]


def _throughput(tables: Tables) -> list[Goal]:
    rows = tables.throughput
    goals: list[Goal] = []
    for operation, against_redis_py in _AGAINST_REDIS_PY.items():
        ours = rows_of(rows, "wnc-store", operation)
        theirs = rows_of(rows, "redis-py", operation)
        name = f"{operation}: ops/s against the Node app's commands on"
        goals += _at_least(f"{name} redis-py", against_redis_py, ratios(ours, theirs, _rate))
        goals += _at_most(f"{operation}: p99 against redis-py", 0.1, ratios(ours, theirs, _p99))
        goals += _at_most(f"{operation}: server CPU against redis-py", 0.7, ratios(ours, theirs, _cpu))
        better = better_ioredis(rows, operation)
        if better is not None:
            node = rows_of(rows, better, operation)
            goals += _at_least(f"{name} {better}", _AGAINST_IOREDIS[operation], ratios(ours, node, _rate))
            goals += _at_most(f"{operation}: p99 against {better}", 1, ratios(ours, node, _p99))
            goals += _at_most(f"{operation}: server CPU against {better}", 0.7, ratios(ours, node, _cpu))
    return goals


def _rate(row: ThroughputRow) -> float:
    return row.ops_per_second


def _p99(row: ThroughputRow) -> float:
    return row.p99_ms


def _cpu(row: ThroughputRow) -> float:
    return row.server_cpu_us


def _contention(rows: Sequence[ContentionRow]) -> list[Goal]:
    goals: list[Goal] = []
    for processes in sorted({row.processes for row in rows}):
        crowd = {
            name: [row for row in rows if row.processes == processes and row.contender == name]
            for name in ("wnc-store", "redis-py", "watch-multi")
        }
        ours = crowd["wnc-store"]
        if not ours:
            continue
        name = f"{ours[0].joins} joins from {processes} process{'es' if processes > 1 else ''}:"
        kept = min(row.kept for row in ours)
        goals.append(
            Goal(
                name=f"{name} kept", wanted="all", measured=f"{kept:,}", met=all(row.kept == row.joins for row in ours)
            )
        )
        if processes == 1:
            goals += _at_least(
                f"{name} time of the Node app's commands on redis-py / ours", 10, _times(crowd, "redis-py")
            )
        else:
            commits = [row.scripts for row in ours]
            shown = f"{min(commits):,}-{max(commits):,}" if min(commits) < max(commits) else f"{commits[0]:,}"
            goals.append(Goal(name=f"{name} commits", wanted="<= 40", measured=shown, met=max(commits) <= _COMMITS))
        wanted = 500 if processes == 1 else 50
        goals += _at_least(f"{name} time of WATCH/MULTI / ours{_bounded(crowd)}", wanted, _times(crowd, "watch-multi"))
    return goals


def _times(crowd: dict[str, list[ContentionRow]], other: str) -> Spread | None:
    """Return the ratio of their time to ours. A stopped contender had only one turn."""
    if not crowd[other]:
        return None
    theirs = median(row.seconds for row in crowd[other])
    return spread(theirs / row.seconds for row in crowd["wnc-store"])


def _bounded(crowd: dict[str, list[ContentionRow]]) -> str:
    stopped = [row for row in crowd["watch-multi"] if not row.finished]
    return f" (stopped after {stopped[0].seconds:.0f} s with {stopped[0].kept:,} joins done)" if stopped else ""


def _single_client(tables: Tables) -> list[Goal]:
    rows = {
        (row.contender, row.operation): [one for one in tables.single_client if (one.contender, one.operation) == key]
        for row in tables.single_client
        if (key := (row.contender, row.operation))
    }
    ours, bare = rows.get(("wnc-store", "get_room"), []), rows.get(("redis-py", "one plain GET"), [])
    goals = _at_most(
        "single client: get_room against one plain GET", 1.1, ratios(ours, bare, lambda row: row.median_us)
    )
    for operation in ("add_user_to_room", "add_message"):
        trips = spread(row.round_trips for row in rows.get(("wnc-store", operation), []))
        name = f"single client: round trips of {operation}"
        goals += _goal(name, "1", trips, "", lambda value: round(value, 1) <= 1)
    return goals


def _memory(tables: Tables) -> list[Goal]:
    goals: list[Goal] = []
    rates = {
        (row.contender, row.operation): [
            one for one in tables.memory if (one.contender, one.operation) == (row.contender, row.operation)
        ]
        for row in tables.memory
    }
    wanted: dict[Operation, float] = {"get_room": 500_000, "add_user_to_room": 100_000, "add_message": 100_000}
    for operation, least in wanted.items():
        found = spread(row.ops_per_second for row in rates.get(("wnc-store", operation), []))
        goals += _at_least(f"memory: {operation}", least, found, "/s")
    others = {
        name: rows for (name, operation), rows in rates.items() if operation == "get_room" and name != "wnc-store"
    }
    if others:
        fastest = max(others, key=lambda name: median(row.ops_per_second for row in others[name]))
        ratio = ratios(rates["wnc-store", "get_room"], others[fastest], lambda row: row.ops_per_second)
        goals += _at_least(f"memory: get_room against the fastest library, {fastest}", 4, ratio)
    sizes = sorted({row.rooms for row in tables.many_rooms})
    for operation in dict.fromkeys(row.operation for row in tables.many_rooms):
        small, large = (
            [row for row in tables.many_rooms if row.rooms == size and row.operation == operation]
            for size in (sizes[0], sizes[-1])
        )
        name = f"memory: cost of {operation} with {sizes[-1]:,} rooms against {sizes[0]:,}"
        goals += _at_most(name, 1.5, ratios(large, small, lambda row: row.microseconds))
    return goals


def _listing(tables: Tables) -> list[Goal]:
    return [
        Goal(
            name=f"{row.operation} over {row.entries:,} entries: the slowest concurrent ping",
            wanted="<= 5 ms",
            measured=f"{figure(row.ping_worst_ms)} ms (p99 {figure(row.ping_p99_ms)} ms)",
            met=row.ping_worst_ms <= 5,  # noqa: PLR2004 - the goal
        )
        for row in tables.listing
    ]
