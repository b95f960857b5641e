"""Medians and ranges of rounds."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Protocol, TypeVar


class Round(Protocol):
    """A row of one round."""

    @property
    def round(self) -> int:
        """The number of the round. The contenders of one round ran one after the other."""
        ...


RowT = TypeVar("RowT", bound=Round)


@dataclass(frozen=True)
class Spread:
    """The median, minimum and maximum of some rounds."""

    middle: float
    low: float
    high: float

    def show(self, unit: str = "") -> str:
        """Return the spread as text: `12,300 (11,900-12,800)`."""
        if self.low == self.high:
            return f"{figure(self.middle)}{unit}"
        return f"{figure(self.middle)}{unit} ({figure(self.low)}-{figure(self.high)})"


def figure(value: float) -> str:
    """Format a number with three significant digits, and with all digits before the point."""
    if value == 0:
        return "0"
    size = abs(value)
    if size >= 100:  # noqa: PLR2004 - three digits
        return f"{value:,.0f}"
    if size >= 10:  # noqa: PLR2004 - two digits
        return f"{value:.1f}"
    return f"{value:.2f}" if size >= 1 else f"{value:.3g}"


def spread(values: Iterable[float]) -> Spread | None:
    """Return the spread of the values, or None without values."""
    rounds = list(values)
    return Spread(median(rounds), min(rounds), max(rounds)) if rounds else None


def ratios(ours: Sequence[RowT], theirs: Sequence[RowT], value: Callable[[RowT], float]) -> Spread | None:
    """Return the spread of ours / theirs per round, because disturbances of the machine affect both."""
    others = {row.round: value(row) for row in theirs}
    return spread(value(row) / others[row.round] for row in ours if others.get(row.round))
