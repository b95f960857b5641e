"""Tables of a run, for the terminal and for a page.

python -m wnc_store_bench.report RESULT.json PAGE.md    # fill the page's tables
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from wnc_store_bench.ablations import UNCHANGED, VARIANTS
from wnc_store_bench.contenders import CONTENDERS
from wnc_store_bench.goals import rows_of
from wnc_store_bench.load import OPERATIONS
from wnc_store_bench.results import ContentionRow, Result, Tables
from wnc_store_bench.spread import figure, ratios, spread

_MARKED = re.compile(r"(<!-- bench:(?P<name>[a-z-]+) -->\n).*?(<!-- /bench -->)", re.DOTALL)


@dataclass(frozen=True)
class Table:
    """A table with text cells."""

    name: str
    title: str
    columns: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]


def tables(result: Result) -> list[Table]:
    """Return all tables with at least one row."""
    candidates = [
        _facts(result),
        _goals(result),
        *(_throughput(result.tables, operation) for operation in OPERATIONS),
        _server(result.tables),
        _contention("contention", "Concurrent joins of one room", result.tables.contention),
        _single_client(result.tables),
        _memory(result.tables),
        _many_rooms(result.tables),
        _memory_facts(result.tables),
        _listing(result.tables),
        _ablations(result.tables),
        _contention(
            "ablations-contention",
            "Concurrent joins of one room, with and without group commit",
            result.tables.ablations_contention,
        ),
        _limit(result.tables),
        _contenders(),
    ]
    return [table for table in candidates if table.rows]


def _facts(result: Result) -> Table:
    facts = {**result.machine, **result.versions, **result.options, "started": result.started}
    rows = [*facts.items(), *(("note", note) for note in result.notes)]
    return Table("machine", "Machine, versions, options", ("what", "value"), rows)


def _goals(result: Result) -> Table:
    verdicts = {True: "met", False: "not met", None: "not measured"}
    rows = [(one.name, one.wanted, one.measured, verdicts[one.met]) for one in result.goals]
    return Table("goals", "Goals", ("goal", "wanted", "median (min-max)", ""), rows)


def _throughput(measured: Tables, operation: object) -> Table:
    rows: list[tuple[str, ...]] = []
    found = [row for row in measured.throughput if row.operation == operation]
    for contender in dict.fromkeys(row.contender for row in found):
        theirs = [row for row in found if row.contender == contender]
        ours = rows_of(found, "wnc-store", theirs[0].operation)
        ratio = ratios(ours, theirs, lambda row: row.ops_per_second)
        failed = sum(sum(row.errors.values()) for row in theirs)
        rows.append(
            (
                contender,
                _show(row.ops_per_second for row in theirs),
                _show(row.p50_ms for row in theirs),
                _show(row.p99_ms for row in theirs),
                "" if contender == "wnc-store" or ratio is None else ratio.show("x"),
                f"{failed:,}" if failed else "",
            )
        )
    columns = ("contender", "ops/s", "p50 ms", "p99 ms", "wnc-store's ops/s against it", "errors")
    return Table(str(operation).replace("_", "-"), f"{operation}, under load", columns, rows)


def _server(measured: Tables) -> Table:
    rows: list[tuple[str, ...]] = []
    for operation in OPERATIONS:
        found = [row for row in measured.throughput if row.operation == operation]
        for contender in dict.fromkeys(row.contender for row in found):
            theirs = rows_of(found, contender, operation)
            rows.append(
                (
                    operation,
                    contender,
                    _show(row.server_cpu_us for row in theirs),
                    _middle(row.bytes_in for row in theirs),
                    _middle(row.bytes_out for row in theirs),
                    _middle(row.reads for row in theirs),
                )
            )
    columns = ("operation", "contender", "server CPU us/op", "bytes in/op", "bytes out/op", "socket reads/op")
    return Table("server", "Server costs of one operation", columns, rows)


def _contention(name: str, title: str, measured: Sequence[ContentionRow]) -> Table:
    rows: list[tuple[str, ...]] = []
    for processes, contender in dict.fromkeys((row.processes, row.contender) for row in measured):
        found = [row for row in measured if (row.processes, row.contender) == (processes, contender)]
        low, high = min(row.kept for row in found), max(row.kept for row in found)
        kept = f"{low:,}" if low == high else f"{low:,}-{high:,}"
        stopped = next((f"stopped after {row.seconds:.0f} s" for row in found if not row.finished), "")
        failed = sum(sum(row.errors.values()) for row in found)
        rows.append(
            (
                str(processes),
                contender,
                _show(row.seconds * 1000 for row in found),
                f"{kept} of {found[0].joins:,}",
                f"{median(row.scripts for row in found):,.0f}",
                f"{median(row.sets for row in found):,.0f}",
                ", ".join(filter(None, [stopped, f"{failed:,} errors" if failed else ""])),
            )
        )
    columns = ("processes", "contender", "ms for all", "joins kept", "scripts run", "sets run", "")
    return Table(name, title, columns, rows)


def _single_client(measured: Tables) -> Table:
    rows: list[tuple[str, ...]] = []
    for contender, operation in dict.fromkeys((row.contender, row.operation) for row in measured.single_client):
        found = [row for row in measured.single_client if (row.contender, row.operation) == (contender, operation)]
        trips = _middle(row.round_trips for row in found)
        rows.append((contender, operation, _show(row.median_us for row in found), trips))
    return Table("single-client", "A single client", ("contender", "operation", "median us", "round trips"), rows)


def _memory(measured: Tables) -> Table:
    rows: list[tuple[str, ...]] = []
    for operation, contender in dict.fromkeys((row.operation, row.contender) for row in measured.memory):
        found = [row for row in measured.memory if (row.operation, row.contender) == (operation, contender)]
        rows.append((operation, contender, _show(row.ops_per_second for row in found)))
    rows.sort(key=lambda row: OPERATIONS.index(row[0]))  # pyright: ignore[reportArgumentType]
    return Table("memory", "In memory, one caller", ("operation", "store", "ops/s"), rows)


def _many_rooms(measured: Tables) -> Table:
    rows: list[tuple[str, ...]] = []
    sizes = sorted({row.rooms for row in measured.many_rooms})
    for operation in dict.fromkeys(row.operation for row in measured.many_rooms):
        of_sizes = [
            [row for row in measured.many_rooms if row.operation == operation and row.rooms == size] for size in sizes
        ]
        ratio = ratios(of_sizes[-1], of_sizes[0], lambda row: row.microseconds)
        costs = [_show(row.microseconds for row in found) for found in of_sizes]
        rows.append((operation, *costs, "" if ratio is None else ratio.show("x")))
    columns = ("operation", *(f"us with {size:,} rooms" for size in sizes), "ratio")
    return Table("many-rooms", "In memory, few and many rooms", columns, rows)


def _memory_facts(measured: Tables) -> Table:
    rows: list[tuple[str, ...]] = []
    for facts in measured.memory_facts:
        expiring = f"{facts.expiring_rooms:,} rooms"
        rows += [
            ("bytes per room of one user", figure(facts.bytes_per_room)),
            (f"seconds to create {facts.rooms:,} rooms", figure(facts.fill_seconds)),
            (f"longest stall of the event loop after {expiring} expired at once, ms", figure(facts.stall_ms)),
            ("longest stall during the same writes without expiry, ms", figure(facts.stall_without_ms)),
            (f"seconds to sweep {expiring}", figure(facts.sweep_seconds)),
        ]
    return Table("memory-facts", "In memory, costs of rooms", ("what", "measured"), rows)


def _listing(measured: Tables) -> Table:
    rows = [
        (
            row.operation,
            f"{row.entries:,}",
            f"{row.found:,}",
            figure(row.seconds),
            figure(row.memory_growth_mb),
            f"{figure(row.ping_p99_ms)} / {figure(row.ping_worst_ms)}",
            f"{figure(row.outside_ping_p99_ms)} / {figure(row.outside_ping_worst_ms)}",
        )
        for row in measured.listing
    ]
    columns = (
        "pass",
        "entries",
        "found or removed",
        "seconds",
        "memory growth MB",
        "pings in the same process, p99 / max ms",
        "pings from another process, p99 / max ms",
    )
    return Table("listing", "An index in which one room in a hundred exists", columns, rows)


def _ablations(measured: Tables) -> Table:
    rows: list[tuple[str, ...]] = []
    whats = {variant.name: variant.what for variant in VARIANTS}
    for operation, name in dict.fromkeys((row.operation, row.variant) for row in measured.ablations):
        found = [row for row in measured.ablations if (row.operation, row.variant) == (operation, name)]
        usual = [row for row in measured.ablations if (row.operation, row.variant) == (operation, UNCHANGED.name)]
        ratio = ratios(found, usual, lambda row: row.ops_per_second)
        rows.append(
            (
                operation,
                whats.get(name, name),
                _show(row.ops_per_second for row in found),
                _show(row.p99_ms for row in found),
                "" if ratio is None or name == UNCHANGED.name else ratio.show("x"),
            )
        )
    rows.sort(key=lambda row: OPERATIONS.index(row[0]))  # pyright: ignore[reportArgumentType]
    columns = ("operation", "changed", "ops/s", "p99 ms", "against unchanged wnc-store")
    return Table("ablations", "Variants of wnc-store with one change", columns, rows)


def _limit(measured: Tables) -> Table:
    rows: list[tuple[str, ...]] = []
    for row in measured.limit:
        ours = spread(one.ops_per_second for one in rows_of(measured.throughput, "wnc-store", row.operation))
        share = "" if ours is None else f"{ours.middle / row.ops_per_second:.0%}"
        limit = figure(row.ops_per_second) if row.same_work else "not the same work"
        rows.append((row.operation, " + ".join(row.commands), limit, ours.show() if ours else "", share))
    columns = ("operation", "commands", "redis-benchmark ops/s", "wnc-store ops/s", "reached")
    return Table("limit", "The physical limit", columns, rows)


def _contenders() -> Table:
    rows = [(contender.name, contender.what) for contender in CONTENDERS.values()]
    return Table("contenders", "Contenders", ("name", "description"), rows)


def _show(values: Iterable[float]) -> str:
    values_spread = spread(values)
    return values_spread.show() if values_spread else ""


def _middle(values: Iterable[float]) -> str:
    values_spread = spread(values)
    return figure(values_spread.middle) if values_spread else ""


def markdown(table: Table) -> str:
    """Return a table as Markdown."""
    lines = [table.columns, ("---",) * len(table.columns), *table.rows]
    return "".join(f"| {' | '.join(cell.replace('|', '/') for cell in line)} |\n" for line in lines)


def fill(page: str, result: Result) -> str:
    """Return the page with its tables filled, each between `<!-- bench:NAME -->` and `<!-- /bench -->`.

    Raises:
        ValueError: the page contains an unknown table.
    """
    contents = {table.name: markdown(table) for table in tables(result)}
    known = {*contents, *_NAMES}

    def filled(match: re.Match[str]) -> str:
        name = match["name"]
        if name not in known:
            message = f"unknown table {name!r}: expected one of {', '.join(sorted(known))}"
            raise ValueError(message)
        return f"{match[1]}\n{contents.get(name, NOT_MEASURED)}\n{match[3]}"

    return _MARKED.sub(filled, page)


NOT_MEASURED = "Not part of the run that this page shows.\n"
_NAMES = frozenset(
    {
        "machine",
        "goals",
        *(operation.replace("_", "-") for operation in OPERATIONS),
        *("server", "contention", "single-client", "memory", "many-rooms", "memory-facts", "listing", "limit"),
        *("ablations", "ablations-contention"),
        "contenders",
    }
)


def main(arguments: Sequence[str], write: Callable[[str], object] = sys.stdout.write) -> None:
    """Fill the tables of a page from the JSON of a run."""
    source, page = map(Path, arguments)
    result = Result.model_validate_json(source.read_text(encoding="utf-8"))
    page.write_text(fill(page.read_text(encoding="utf-8"), result), encoding="utf-8")
    write(f"filled {page}\n")


if __name__ == "__main__":
    main(sys.argv[1:])
