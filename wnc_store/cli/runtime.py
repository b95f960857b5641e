"""Event loop and error exits of commands, and types of options."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Coroutine
from functools import wraps
from typing import Annotated, Any, NoReturn, ParamSpec

import typer
from rich.text import Text

from wnc_store.cli.output import Exit, err, sanitize
from wnc_store.cli.sinks import OutputError
from wnc_store.errors import ConfigurationError, InvalidIdError, StoreError, StoreUnavailableError

P = ParamSpec("P")
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/")


def is_url(value: object) -> bool:
    """Return whether the value of an argument looks like a URL. A `Path` has only one slash after the scheme."""
    return _URL.match(str(value)) is not None


def refuse_url(value: Any) -> Any:
    """Return the value of an argument that is not a URL.

    Raises:
        typer.BadParameter: The value looks like a URL. The message does not contain it, because of the password.
    """
    if is_url(value):
        message = "a store URL is not expected here; see the --help of the command"
        raise typer.BadParameter(message)
    return value


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
