"""The command `wnc-store verify`, which runs the contract suite."""

from __future__ import annotations

import secrets
from collections import Counter, defaultdict
from collections.abc import Sequence
from textwrap import indent
from typing import Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.text import Text

from wnc_store import StoreError, StoreSettings, __version__
from wnc_store.cli.output import Exit, add_row, err, out, pluralize, print_json, sanitize, table
from wnc_store.cli.runtime import AsJson, fail, fail_with, refuse_url
from wnc_store.cli.store import StoreOptions, explicit_store_command, with_key_prefix
from wnc_store_contract._process import Request
from wnc_store_contract.clause import Clause
from wnc_store_contract.faults.run import FaultReport
from wnc_store_contract.verify import CLAUSES, Conformance, Report, Result, find_harness, select_clauses
from wnc_store_contract.verify import verify as run_contract

_OWN_PREFIX = 32
"""Longest prefix that harnesses and clauses add to that of --key-prefix."""

_STYLES = {"passed": "green", "failed": "bold red", "skipped": "yellow"}


@explicit_store_command(
    "The store to verify, for example redis://host:6379/9. Default: the harness of --harness.",
    "Beginning of every key that the run writes.",
)
def verify(  # noqa: PLR0913 - each is an option
    store_options: StoreOptions,
    *,
    harness: Annotated[
        str | None, typer.Option(help="A harness instead of a URL: package.module:Class.", callback=refuse_url)
    ] = None,
    only: Annotated[
        list[str] | None, typer.Option(help="Run only clauses whose name or rule contains this text; repeatable.")
    ] = None,
    fail_fast: Annotated[bool, typer.Option("--fail-fast", help="Stop after the first failed clause.")] = False,
    show_all: Annotated[bool, typer.Option("--all", help="List every clause with its outcome.")] = False,
    faults: Annotated[
        float | None,
        typer.Option(metavar="SECONDS", min=0.1, help="Then run concurrent calls under faults for this long."),
    ] = None,
    no_clauses: Annotated[bool, typer.Option("--no-clauses", help="Run only the calls under faults.")] = False,
    seed: Annotated[int | None, typer.Option(help="The seed of a former run under faults, to repeat it.")] = None,
    as_json: AsJson = False,
    allow_nonempty: Annotated[
        bool, typer.Option("--allow-nonempty", help="Run even if the database holds data; only its own keys change.")
    ] = False,
) -> None:
    """Run the contract suite on a backend. Exit 1 if a clause fails or a rule is violated under faults."""
    url, key_prefix = store_options.url, store_options.key_prefix or ""
    if (url is None) == (harness is None):
        fail("expected either a URL or --harness", Exit.USAGE)
    if harness is not None and key_prefix:
        fail("--key-prefix requires a URL: the class of --harness chooses its keys itself", Exit.USAGE)
    if faults is None and (no_clauses or seed is not None):
        fail("--no-clauses and --seed require --faults SECONDS", Exit.USAGE)
    if no_clauses and only:
        fail("--only selects clauses, and --no-clauses runs none: use one of them", Exit.USAGE)
    try:
        selected = [] if no_clauses else select_clauses(only or [])
        names = [clause.name for clause in selected] if only or no_clauses else None
        entry = find_harness(url) if url is not None else harness or ""
        seed = secrets.randbelow(1_000_000) if seed is None else seed
        with_key_prefix(StoreSettings(), f"{key_prefix}{'-' * _OWN_PREFIX}")  # checks it before anything is run
        request = Request(entry, url, names, fail_fast, allow_nonempty, faults, seed, key_prefix)
        # Only the URL's scheme is printed: the URL may contain a password.
        target = f"{url.partition('://')[0]}://" if url is not None else entry
        report = _run_with_progress(request, target, selected)
    except (StoreError, ImportError) as error:
        fail_with(error)
    if as_json:
        print_json(report.to_json())
    else:
        _print_report(report, show_all=show_all)
    if report.level is Conformance.NONE:
        raise typer.Exit(Exit.FAILED)


def _run_with_progress(request: Request, target: str, selected: Sequence[Clause]) -> Report:
    columns = (TextColumn("verifying"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as progress:
        task = progress.add_task("", total=len(selected))

        def advance(result: Result) -> None:
            progress.update(task, advance=1, description=result.clause.name.removeprefix("test_").replace("_", " "))

        def count(operations: int, faults: int) -> None:
            progress.update(task, description=f"under faults: {operations:,} operations, {faults:,} faults")

        try:
            return run_contract(request, target, selected, on_result=advance, on_progress=count)
        except KeyboardInterrupt:
            done = progress.tasks[task].completed
            after = f" after {done:.0f} of {len(selected)} clauses" if selected else ""
            fail(f"interrupted{after}", Exit.INTERRUPTED)


def _print_report(report: Report, *, show_all: bool) -> None:
    if show_all:
        clauses = table(f"contract results for {report.target}", "rule", "outcome", keep={"outcome"})
        for result in report.results:
            add_row(clauses, [result.clause.rule, Text(result.outcome, style=_STYLES[result.outcome])])
        out.print(clauses)
    # Skipped clauses share one line per reason. Failures come last, where the terminal ends.
    skipped = Counter(result.reason for result in report.results if result.outcome == "skipped")
    for reason, count in skipped.items():
        out.print(Text.assemble((f"{count} skipped", _STYLES["skipped"]), f": {reason.removeprefix('not declared: ')}"))
    _print_failures(report)
    if report.faults is not None:
        _print_faults(report.faults)
    if report.problem:
        out.print(Text.assemble(("error: ", "bold red"), sanitize(report.problem)), soft_wrap=True)
    if report.level is Conformance.PARTIAL:
        out.print("partial: every clause that ran passed; undeclared capabilities were not verified")
    counts = ", ".join(
        f"{report.count(outcome)} {outcome}" for outcome in ("passed", "failed", "skipped") if report.count(outcome)
    )
    style = "bold red" if report.level is Conformance.NONE else "bold green"
    suite = f"contract suite {__version__}, {len(report.selected)} of {len(CLAUSES)} clauses"
    out.print(
        Text.assemble("level: ", (report.level.value, style), f" ({counts or 'no results'}; {suite})"), soft_wrap=True
    )


def _print_failures(report: Report) -> None:
    """Print each failed clause with its rule and reason. Failures of the same reason, as of a harness, are one."""
    failures: dict[str, list[Clause]] = defaultdict(list)
    for result in report.results:
        if result.outcome == "failed":
            failures[result.reason].append(result.clause)
    for reason, (first, *others) in failures.items():
        rule = f" and {pluralize(len(others), 'other clause')}" if others else f": {first.rule}"
        details = f" {first.name}{rule}\n{indent(reason, '    ')}"
        out.print(Text.assemble(("failed", _STYLES["failed"]), details), soft_wrap=True)


def _print_faults(report: FaultReport) -> None:
    """Print the violations under faults with their histories, and a summary."""
    for violation in report.violations:
        out.print(Text.assemble(("violated", _STYLES["failed"]), f": {violation.rule}"), soft_wrap=True)
        if violation.key:
            out.print(sanitize(f"    key {violation.key}; the results with * cannot all be true:"), soft_wrap=True)
        for line in violation.history:
            out.print(Text.assemble("    ", sanitize(line)), soft_wrap=True)
    if report.undecided:
        out.print(f"{pluralize(report.undecided, 'key')} undecided: too many calls had unknown outcomes")
    outcome = pluralize(len(report.violations), "violation") if report.violations else "no violation"
    out.print(
        f"faults: {outcome} in {report.operations:,} operations with {pluralize(report.faults, 'fault')} "
        f"({report.unknown:,} unknown outcomes, {report.refused:,} rejected); repeat with --seed {report.seed}",
        soft_wrap=True,
    )
