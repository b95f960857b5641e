"""Stores, event loop and error exits of commands."""

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
from wnc_store.cli.output import Exit, err, print_notice, sanitize
from wnc_store.cli.sinks import OutputError

Url = Annotated[
    str | None, typer.Option("--url", help="Store URL. Default: WNC_STORE_URL, else REDIS_URL, else memory://.")
]
UrlArgument = Annotated[
    str | None,
    typer.Argument(
        metavar="URL", help="Store URL. Default: WNC_STORE_URL, else REDIS_URL, else memory://.", show_default=False
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]

_CODES: tuple[tuple[type[Exception], Exit], ...] = (
    (StoreUnavailableError, Exit.UNAVAILABLE),
    (ConfigurationError, Exit.USAGE),
    (InvalidIdError, Exit.USAGE),
    (ImportError, Exit.USAGE),
)


@asynccontextmanager
async def open_cli_store(url: str | None) -> AsyncGenerator[Store]:
    """Open the store of a command, and warn if it is the empty in-memory store."""
    if (configured_url() if url is None else url) == "memory://":
        print_notice("Using an empty in-memory store. Pass a store URL or set WNC_STORE_URL to use another store.")
    async with open_store(url) as store:
        yield store


def run(work: Coroutine[Any, Any, None]) -> None:
    """Run the coroutine of a command. On a known error, print it and exit with its code."""
    try:
        asyncio.run(work)
    except (StoreError, ImportError, OutputError) as error:
        fail_with(error)


def fail_with(error: Exception) -> NoReturn:
    """Print an error and exit with the code of its class."""
    fail(str(error), next((code for kind, code in _CODES if isinstance(error, kind)), Exit.FAILED))


def fail(message: str, code: Exit) -> NoReturn:
    """Print an error message and exit."""
    print_error(message)
    raise typer.Exit(code)


def print_error(message: str) -> None:
    """Print an error message to standard error."""
    err.print(Text.assemble(("error: ", "bold red"), sanitize(message)), soft_wrap=True)
