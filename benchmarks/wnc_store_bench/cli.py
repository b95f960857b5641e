"""The command `wnc-store bench`, which runs the benchmark."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.text import Text

from wnc_store import StoreError, StoreSettings
from wnc_store.cli.files import ensure_writable
from wnc_store.cli.output import add_row, err, out, table
from wnc_store.cli.runtime import AsJson, fail_with, refuse_url
from wnc_store.cli.sinks import OutputError
from wnc_store.cli.store import StoreOptions, explicit_store_command, with_key_prefix
from wnc_store_bench import Options, Result, run
from wnc_store_bench.chart import draw
from wnc_store_bench.options import PARTS, chosen_contenders, chosen_parts
from wnc_store_bench.report import fill, tables
from wnc_store_bench.server import OWN_PREFIX, check_url


@explicit_store_command("A Redis server. Default: start one for this run.", "Beginning of every key of the run.")
def bench(  # noqa: PLR0913 - one parameter per option
    store_options: StoreOptions,
    *,
    rounds: Annotated[int, typer.Option(min=1, help="Number of rounds; each contender runs once per round.")] = 3,
    seconds: Annotated[float, typer.Option(min=0.05, help="Duration of one measurement of one operation.")] = 2,
    rate: Annotated[float, typer.Option(min=1, help="Joins per second in the part fixed_rate.")] = 5000,
    only: Annotated[str | None, typer.Option(help=f"Parts to run, comma-separated: {', '.join(PARTS)}.")] = None,
    contenders: Annotated[
        str | None, typer.Option(help="Contenders to run, comma-separated: wnc-store,redis-py,...")
    ] = None,
    postgres: Annotated[
        str | None, typer.Option(metavar="URL", help="A PostgreSQL database, which is measured, too.")
    ] = None,
    as_json: AsJson = False,
    output: Annotated[
        Path | None,
        typer.Option(help="Write the results of all rounds here, as JSON.", dir_okay=False, callback=refuse_url),
    ] = None,
    chart: Annotated[Path | None, typer.Option(help="Write a chart (PNG) here.", dir_okay=False)] = None,
    page: Annotated[
        Path | None, typer.Option(help="Fill the tables of this Markdown page.", dir_okay=False, exists=True)
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Run every part within seconds. The figures are meaningless.")
    ] = False,
) -> None:
    """Compare wnc-store with redis-py and ioredis on one Redis server, and its backends with each other.

    Uses its own key prefix. Takes about fifteen minutes.
    """
    try:
        url, key_prefix = store_options.url, store_options.key_prefix or ""
        if url is not None:
            check_url(url)  # before anything is run
        with_key_prefix(StoreSettings(), f"{key_prefix}{'-' * OWN_PREFIX}")
        options = Options(
            rounds=rounds,
            seconds=seconds,
            rate=rate,
            parts=chosen_parts(only),
            contenders=chosen_contenders(contenders),
            key_prefix=key_prefix,
        )
        for path in filter(None, (output, chart, page)):
            ensure_writable(path)  # before the measurement, which takes minutes
        result = _run_with_progress(url, options.quick() if quick else options, postgres)
        files: tuple[tuple[Path | None, Callable[[Path], object]], ...] = (
            (output, lambda path: path.write_text(f"{result.model_dump_json(indent=1)}\n", encoding="utf-8")),
            (chart, lambda path: draw(result, path)),
            (page, lambda path: path.write_text(fill(path.read_text(encoding="utf-8"), result), encoding="utf-8")),
        )
        written = [_write(path, write) for path, write in files if path is not None]
        if as_json:
            print(result.model_dump_json(indent=1))  # noqa: T201 - rich would wrap the lines
        else:
            _print_tables(result)
        for path in written:
            err.print(f"Wrote {path}", markup=False)
    except (StoreError, ImportError, OutputError) as error:
        fail_with(error)


def _run_with_progress(url: str | None, options: Options, postgres: str | None) -> Result:
    columns = (SpinnerColumn(), TimeElapsedColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=err, transient=True) as progress:
        task = progress.add_task("", total=None)

        def report_progress(line: str) -> None:
            progress.update(task, description=escape(line))
            if not err.is_terminal:  # rich draws no progress display there
                err.print(line, markup=False)

        return asyncio.run(run(url, options, report_progress, postgres))


def _write(path: Path, write: Callable[[Path], object]) -> Path:
    try:
        write(path)
    except OSError as error:
        raise OutputError(str(path), error.strerror) from None
    return path


def _print_tables(result: Result) -> None:
    for source in tables(result):
        printed = table(source.title, *source.columns, wrap=True)
        for row in source.rows:
            add_row(printed, [Text(cell) for cell in row])
        out.print(printed)
