"""The command line: `wnc-store`."""

import io
import sys
from collections.abc import Generator
from contextlib import contextmanager
from importlib.util import find_spec

from wnc_store.cli.sinks import STANDARD_OUTPUT, OutputError, named


def main() -> None:
    """Run the command line.

    Raises:
        SystemExit: always; 0 is success, 1 a failure or nothing found, 2 wrong usage, 3 no server.
    """
    for needed in ("typer", "rich"):
        if find_spec(needed) is None:
            message = f"the command line needs {needed}: pip install 'wnc-store[cli]'"
            raise SystemExit(message)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # which may be of an encoding that lacks what a guest wrote
            stream.reconfigure(errors="backslashreplace")
    sys.stdout = named(sys.stdout, STANDARD_OUTPUT)  # None, if it was closed, stays None
    from wnc_store.cli.app import app  # noqa: PLC0415 - after the check above
    from wnc_store.cli.runtime import print_error  # noqa: PLC0415 - likewise

    try:
        with _flushed():
            app()
    except OutputError as error:
        print_error(str(error))
        sys.exit(1)


@contextmanager
def _flushed() -> Generator[None]:
    """Write what is buffered while somebody is there to tell of an error; a reader who has gone is told nothing."""
    try:
        yield
    finally:
        if sys.stdout is not None:  # pyright: ignore[reportUnnecessaryComparison] - it is, if it was closed
            try:
                sys.stdout.flush()
            except BrokenPipeError:
                sys.exit(1)
