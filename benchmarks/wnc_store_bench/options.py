"""What a run measures, how long and how much."""

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
    "crowd",
    "crowd_processes",
    "lonely",
    "memory",
    "many_rooms",
    "listing",
    "ablations",
    "limit",
]
PARTS: tuple[Part, ...] = get_args(Part)

Tell = Callable[[str], None]
"""Takes a line on what is measured next."""


@dataclass(frozen=True)
class Options:
    """A run.

    Attributes:
        rounds: how often each contender has its turn.
        seconds: how long one turn of one operation is measured.
        parts: what is measured.
        contenders: who takes part.
        load: callers and rooms.
        crowd: how many join one room at once.
        processes: from how many processes, in the second crowd.
        crowd_bound: seconds that a crowd may take; who took longer has no second turn.
        lonely: how often a lonely caller does each operation.
        many_rooms: the smaller and the larger number of rooms in memory.
        expiring_rooms: how many rooms in memory expire at once.
        index: how many entries the index of active rooms has; one in a hundred lives.
        requests: how many requests redis-benchmark sends.
    """

    rounds: int = 3
    seconds: float = 2.0
    parts: tuple[Part, ...] = PARTS
    contenders: tuple[Contender, ...] = tuple(CONTENDERS.values())
    load: Load = field(default_factory=Load)
    crowd: int = 1000
    processes: int = 4
    crowd_bound: float = 30.0
    lonely: int = 1000
    many_rooms: tuple[int, int] = (1000, 1_000_000)
    expiring_rooms: int = 100_000
    index: int = 1_000_000
    requests: int = 200_000

    @property
    def operations(self) -> tuple[Operation, ...]:
        """The operations that are measured under load."""
        return tuple(operation for operation in OPERATIONS if operation in self.parts)

    @property
    def warm_up(self) -> float:
        """Seconds of a load before it is measured: connections open, caches fill, Node compiles."""
        return self.seconds / 4

    def quick(self) -> Options:
        """Return a run of a few seconds that measures all of it, and whose figures say nothing."""
        return replace(
            self,
            rounds=1,
            seconds=0.05,
            load=Load(callers=20, rooms=50),
            crowd=20,
            processes=2,
            crowd_bound=20,
            lonely=20,
            many_rooms=(100, 1000),
            expiring_rooms=1000,
            index=5000,
            requests=1000,
        )


def chosen_parts(names: str | None) -> tuple[Part, ...]:
    """Return the parts of a comma-separated list, in their own order; all without one.

    Raises:
        ConfigurationError: there is no such part.
    """
    wanted = _known(names, PARTS, "part")
    return tuple(part for part in PARTS if part in wanted)


def chosen_contenders(names: str | None) -> tuple[Contender, ...]:
    """Return the contenders of a comma-separated list, in their own order; all without one.

    Raises:
        ConfigurationError: there is no such contender.
    """
    wanted = _known(names, CONTENDERS.keys(), "contender")
    return tuple(contender for name, contender in CONTENDERS.items() if name in wanted)


def _known(names: str | None, known: Collection[str], what: str) -> Collection[str]:
    if names is None:
        return known
    wanted = [name.strip() for name in names.split(",")]
    for name in wanted:
        if name not in known:
            message = f"there is no {what} {name!r}; there are: {', '.join(known)}"
            raise ConfigurationError(message)
    return wanted
