"""The options of a run."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TypeVar

from wnc_store import ConfigurationError
from wnc_store_bench.contenders import CONTENDERS, Contender
from wnc_store_bench.load import Load
from wnc_store_bench.results import Tables
from wnc_store_bench.server import Target

PARTS = tuple(Tables.model_fields)
ProgressCallback = Callable[[str], None]
"""Receives a line that describes the next measurement."""

ChoiceT = TypeVar("ChoiceT")


@dataclass(frozen=True)
class Options:
    """The options of a run.

    Attributes:
        rounds: number of rounds. Each contender has one turn per round.
        seconds: duration of one turn of one operation.
        parts: the measured parts, by the names of their tables.
        contenders: the compared contenders.
        load: callers and rooms.
        rate: joins per second in the part `fixed_rate`.
        joins: number of users that join one room concurrently.
        processes: number of processes in the second half of the part `contention`.
        key_prefix: the beginning of every key.
        postgres: where the parts `backends`, `backend_joins` and `counts` use Postgres; None leaves it out.
    """

    rounds: int = 3
    seconds: float = 2.0
    parts: tuple[str, ...] = PARTS
    contenders: tuple[Contender, ...] = tuple(CONTENDERS.values())
    load: Load = field(default_factory=Load)
    rate: float = 5000
    joins: int = 1000
    processes: int = 4
    key_prefix: str = ""
    postgres: Target | None = None

    @property
    def warm_up(self) -> float:
        """Seconds of an unmeasured load."""
        return self.seconds / 4

    def quick(self) -> Options:
        """Return options for a run of a few seconds. Its results are not meaningful."""
        return replace(self, rounds=1, seconds=0.05, load=Load(callers=20, rooms=50), joins=20, processes=2)


def chosen_parts(names: str | None) -> tuple[str, ...]:
    """Return the parts of a comma-separated list in the order of `PARTS`, or all parts without a list.

    Raises:
        ConfigurationError: a part is unknown.
    """
    return tuple(_chosen(names, {part: part for part in PARTS}, "part"))


def chosen_contenders(names: str | None) -> tuple[Contender, ...]:
    """Return the contenders of a comma-separated list in the order of `CONTENDERS`, or all without a list.

    Raises:
        ConfigurationError: a contender is unknown.
    """
    return tuple(_chosen(names, CONTENDERS, "contender"))


def _chosen(names: str | None, known: Mapping[str, ChoiceT], what: str) -> Iterable[ChoiceT]:
    wanted = list(known) if names is None else [name.strip() for name in names.split(",")]
    for name in wanted:
        if name not in known:
            message = f"unknown {what} {name!r}: expected one of {', '.join(known)}"
            raise ConfigurationError(message)
    return (value for name, value in known.items() if name in wanted)
