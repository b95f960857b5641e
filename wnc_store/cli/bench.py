"""`wnc-store bench`: the benchmark from the command line."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

from rich.markup import escape
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.text import Text

from wnc_store.cli.files import ensure_writable
from wnc_store.cli.output import add_row, err, out, table
from wnc_store.cli.sinks import OutputError
from wnc_store_bench import Options, Result, run
from wnc_store_bench.chart import draw
from wnc_store_bench.report import fill, tables

_STYLES = {"met": "green", "not met": "bold red"}


def run_bench(url: str | None, options: Options, *, json: Path | None, chart: Path | None, page: Path | None) -> None:
    """Measure, print the tables, and write the files that are asked for.

    Raises:
        ConfigurationError: something needed is missing, or the URL is wrong.
        StoreUnavailableError: the server can't be reached.
        OutputError: a file can't be written after all.
    """
    for path in filter(None, (json, chart, page)):
        ensure_writable(path)  # measuring takes minutes
    columns = (SpinnerColumn(), TimeElapsedColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=err, transient=True) as progress:
        task = progress.add_task("", total=None)

        def report_progress(line: str) -> None:
            progress.update(task, description=escape(line))
            if not err.is_terminal:  # where nothing can be drawn again, say it line by line
                err.print(line, markup=False)

        result = asyncio.run(run(url, options, report_progress))
    files: tuple[tuple[Path | None, Callable[[Path], object]], ...] = (
        (json, lambda path: path.write_text(f"{result.model_dump_json(indent=1)}\n", encoding="utf-8")),
        (chart, lambda path: draw(result, path)),
        (page, lambda path: path.write_text(fill(path.read_text(encoding="utf-8"), result), encoding="utf-8")),
    )
    wrote = [_write(path, write) for path, write in files if path is not None]
    _print(result)
    for path in wrote:
        err.print(f"wrote {path}", markup=False)


def _write(path: Path, write: Callable[[Path], object]) -> Path:
    try:
        write(path)
    except OSError as error:
        raise OutputError(str(path), error.strerror) from None
    return path


def _print(result: Result) -> None:
    for made in tables(result):
        shown = table(made.title, *made.columns)
        for row in made.rows:
            add_row(shown, [Text(cell, style=_STYLES.get(cell, "")) for cell in row])
        out.print(shown)
