"""The options of a run."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace
from typing import Literal, get_args

from wnc_store import ConfigurationError
from wnc_store_bench.contenders import CONTENDERS, Contender
from wnc_store_bench.load import OPERATIONS, Load, Operation

Part = Literal[
    "get_room",
    "add_user_to_room",
    "add_message",
    "get_messages",
    "contention",
    "contention_processes",
    "single_client",
    "memory",
    "many_rooms",
    "listing",
    "ablations",
    "limit",
]
PARTS: tuple[Part, ...] = get_args(Part)

ProgressCallback = Callable[[str], None]
"""Receives a line that describes the next measurement."""


@dataclass(frozen=True)
class Options:
    """The options of a run.

    Attributes:
        rounds: number of rounds. Each contender has one turn per round.
        seconds: duration of one turn of one operation.
        parts: the measured parts.
        contenders: the compared contenders.
        load: callers and rooms.
        joins: number of users that join one room concurrently.
        processes: number of processes in the second contention part.
        join_timeout: time limit of the joins in seconds. A contender that exceeds it gets no more turns.
        single_client_calls: number of calls of each operation by a single client.
        many_rooms: the smaller and the larger number of rooms in memory.
        expiring_rooms: number of rooms in memory that expire at once.
        index: number of entries in the index of active rooms, of which one in a hundred exists.
        requests: number of requests that redis-benchmark sends.
    """

    rounds: int = 3
    seconds: float = 2.0
    parts: tuple[Part, ...] = PARTS
    contenders: tuple[Contender, ...] = tuple(CONTENDERS.values())
    load: Load = field(default_factory=Load)
    joins: int = 1000
    processes: int = 4
    join_timeout: float = 30.0
    single_client_calls: int = 1000
    many_rooms: tuple[int, int] = (1000, 1_000_000)
    expiring_rooms: int = 100_000
    index: int = 1_000_000
    requests: int = 200_000

    @property
    def operations(self) -> tuple[Operation, ...]:
        """The operations measured under load."""
        return tuple(operation for operation in OPERATIONS if operation in self.parts)

    @property
    def warm_up(self) -> float:
        """Seconds of an unmeasured load, which opens connections, fills caches and lets Node compile."""
        return self.seconds / 4

    def quick(self) -> Options:
        """Return options for a run of a few seconds with all parts. Its results are not meaningful."""
        return replace(
            self,
            rounds=1,
            seconds=0.05,
            load=Load(callers=20, rooms=50),
            joins=20,
            processes=2,
            join_timeout=20,
            single_client_calls=20,
            many_rooms=(100, 1000),
            expiring_rooms=1000,
            index=5000,
            requests=1000,
        )


def chosen_parts(names: str | None) -> tuple[Part, ...]:
    """Return the parts of a comma-separated list in the order of `PARTS`, or all parts without a list.

    Raises:
        ConfigurationError: a part is unknown.
    """
    wanted = _known(names, PARTS, "part")
    return tuple(part for part in PARTS if part in wanted)


def chosen_contenders(names: str | None) -> tuple[Contender, ...]:
    """Return the contenders of a comma-separated list in the order of `CONTENDERS`, or all without a list.

    Raises:
        ConfigurationError: a contender is unknown.
    """
    wanted = _known(names, CONTENDERS.keys(), "contender")
    return tuple(contender for name, contender in CONTENDERS.items() if name in wanted)


def _known(names: str | None, known: Collection[str], what: str) -> Collection[str]:
    if names is None:
        return known
    wanted = [name.strip() for name in names.split(",")]
    for name in wanted:
        if name not in known:
            message = f"unknown {what} {name!r}: expected one of {', '.join(known)}"
            raise ConfigurationError(message)
    return wanted
