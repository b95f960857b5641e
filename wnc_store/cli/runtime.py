"""Stores, event loop and error exits of commands."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import asynccontextmanager
from functools import wraps
from typing import Annotated, Any, NoReturn, ParamSpec

import typer
from rich.text import Text

from wnc_store.cli.output import Exit, err, print_notice, sanitize
from wnc_store.cli.sinks import OutputError
from wnc_store.errors import ConfigurationError, InvalidIdError, StoreError, StoreUnavailableError
from wnc_store.factory import configured_url, open_store
from wnc_store.protocols import Store

P = ParamSpec("P")
_URL_HELP = "Store URL. Default: WNC_STORE_URL, else REDIS_URL, else memory://."
Url = Annotated[str | None, typer.Option("--url", help=_URL_HELP)]
UrlArgument = Annotated[str | None, typer.Argument(metavar="URL", help=_URL_HELP, show_default=False)]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def refuse_url(value: Any) -> Any:
    """Return the value of an argument that is not a URL.

    Raises:
        typer.BadParameter: The value looks like a URL. The message does not contain it, because of the password.
    """
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]+:/", str(value)):
        message = "a store URL is not expected here; see the --help of the command"
        raise typer.BadParameter(message)
    return value


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


def async_command(function: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """Return a command that runs a coroutine function with `run`."""

    @wraps(function)
    def command(*args: P.args, **kwargs: P.kwargs) -> None:
        run(function(*args, **kwargs))

    return command


def fail_with(error: Exception) -> NoReturn:
    """Print an error and exit with the code of its class."""
    if isinstance(error, StoreUnavailableError):
        fail(str(error), Exit.UNAVAILABLE)
    is_usage_error = isinstance(error, ConfigurationError | InvalidIdError | ImportError)
    fail(str(error), Exit.USAGE if is_usage_error else Exit.FAILED)


def fail(message: str, code: Exit) -> NoReturn:
    """Print an error message and exit."""
    print_error(message)
    raise typer.Exit(code)


def print_error(message: str) -> None:
    """Print an error message to standard error."""
    err.print(Text.assemble(("error: ", "bold red"), sanitize(message)), soft_wrap=True)
