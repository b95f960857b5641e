"""`wnc-store verify`: the contract suite from the command line."""

from __future__ import annotations

from collections import Counter
from textwrap import indent

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.text import Text

from wnc_store.cli.output import Exit, add_row, err, out, print_json, table
from wnc_store.cli.runtime import fail
from wnc_store_contract.verify import (
    Conformance,
    Report,
    Result,
    ensure_usable,
    harness_by_name,
    harness_for_url,
    verify,
)

_STYLES = {"passed": "green", "failed": "bold red", "skipped": "yellow", "xfailed": "yellow"}


def run_verify(url: str | None, harness: str | None, *, as_json: bool, allow_nonempty: bool) -> bool:
    """Run the suite on a URL or a harness, print the report, and tell whether no clause failed.

    Raises:
        ConfigurationError: there is no such harness, it gives no store, or the place is not empty.
        StoreUnavailableError: the server can't be reached.
    """
    make_harness = harness_for_url(url) if url is not None else harness_by_name(harness or "")
    # A URL may hold a password: only its scheme is repeated.
    target = f"{url.partition('://')[0]}://" if url is not None else harness or ""
    ensure_usable(make_harness, allow_nonempty=allow_nonempty)
    columns = (TextColumn("verifying"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=err, transient=True) as progress:
        task = progress.add_task("", total=None)

        def begin(total: int) -> None:
            progress.update(task, total=total)

        def advance(result: Result) -> None:
            progress.update(task, advance=1, description=result.clause.name.removeprefix("test_").replace("_", " "))

        try:
            report = verify(make_harness, target, on_start=begin, on_result=advance)
        except KeyboardInterrupt:
            done, total = progress.tasks[task].completed, progress.tasks[task].total or 0
            fail(f"interrupted after {done:.0f} of {total:.0f} clauses", Exit.INTERRUPTED)
    if as_json:
        print_json(report.to_json())
    else:
        _print_table(report)
    return report.level is not Conformance.NONE


def _print_table(report: Report) -> None:
    shown = table(f"the contract on {report.target}", "rule", "outcome")
    for result in report.results:
        outcome = Text(result.outcome, style=_STYLES[result.outcome])
        add_row(shown, [result.clause.rule, outcome])
    out.print(shown)
    # What failed comes last, where it is seen, and what is not declared in a line for each reason.
    for reason, number in Counter(one.reason for one in report.results if one.outcome == "skipped").items():
        out.print(
            Text.assemble((f"{number} skipped", _STYLES["skipped"]), f": {reason.removeprefix('not declared: ')}")
        )
    for outcome in ("xfailed", "failed"):
        for result in (one for one in report.results if one.outcome == outcome):
            told = f" {result.clause.name}: {result.clause.rule}\n{indent(result.reason, '    ')}"
            out.print(Text.assemble((outcome, _STYLES[outcome]), told), soft_wrap=True)
    outcomes = ("passed", "failed", "skipped", "xfailed")
    counts = ", ".join(f"{report.count(outcome)} {outcome}" for outcome in outcomes if report.count(outcome))
    if report.level is Conformance.PARTIAL:
        out.print("partial: what ran passed; what is not declared by the harness, or excused, did not count")
    style = "bold red" if report.level is Conformance.NONE else "bold green"
    out.print(Text.assemble("level: ", (report.level.value, style), f" ({counts})"))
