"""Commands that packages register in the entry-point group `wnc_store.commands`."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from importlib.metadata import EntryPoint, entry_points
from typing import Any

import typer
from rich.markup import escape
from typer.core import TyperGroup

from wnc_store.cli.output import Exit
from wnc_store.cli.runtime import fail

_GROUP = "wnc_store.commands"
_UsageError: Any = typer.BadParameter.__base__


class PluginGroup(TyperGroup):
    """The built-in commands, and the registered ones, which are imported only when they are run or listed.

    An entry point names a function that typer can run as a command. A built-in command of the same name wins.
    """

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the options that precede the command."""
        with _hidden_urls():
            return super().parse_args(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        """Parse the arguments of the command, and run it."""
        with _hidden_urls():
            return super().invoke(ctx)

    def list_commands(self, ctx: Any) -> list[str]:
        """Return the names of all commands, the built-in ones first."""
        registered = sorted(entry_points(group=_GROUP).names)
        return [*super().list_commands(ctx), *(name for name in registered if name not in self.commands)]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Return the command of this name, or None."""
        built_in = super().get_command(ctx, cmd_name)
        if built_in is not None:
            return built_in
        entry = next(iter(entry_points(group=_GROUP, name=cmd_name)), None)
        return None if entry is None else _load_command(entry)


@contextmanager
def _hidden_urls() -> Generator[None]:
    """Replace a usage error that repeats a URL, because a URL may contain a password."""
    try:
        yield
    except _UsageError as error:
        if "://" not in error.format_message():
            raise
    else:
        return
    fail("the command does not expect a URL in this place; see the --help of the command", Exit.USAGE)


def _load_command(entry: EntryPoint) -> Any:
    """Return the registered command; if it cannot be imported, a command that accepts any arguments and prints why."""
    app = typer.Typer(add_completion=False)
    try:
        app.command(entry.name)(entry.load())
    except (ImportError, AttributeError) as error:
        reason = str(error)
        any_arguments = {"ignore_unknown_options": True, "allow_extra_args": True}

        @app.command(entry.name, help=f"Not available: {escape(reason)}", context_settings=any_arguments)
        def command() -> None:
            fail(reason, Exit.USAGE)

    return typer.main.get_command(app)
