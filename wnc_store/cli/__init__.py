"""The command line `wnc-store`."""

import io
import sys
from importlib.util import find_spec

from wnc_store.cli.sinks import STANDARD_OUTPUT, OutputError, with_name


def main() -> None:
    """Run the command line.

    Raises:
        SystemExit: Always. The exit code is 0 for success, 1 for a failure or a missing room, 2 for a usage error and
            3 for an unavailable server.
    """
    for package in ("typer", "rich"):
        if find_spec(package) is None:
            raise SystemExit(f"the command line needs {package}: pip install 'wnc-store[cli]'")
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # its encoding may lack characters that guests use
            stream.reconfigure(errors="backslashreplace")
    sys.stdout = with_name(sys.stdout, STANDARD_OUTPUT)  # None if the stream is closed
    from wnc_store.cli.app import app  # noqa: PLC0415 - after the check above
    from wnc_store.cli.output import do_not_crop_files  # noqa: PLC0415 - after the check above
    from wnc_store.cli.runtime import print_error  # noqa: PLC0415 - after the check above

    do_not_crop_files()
    try:
        try:
            app()
        finally:
            if sys.stdout is not None:  # pyright: ignore[reportUnnecessaryComparison] - None if the stream is closed
                sys.stdout.flush()  # while errors can still be reported
    except BrokenPipeError:
        sys.exit(1)
    except OutputError as error:
        print_error(str(error))
        sys.exit(1)
