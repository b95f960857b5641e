"""Run `wnc-store bench` with a temporary PostgreSQL server: `make bench`. The arguments are those of the command."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests/helpers"))

from postgres_server import ServerNotFoundError, postgres_server
from wnc_store.cli import main


def run() -> None:
    """Run the command. If no PostgreSQL server is installed, print what to do and run it without one."""
    options: list[str] = []
    with ExitStack() as stack:
        try:
            server = stack.enter_context(postgres_server(fsync="on"))
            options = ["--postgres", server.url()]
        except ServerNotFoundError as error:
            print(f"Postgres is not measured: {error}", file=sys.stderr)
        sys.argv = ["wnc-store", "bench", *options, *sys.argv[1:]]
        main()


if __name__ == "__main__":
    run()
