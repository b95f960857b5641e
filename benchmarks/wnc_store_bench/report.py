"""Tables of a run, for the terminal and for a page."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from statistics import median

from wnc_store_bench.ablations import UNCHANGED, VARIANTS
from wnc_store_bench.backends import REFERENCE
from wnc_store_bench.contenders import CONTENDERS, WNC
from wnc_store_bench.load import OPERATIONS
from wnc_store_bench.results import ContentionRow, CountRow, JoinsRow, LoadRow, MemoryRow, Result, rows_of
from wnc_store_bench.spread import Spread, figure, ratios, spread

_MARKED = re.compile(r"(<!-- bench:(?P<name>[a-z_]+) -->\n).*?(<!-- /bench -->)", re.DOTALL)


@dataclass(frozen=True)
class Table:
    """A table with text cells, which has a name on pages."""

    name: str
    title: str
    columns: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]


def tables(result: Result) -> list[Table]:
    """Return all tables with at least one row, without empty columns."""
    measured = result.tables
    candidates = [
        _facts(result),
        *_load("throughput", "under load", measured.throughput),
        *_load("fixed_rate", "at the same rate", measured.fixed_rate),
        *_load("single_client", "one caller", measured.single_client),
        _contention("contention", "Concurrent joins of one room", measured.contention),
        *_load("backends", "on each backend", measured.backends, REFERENCE),
        _joins(measured.backend_joins),
        _counts(measured.counts),
        _memory(measured.memory),
        *_load("ablations", "with one change of wnc-store", measured.ablations, UNCHANGED),
        _contention("group_commit", "Concurrent joins without group commit", measured.group_commit, UNCHANGED),
        _contenders(result),
    ]
    return [_without_empty_columns(table) for table in candidates if table.rows]


def _without_empty_columns(table: Table) -> Table:
    kept = [column for column in range(len(table.columns)) if any(row[column] for row in table.rows)]
    columns, *rows = (tuple(row[column] for column in kept) for row in (table.columns, *table.rows))
    return replace(table, columns=columns, rows=rows)


def _facts(result: Result) -> Table:
    facts = {**result.machine, **result.versions, **result.options, "started": result.started}
    rows = [*facts.items(), *(("note", note) for note in result.notes)]
    return Table("machine", "Machine, versions, options", ("what", "value"), rows)


def _load(name: str, how: str, measured: Sequence[LoadRow], baseline: str = WNC.name) -> list[Table]:
    """Return a table for each operation. A ratio divides the baseline's value by the contender's of the same round."""
    columns = ("contender", "ops/s", "ratio", "p50 ms", "p99 ms", "ratio", "server CPU us/op", "reads/op", "errors")
    return [
        Table(
            f"{name}_{operation}",
            f"{operation}, {how} (ratio: {baseline} / contender)",
            columns,
            [
                _load_row(
                    rows_of(measured, contender, operation),
                    [] if contender == baseline else rows_of(measured, baseline, operation),
                )
                for contender in dict.fromkeys(row.contender for row in measured if row.operation == operation)
            ],
        )
        for operation in OPERATIONS
    ]


def _load_row(theirs: Sequence[LoadRow], ours: Sequence[LoadRow]) -> tuple[str, ...]:
    return (
        theirs[0].contender,
        _show(row.ops_per_second for row in theirs),
        _show_ratio(ratios(ours, theirs, lambda row: row.ops_per_second)),
        _show(row.p50_ms for row in theirs),
        _show(row.p99_ms for row in theirs),
        _show_ratio(ratios(ours, theirs, lambda row: row.p99_ms)),
        _middle(row.server_cpu_us for row in theirs),
        _middle(row.reads for row in theirs),
        _show_errors(theirs),
    )


def _contention(name: str, title: str, measured: Sequence[ContentionRow], baseline: str = WNC.name) -> Table:
    rows: list[tuple[str, ...]] = []
    for processes, contender in dict.fromkeys((row.processes, row.contender) for row in measured):
        crowds = [row for row in measured if row.processes == processes]
        found = [row for row in crowds if row.contender == contender]
        ours = [row for row in crowds if row.contender == baseline != contender]
        low, high = min(row.kept for row in found), max(row.kept for row in found)
        rows.append(
            (
                str(processes),
                contender,
                _show(row.seconds * 1000 for row in found),
                _show_ratio(ratios(found, ours, lambda row: row.seconds)),
                f"{low:,}{f'-{high:,}' if low < high else ''} of {found[0].joins:,}",
                f"{median(row.scripts for row in found):,.0f}",
                f"{median(row.sets for row in found):,.0f}",
                _show_errors(found),
            )
        )
    columns = ("processes", "contender", "ms for all", "ratio", "joins kept", "scripts", "sets", "errors")
    return Table(name, f"{title} (ratio: contender / {baseline})", columns, rows)


def _joins(measured: Sequence[JoinsRow]) -> Table:
    rows: list[tuple[str, ...]] = []
    for processes, backend in dict.fromkeys((row.processes, row.backend) for row in measured):
        alike = [row for row in measured if row.processes == processes]
        found = [row for row in alike if row.backend == backend]
        reference = [row for row in alike if row.backend == REFERENCE != backend]
        rows.append(
            (
                str(processes),
                backend,
                _show(row.seconds * 1000 for row in found),
                _show_ratio(ratios(found, reference, lambda row: row.seconds)),
                f"{min(row.kept for row in found):,} of {found[0].joins:,}",
                _middle(row.writes for row in found),
                _show_errors(found),
            )
        )
    columns = ("processes", "backend", "ms for all", "ratio", "joins kept", "transactions", "errors")
    return Table(
        "backend_joins", f"Concurrent joins of one room on each backend (ratio: backend / {REFERENCE})", columns, rows
    )


def _counts(measured: Sequence[CountRow]) -> Table:
    rows = [
        (
            row.operation,
            row.backend,
            f"{row.python_calls:.1f}",
            f"{row.c_calls:.1f}",
            f"{row.handles:.2f}",
            _middle([row.round_trips]),
            _middle([row.writes]),
        )
        for row in measured
    ]
    columns = ("operation", "backend", "Python calls", "C calls", "event-loop handles", "round trips", "transactions")
    return Table("counts", "The work for one operation of wnc-store", columns, rows)


def _memory(measured: Sequence[MemoryRow]) -> Table:
    rows = [
        (operation, _show(row.ops_per_second for row in measured if row.operation == operation))
        for operation in dict.fromkeys(row.operation for row in measured)
    ]
    return Table("memory", "wnc-store in memory", ("operation", "ops/s of one caller"), rows)


def _contenders(result: Result) -> Table:
    described = {**CONTENDERS, **(VARIANTS if result.tables.ablations or result.tables.group_commit else {})}
    rows = [(contender.name, contender.what) for contender in described.values()]
    return Table("contenders", "Contenders", ("name", "description"), rows)


def _show(values: Iterable[float]) -> str:
    values_spread = spread(values)
    return values_spread.show() if values_spread else ""


def _show_ratio(ratio: Spread | None) -> str:
    return ratio.show("x") if ratio else ""


def _show_errors(rows: Iterable[LoadRow | ContentionRow | JoinsRow]) -> str:
    failed = sum(sum(row.errors.values()) for row in rows)
    return f"{failed:,}" if failed else ""


def _middle(values: Iterable[float]) -> str:
    """Return the median, or nothing if it is 0, which stands for a count that the server does not provide."""
    values_spread = spread(values)
    return figure(values_spread.middle) if values_spread and values_spread.middle else ""


def fill(page: str, result: Result) -> str:
    """Return the page with the measured tables filled, each between `<!-- bench:NAME -->` and `<!-- /bench -->`."""
    contents = {table.name: _markdown(table) for table in tables(result)}

    def filled(match: re.Match[str]) -> str:
        content = contents.get(match["name"])
        return match[0] if content is None else f"{match[1]}\n{content}\n{match[3]}"

    return _MARKED.sub(filled, page)


def _markdown(table: Table) -> str:
    lines = [table.columns, ("---",) * len(table.columns), *table.rows]
    return "".join(f"| {' | '.join(cell.replace('|', '/') for cell in line)} |\n" for line in lines)
