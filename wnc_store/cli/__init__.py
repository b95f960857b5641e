"""The command line: `wnc-store`."""

import io
import sys
from importlib.util import find_spec


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
    from wnc_store.cli.app import app  # noqa: PLC0415 - after the check above

    app()
