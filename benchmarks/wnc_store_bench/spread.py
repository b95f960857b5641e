"""Medians and how far the rounds lie apart."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Protocol, TypeVar


class Round(Protocol):
    """A row of one round."""

    @property
    def round(self) -> int:
        """The round's number; contenders of the same round ran one after another."""
        ...


RowT = TypeVar("RowT", bound=Round)


@dataclass(frozen=True)
class Spread:
    """The median of some rounds, and the smallest and largest of them."""

    middle: float
    low: float
    high: float

    def show(self, unit: str = "") -> str:
        """Return it as text: `12,300 (11,900-12,800)`."""
        if self.low == self.high:
            return f"{figure(self.middle)}{unit}"
        return f"{figure(self.middle)}{unit} ({figure(self.low)}-{figure(self.high)})"


def figure(value: float) -> str:
    """Return a figure with three significant digits, and all of those before the point."""
    if value == 0:
        return "0"
    size = abs(value)
    if size >= 100:  # noqa: PLR2004 - three digits
        return f"{value:,.0f}"
    if size >= 10:  # noqa: PLR2004 - likewise
        return f"{value:.1f}"
    return f"{value:.2f}" if size >= 1 else f"{value:.3g}"


def spread(values: Iterable[float]) -> Spread | None:
    """Sum up the rounds; None if there are none."""
    found = list(values)
    return Spread(median(found), min(found), max(found)) if found else None


def ratios(ours: Sequence[RowT], theirs: Sequence[RowT], value: Callable[[RowT], float]) -> Spread | None:
    """Return ours / theirs, round by round: what disturbs the machine then disturbs both."""
    others = {row.round: value(row) for row in theirs}
    return spread(value(row) / others[row.round] for row in ours if others.get(row.round))
