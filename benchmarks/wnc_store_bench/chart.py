"""The chart of a run: operations a second and a crowd's time, each on a logarithmic axis."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from statistics import median
from typing import Any

from wnc_store_bench.contenders import CONTENDERS
from wnc_store_bench.load import OPERATIONS
from wnc_store_bench.results import Result
from wnc_store_bench.targets import of

_DOTS_PER_INCH = 120
_BAR = 0.1
"""The width of a bar, where an operation has 1."""

_ROOM_FOR_TEXT = 100
"""By how much the axis goes on behind the longest bar."""

_COLOURS = {name: f"C{number}" for number, name in enumerate(CONTENDERS)}


def draw(result: Result, path: Path) -> None:
    """Write a PNG."""
    matplotlib: Any = import_module("matplotlib")
    matplotlib.use("Agg")
    pyplot: Any = import_module("matplotlib.pyplot")
    figure, (left, right) = pyplot.subplots(1, 2, figsize=(14, 6), width_ratios=(3, 2), layout="constrained")
    _throughput(left, result)
    _crowd(right, result)
    handles, labels = left.get_legend_handles_labels()
    if labels:
        figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), fontsize="small")
    figure.savefig(path, format="png", dpi=_DOTS_PER_INCH)
    pyplot.close(figure)


def _throughput(axes: Any, result: Result) -> None:
    rows = result.tables.throughput
    labelled: set[str] = set()
    for number, operation in enumerate(OPERATIONS):
        names = [name for name in CONTENDERS if of(rows, name, operation)]
        for place, name in enumerate(names):
            rates = [row.ops_per_second for row in of(rows, name, operation)]
            middle = median(rates)
            errors = [[middle - min(rates)], [max(rates) - middle]]
            at = number + (place - (len(names) - 1) / 2) * _BAR
            label = None if name in labelled else name
            axes.bar(at, middle, _BAR, yerr=errors, label=label, color=_COLOURS[name])
            labelled.add(name)
    axes.set_yscale("log")
    axes.set_xticks(range(len(OPERATIONS)), OPERATIONS)
    axes.set_title(f"operations a second, {result.options['callers']} callers: more is better")


def _crowd(axes: Any, result: Result) -> None:
    rows = [row for row in result.tables.crowd if row.processes == 1]
    names = [name for name in CONTENDERS if name in {row.contender for row in rows}]
    for place, name in enumerate(reversed(names)):
        found = [row for row in rows if row.contender == name]
        milliseconds = median(row.seconds for row in found) * 1000
        kept = f"{min(row.kept for row in found):,} of {found[0].joins:,} kept"
        stopped = "" if all(row.finished for row in found) else ", stopped"
        axes.barh(place, milliseconds, color=_COLOURS[name])
        axes.text(milliseconds, place, f" {kept}{stopped}", va="center", fontsize="small")
    axes.set_xscale("log")
    axes.set_xlim(right=axes.get_xlim()[1] * _ROOM_FOR_TEXT)
    axes.set_yticks(range(len(names)), list(reversed(names)))
    axes.set_title("ms until a crowd is in one room: less is better")
