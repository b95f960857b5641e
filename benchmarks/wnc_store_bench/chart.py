"""The chart of a run: operations a second and a crowd's time, each on a logarithmic axis."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from statistics import median
from typing import Any

from wnc_store_bench.load import OPERATIONS
from wnc_store_bench.results import Result
from wnc_store_bench.targets import of

_DOTS_PER_INCH = 120


def draw(result: Result, path: Path) -> None:
    """Write a PNG."""
    matplotlib: Any = import_module("matplotlib")
    matplotlib.use("Agg")
    pyplot: Any = import_module("matplotlib.pyplot")
    figure, (left, right) = pyplot.subplots(1, 2, figsize=(14, 6), width_ratios=(3, 2), layout="constrained")
    _throughput(left, result)
    _crowd(right, result)
    figure.savefig(path, format="png", dpi=_DOTS_PER_INCH)
    pyplot.close(figure)


def _throughput(axes: Any, result: Result) -> None:
    rows = result.tables.throughput
    names = list(dict.fromkeys(row.contender for row in rows))
    width = 0.8 / max(1, len(names))
    for place, name in enumerate(names):
        for number, operation in enumerate(OPERATIONS):
            rates = [row.ops_per_second for row in of(rows, name, operation)]
            if rates:
                middle = median(rates)
                errors = [[middle - min(rates)], [max(rates) - middle]]
                label = name if operation == _first_of(result, name) else None
                axes.bar(number + place * width, middle, width, yerr=errors, label=label, color=f"C{place}")
    axes.set_yscale("log")
    axes.set_xticks([number + 0.4 - width / 2 for number in range(len(OPERATIONS))], OPERATIONS)
    axes.set_title(f"operations a second, {result.options['callers']} callers: more is better")
    if names:
        axes.legend(fontsize="small")


def _first_of(result: Result, name: str) -> str:
    return next(row.operation for row in result.tables.throughput if row.contender == name)


def _crowd(axes: Any, result: Result) -> None:
    rows = [row for row in result.tables.crowd if row.processes == 1]
    names = list(dict.fromkeys(row.contender for row in rows))
    for place, name in enumerate(reversed(names)):
        found = [row for row in rows if row.contender == name]
        seconds = median(row.seconds for row in found)
        kept = f"{min(row.kept for row in found):,} of {found[0].joins:,} kept"
        stopped = "" if all(row.finished for row in found) else ", stopped"
        axes.barh(place, seconds * 1000, color=f"C{names.index(name)}")
        axes.text(seconds * 1000, place, f" {kept}{stopped}", va="center", fontsize="small")
    axes.set_xscale("log")
    axes.margins(x=0.6)
    axes.set_yticks(range(len(names)), list(reversed(names)))
    axes.set_title("ms until a crowd is in one room: less is better")
