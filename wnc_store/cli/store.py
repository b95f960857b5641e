"""The store of a command: the argument and the options that name it, and opening it."""

from __future__ import annotations

import inspect
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import wraps
from inspect import Parameter
from typing import Annotated, Any, Concatenate, ParamSpec

import typer

from wnc_store.cli.output import Exit, print_notice
from wnc_store.cli.runtime import fail, is_url
from wnc_store.factory import configured_url, open_store
from wnc_store.protocols import Store
from wnc_store.settings import StoreSettings

P = ParamSpec("P")
_URL_HELP = "Store URL. Default: WNC_STORE_URL, else REDIS_URL, else memory://."
_KEY_PREFIX_HELP = "Prefix of every key. Default: WNC_STORE_KEY_PREFIX, else none."
RoomId = Annotated[str, typer.Argument(metavar="ROOM", help="Room id.")]


@dataclass(frozen=True, slots=True)
class StoreOptions:
    """The store that a command line names.

    Attributes:
        url: The URL. None if the command line does not contain one.
        key_prefix: The prefix of every key. None if the command line does not contain one.
    """

    url: str | None = field(repr=False)
    key_prefix: str | None = None

    @property
    def scheme(self) -> str:
        """The scheme of the URL in lower case, or "". The rest of the URL may contain a password."""
        scheme, separator, _ = (self.url or "").partition("://")
        return scheme.lower() if separator else ""

    def settings(self) -> StoreSettings:
        """Return the settings of the environment with the key prefix of the command line.

        Raises:
            ConfigurationError: The key prefix or an environment variable is invalid.
        """
        settings = StoreSettings.from_environment()
        if self.key_prefix is None:
            return settings
        return with_key_prefix(settings, self.key_prefix)


def with_key_prefix(settings: StoreSettings, key_prefix: str) -> StoreSettings:
    """Return the settings with another key prefix.

    Raises:
        ConfigurationError: The key prefix is invalid.
    """
    values = {**dict(settings), "key_prefix": key_prefix}
    return StoreSettings.model_validate(values, context={"key_prefix": "--key-prefix"})


@asynccontextmanager
async def open_cli_store(options: StoreOptions) -> AsyncGenerator[Store]:
    """Open the store of a command, and warn if it is the empty in-memory store."""
    if (configured_url() if options.url is None else options.url) == "memory://":
        print_notice("Using an empty in-memory store. Pass a store URL or set WNC_STORE_URL to use another store.")
    async with open_store(options.url, settings=options.settings()) as store:
        yield store


def store_command(function: Callable[Concatenate[StoreOptions, P], None]) -> Callable[..., None]:
    """Return a command that adds the argument URL and the options --url and --key-prefix to those of a function.

    The function receives them as its first parameter. The URL may be passed before or after the other arguments,
    because it is recognized by its scheme.
    """
    return _make_command(function, _URL_HELP, _KEY_PREFIX_HELP)


def explicit_store_command(
    url_help: str, key_prefix_help: str
) -> Callable[[Callable[Concatenate[StoreOptions, P], None]], Callable[..., None]]:
    """Return a decorator like `store_command` for a command that does not use the store of the environment."""

    def decorate(function: Callable[Concatenate[StoreOptions, P], None]) -> Callable[..., None]:
        return _make_command(function, url_help, key_prefix_help)

    return decorate


def _make_command(
    function: Callable[Concatenate[StoreOptions, P], None], url_help: str, key_prefix_help: str
) -> Callable[..., None]:
    annotations: dict[str, Any] = {
        "url_argument": Annotated[str | None, typer.Argument(metavar="URL", help=url_help, show_default=False)],
        "url_option": Annotated[str | None, typer.Option("--url", metavar="URL", help="The same as the argument URL.")],
        "key_prefix": Annotated[str | None, typer.Option("--key-prefix", metavar="PREFIX", help=key_prefix_help)],
    }
    _, *own = inspect.signature(function, eval_str=True).parameters.values()
    arguments = [parameter for parameter in own if parameter.kind is Parameter.POSITIONAL_OR_KEYWORD]
    options = [parameter for parameter in own if parameter.kind is Parameter.KEYWORD_ONLY]
    first = arguments[0].name if arguments else None

    @wraps(function)
    def command(**values: Any) -> None:
        url_argument, url_option, key_prefix = (values.pop(name) for name in annotations)
        if first is not None and is_url(values[first]):
            values[first], url_argument = url_argument, values[first]
            if values[first] is None or is_url(values[first]):
                metavar = first.removesuffix("_id").upper()
                fail(f"the argument {metavar} is missing; see the --help of the command", Exit.USAGE)
        if url_argument is not None and url_option is not None:
            fail("pass the store URL as an argument or with --url, not both", Exit.USAGE)
        url = url_option if url_argument is None else url_argument
        run: Callable[..., None] = function
        run(StoreOptions(url, key_prefix), **values)

    def added(name: str, kind: Any) -> Parameter:
        return Parameter(name, kind, default=None, annotation=annotations[name])

    parameters = [
        *arguments,
        added("url_argument", Parameter.POSITIONAL_OR_KEYWORD),
        added("url_option", Parameter.KEYWORD_ONLY),
        added("key_prefix", Parameter.KEYWORD_ONLY),
        *options,
    ]
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    command.__dict__["__signature__"] = inspect.Signature(parameters)
    return command
