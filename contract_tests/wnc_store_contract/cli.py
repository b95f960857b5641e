"""The command `wnc-store verify`, which runs the contract suite."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from textwrap import indent
from typing import Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.text import Text

from wnc_store import StoreError
from wnc_store.cli.output import Exit, add_row, err, out, print_json, table
from wnc_store.cli.runtime import AsJson, fail, fail_with
from wnc_store_contract.harness import Harness
from wnc_store_contract.verify import (
    Conformance,
    Report,
    Result,
    ensure_usable,
    harness_by_name,
    harness_for_url,
)
from wnc_store_contract.verify import verify as run_contract

_STYLES = {"passed": "green", "failed": "bold red", "skipped": "yellow", "xfailed": "yellow"}


def verify(
    url: Annotated[
        str | None, typer.Argument(metavar="URL", help="The store to verify, for example redis://host:6379/9.")
    ] = None,
    *,
    harness: Annotated[str | None, typer.Option(help="A harness instead of a URL: package.module:Class.")] = None,
    as_json: AsJson = False,
    allow_nonempty: Annotated[
        bool, typer.Option("--allow-nonempty", help="Run even if the database holds data; only its own keys change.")
    ] = False,
) -> None:
    """Run the contract suite on a backend. Exit 1 if a clause fails."""
    if (url is None) == (harness is None):
        fail("expected either a URL or --harness", Exit.USAGE)
    try:
        make_harness = harness_for_url(url) if url is not None else harness_by_name(harness or "")
        ensure_usable(make_harness, allow_nonempty=allow_nonempty)
        # Only the URL's scheme is printed: the URL may contain a password.
        target = f"{url.partition('://')[0]}://" if url is not None else harness or ""
        report = _run_with_progress(make_harness, target)
    except (StoreError, ImportError) as error:
        fail_with(error)
    if as_json:
        print_json(report.to_json())
    else:
        _print_report(report)
    if report.level is Conformance.NONE:
        raise typer.Exit(Exit.FAILED)


def _run_with_progress(make_harness: Callable[[], Harness], target: str) -> Report:
    columns = (TextColumn("verifying"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=err, transient=True) as progress:
        task = progress.add_task("", total=None)

        def start(total: int) -> None:
            progress.update(task, total=total)

        def advance(result: Result) -> None:
            progress.update(task, advance=1, description=result.clause.name.removeprefix("test_").replace("_", " "))

        try:
            return run_contract(make_harness, target, on_start=start, on_result=advance)
        except KeyboardInterrupt:
            done, total = progress.tasks[task].completed, progress.tasks[task].total or 0
            fail(f"interrupted after {done:.0f} of {total:.0f} clauses", Exit.INTERRUPTED)


def _print_report(report: Report) -> None:
    clauses = table(f"contract results for {report.target}", "rule", "outcome")
    for result in report.results:
        add_row(clauses, [result.clause.rule, Text(result.outcome, style=_STYLES[result.outcome])])
    out.print(clauses)
    # Skipped clauses share one line per reason. Failures come last, where the terminal ends.
    skipped = Counter(result.reason for result in report.results if result.outcome == "skipped")
    for reason, count in skipped.items():
        out.print(Text.assemble((f"{count} skipped", _STYLES["skipped"]), f": {reason.removeprefix('not declared: ')}"))
    for outcome in ("xfailed", "failed"):
        for result in report.results:
            if result.outcome == outcome:
                details = f" {result.clause.name}: {result.clause.rule}\n{indent(result.reason, '    ')}"
                out.print(Text.assemble((outcome, _STYLES[outcome]), details), soft_wrap=True)
    if report.level is Conformance.PARTIAL:
        out.print(
            "partial: every clause that ran passed; undeclared capabilities and xfailed clauses were not verified"
        )
    outcomes = ("passed", "failed", "skipped", "xfailed")
    counts = ", ".join(f"{report.count(outcome)} {outcome}" for outcome in outcomes if report.count(outcome))
    style = "bold red" if report.level is Conformance.NONE else "bold green"
    out.print(Text.assemble("level: ", (report.level.value, style), f" ({counts})"))
