"""How commands run: on which store, and how they fail."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Coroutine
from contextlib import asynccontextmanager
from typing import Annotated, Any, NoReturn

import typer
from rich.text import Text

from wnc_store import (
    ConfigurationError,
    InvalidIdError,
    Store,
    StoreError,
    StoreUnavailableError,
    configured_url,
    open_store,
)
from wnc_store.cli.output import Exit, err, sanitize
from wnc_store.cli.sinks import OutputError

Url = Annotated[
    str | None, typer.Option("--url", help="The store. Default: WNC_STORE_URL, else REDIS_URL, else memory://.")
]
UrlArgument = Annotated[
    str | None, typer.Argument(metavar="URL", help="The store; as --url elsewhere if left out.", show_default=False)
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")]

_CODES: tuple[tuple[type[Exception], Exit], ...] = (
    (StoreUnavailableError, Exit.UNAVAILABLE),
    (ConfigurationError, Exit.USAGE),
    (InvalidIdError, Exit.USAGE),
    (ImportError, Exit.USAGE),
)


@asynccontextmanager
async def open_cli_store(url: str | None) -> AsyncGenerator[Store]:
    """Open the store that a command looks at."""
    if (configured_url() if url is None else url) == "memory://":
        err.print("looking into this command's own memory, which is empty: name a store by its URL or by WNC_STORE_URL")
    async with open_store(url) as store:
        yield store


def run(work: Coroutine[Any, Any, None]) -> None:
    """Run a command to its end; say what went wrong, and exit accordingly."""
    try:
        asyncio.run(work)
    except (StoreError, ImportError, OutputError) as error:
        fail_with(error)


def fail_with(error: Exception) -> NoReturn:
    """Say what went wrong, and exit with the code of that kind of error."""
    fail(str(error), next((code for kind, code in _CODES if isinstance(error, kind)), Exit.FAILED))


def fail(message: str, code: Exit) -> NoReturn:
    """Say what went wrong, and exit."""
    print_error(message)
    raise typer.Exit(code)


def print_error(message: str) -> None:
    """Say what went wrong."""
    err.print(Text.assemble(("error: ", "bold red"), sanitize(message)), soft_wrap=True)
