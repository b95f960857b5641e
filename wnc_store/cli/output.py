"""What the command line prints: tables for people, JSON for scripts, and never a secret."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import timedelta
from enum import IntEnum

from pydantic import JsonValue
from rich.console import Console
from rich.table import Table
from rich.text import Text

from wnc_store.records.js_types import from_milliseconds, iso

out = Console(highlight=False)
err = Console(stderr=True, highlight=False)


class Exit(IntEnum):
    """The exit codes."""

    OK = 0
    FAILED = 1
    USAGE = 2
    UNAVAILABLE = 3
    INTERRUPTED = 130


def print_json(value: JsonValue) -> None:
    """Print JSON, in ASCII: what guests wrote may hold anything."""
    print(json.dumps(value, indent=2))  # noqa: T201 - rich would wrap the lines


def sanitize(value: object) -> Text:
    """Return text of other people's for the terminal: without markup, and without its control characters."""
    return Text("".join(char if char.isprintable() else "�" for char in str(value)))


def table(title: str, *columns: str) -> Table:
    """Return an empty table."""
    made = Table(title=title, title_justify="left", title_style="bold", header_style="bold")
    for column in columns:
        made.add_column(column, overflow="fold")
    return made


def add_row(to: Table, cells: Sequence[object]) -> None:
    """Add a row of other people's text, or of `Text` of our own."""
    to.add_row(*(cell if isinstance(cell, Text) else sanitize(cell) for cell in cells))


def pluralize(number: int, what: str) -> str:
    """Say how many there are of something."""
    return f"{number} {what}{'' if number == 1 else 's'}"


def format_timestamp(milliseconds: float) -> str:
    """Return epoch milliseconds as a date, where they are one."""
    try:
        return iso(from_milliseconds(int(milliseconds)))
    except (ValueError, OverflowError):
        return str(milliseconds)


def format_ttl(ttl: timedelta | None) -> str:
    """Say how long something still lives, to the second."""
    if ttl is None:
        return "gone"
    if ttl == timedelta.max:
        return "never expires"
    return str(ttl - timedelta(microseconds=ttl.microseconds))
