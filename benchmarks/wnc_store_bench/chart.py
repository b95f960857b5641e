"""The chart of a run: throughput on a logarithmic axis, and the time of concurrent joins."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from statistics import median
from typing import Any

from wnc_store_bench.contenders import CONTENDERS
from wnc_store_bench.load import OPERATIONS
from wnc_store_bench.results import Result, rows_of

_DOTS_PER_INCH = 120
_BAR = 0.2
"""Width of a bar. An operation has a width of 1."""

_TEXT_MARGIN = 1.5
"""Factor by which the axis exceeds the longest bar, so that its label fits."""

_COLOURS = {name: f"C{number}" for number, name in enumerate(CONTENDERS)}


def draw(result: Result, path: Path) -> None:
    """Draw the chart into a PNG file."""
    matplotlib: Any = import_module("matplotlib")
    matplotlib.use("Agg")
    pyplot: Any = import_module("matplotlib.pyplot")
    figure, (left, right) = pyplot.subplots(1, 2, figsize=(14, 6), width_ratios=(3, 2), layout="constrained")
    _throughput(left, result)
    _contention(right, result)
    handles, labels = left.get_legend_handles_labels()
    if labels:
        figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), fontsize="small")
    figure.savefig(path, format="png", dpi=_DOTS_PER_INCH)
    pyplot.close(figure)


def _throughput(axes: Any, result: Result) -> None:
    rows = result.tables.throughput
    labelled: set[str] = set()
    for number, operation in enumerate(OPERATIONS):
        names = [name for name in CONTENDERS if rows_of(rows, name, operation)]
        for position, name in enumerate(names):
            rates = [row.ops_per_second for row in rows_of(rows, name, operation)]
            middle = median(rates)
            errors = [[middle - min(rates)], [max(rates) - middle]]
            at = number + (position - (len(names) - 1) / 2) * _BAR
            label = None if name in labelled else name
            axes.bar(at, middle, _BAR, yerr=errors, label=label, color=_COLOURS[name])
            labelled.add(name)
    axes.set_yscale("log")
    axes.set_xticks(range(len(OPERATIONS)), OPERATIONS)
    axes.set_title(f"operations per second, {result.options['callers']} callers: more is better")


def _contention(axes: Any, result: Result) -> None:
    rows = [row for row in result.tables.contention if row.processes == 1]
    names = [name for name in CONTENDERS if name in {row.contender for row in rows}]
    for position, name in enumerate(reversed(names)):
        found = [row for row in rows if row.contender == name]
        milliseconds = median(row.seconds for row in found) * 1000
        kept = f"{min(row.kept for row in found):,} of {found[0].joins:,} kept"
        axes.barh(position, milliseconds, color=_COLOURS[name])
        axes.text(milliseconds, position, f" {kept}", va="center", fontsize="small")
    axes.set_xlim(right=axes.get_xlim()[1] * _TEXT_MARGIN)
    axes.set_yticks(range(len(names)), list(reversed(names)))
    axes.set_title("ms for all concurrent joins of one room: less is better")
