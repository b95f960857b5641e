"""Groups of commands, and commands that other packages register by entry points.

An entry point of the group `wnc_store.commands.look`, `.change`, `.verify` or `.measure` adds a command to this panel
of `wnc-store --help`. One of the group `wnc_store.commands` adds a command to the panel of other commands.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from enum import StrEnum
from importlib.metadata import EntryPoint, entry_points
from typing import Any, NamedTuple

import typer
from rich.markup import escape
from typer.core import TyperGroup

from wnc_store.cli.output import Exit
from wnc_store.cli.runtime import fail, is_url

_GROUP = "wnc_store.commands"
_HAS_URL = f"{__name__}.has_url"
_UsageError: Any = typer.BadParameter.__base__


class Panel(StrEnum):
    """The panels of `wnc-store --help`, in their order."""

    LOOK = "Look"
    CHANGE = "Change"
    VERIFY = "Verify"
    MEASURE = "Measure"
    OTHER = "Other"


class _Registered(NamedTuple):
    entry: EntryPoint
    panel: Panel


class PluginGroup(TyperGroup):
    """The built-in commands, and the registered ones, which are imported only when they are run or listed.

    An entry point names a function that typer can run as a command. A built-in command of the same name wins.
    """

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the options that precede the command."""
        ctx.meta[_HAS_URL] = any(map(_contains_url, args))
        with _hidden_urls(ctx):
            return super().parse_args(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        """Parse the arguments of the command, and run it."""
        with _hidden_urls(ctx):
            return super().invoke(ctx)

    def list_commands(self, ctx: Any) -> list[str]:
        """Return the names of all commands in the order of the panels, in each the built-in ones first."""
        built_in: list[tuple[str, Panel]] = [
            (name, Panel(getattr(self.commands[name], "rich_help_panel", None) or Panel.OTHER))
            for name in super().list_commands(ctx)
        ]
        registered = [(name, found.panel) for name, found in sorted(_registered().items()) if name not in self.commands]
        return [name for panel in Panel for name, own in (*built_in, *registered) if own is panel]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Return the command of this name, or None."""
        built_in = super().get_command(ctx, cmd_name)
        if built_in is not None:
            return built_in
        found = _registered().get(cmd_name)
        return None if found is None else _load_command(*found)


def _registered() -> dict[str, _Registered]:
    """Return the registered commands by their names."""
    groups = [*((f"{_GROUP}.{panel.lower()}", panel) for panel in Panel if panel is not Panel.OTHER)]
    found: dict[str, _Registered] = {}
    for group, panel in [*groups, (_GROUP, Panel.OTHER)]:
        for entry in entry_points(group=group):
            found.setdefault(entry.name, _Registered(entry, panel))
    return found


def _contains_url(argument: str) -> bool:
    return "://" in argument or is_url(argument)


@contextmanager
def _hidden_urls(ctx: Any) -> Generator[None]:
    """Replace a usage error that repeats a URL or a part of it, because a URL may contain a password.

    The shell may split a URL into several arguments, for example at a space in the password.
    """
    try:
        yield
    except _UsageError as error:
        message = error.format_message()
        is_part = ctx.meta[_HAS_URL] and "extra argument" in message
        if "://" not in message and not is_part:
            raise
    else:
        return
    fail("the command does not expect a URL or another argument in this place; see its --help", Exit.USAGE)


def _load_command(entry: EntryPoint, panel: Panel) -> Any:
    """Return the registered command; if it cannot be imported, a command that accepts any arguments and prints why."""
    app = typer.Typer(add_completion=False)
    try:
        app.command(entry.name, rich_help_panel=panel)(entry.load())
    except (ImportError, AttributeError) as error:
        reason = str(error)
        any_arguments = {"ignore_unknown_options": True, "allow_extra_args": True}
        help_text = f"Not available: {escape(reason)}"

        @app.command(entry.name, help=help_text, context_settings=any_arguments, rich_help_panel=panel)
        def command() -> None:
            fail(reason, Exit.USAGE)

    return typer.main.get_command(app)
