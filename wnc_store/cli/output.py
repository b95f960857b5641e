"""Output of the command line: tables and JSON."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from datetime import timedelta
from enum import IntEnum

from pydantic import JsonValue
from rich.console import Console
from rich.table import Table
from rich.text import Text

from wnc_store.records.codec import to_json_text
from wnc_store.records.js_types import from_milliseconds, iso
from wnc_store.records.models import VideoState

_not_ascii = re.compile(r"[^\x00-\x7f]+")

out = Console(highlight=False)
err = Console(stderr=True, highlight=False)

_MAX_CELL_LENGTH = 1000
"""Records of other writers have no size limit, and rich needs seconds to lay out a megabyte."""


class Exit(IntEnum):
    """Exit codes."""

    OK = 0
    FAILED = 1
    USAGE = 2
    UNAVAILABLE = 3
    INTERRUPTED = 130


def print_json(value: JsonValue) -> None:
    """Print a value as JSON in ASCII, because texts of guests may contain any character."""
    try:
        text = json.dumps(value, indent=2)
    except RecursionError:  # the Node app nested a value too deeply to indent it
        text = ascii_json(value)
    print(text)  # noqa: T201 - rich would wrap the lines


def ascii_json(value: object) -> str:
    """Return a value, nested at any depth, as one line of JSON in ASCII."""
    return _not_ascii.sub(lambda found: json.dumps(found[0])[1:-1], to_json_text(value))


def sanitize(value: object, max_length: int | None = None) -> Text:
    """Return untrusted text for the terminal, without markup and with control characters replaced.

    Args:
        value: The value to print.
        max_length: Largest number of characters. The rest is replaced by an ellipsis.
    """
    text = str(value)
    if max_length is not None and len(text) > max_length:
        text = f"{text[:max_length]}…"
    return Text("".join(char if char.isprintable() else "�" for char in text))


def print_notice(message: str) -> None:
    """Print a message to standard error, without wrapping it."""
    err.print(sanitize(message), soft_wrap=True)


def table(title: str, *columns: str) -> Table:
    """Return an empty table."""
    empty = Table(title=title, title_justify="left", title_style="bold", header_style="bold")
    for column in columns:
        empty.add_column(column, overflow="fold")
    return empty


def add_row(to: Table, cells: Sequence[object]) -> None:
    """Add a row. Cells are sanitized and cropped unless they are a `Text`."""
    to.add_row(*(cell if isinstance(cell, Text) else sanitize(cell, _MAX_CELL_LENGTH) for cell in cells))


def pluralize(number: int, noun: str) -> str:
    """Return a number with its noun, for example "1 room" or "2 rooms"."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def format_timestamp(milliseconds: float) -> str:
    """Return epoch milliseconds as an ISO date; as the number if it is out of range."""
    try:
        return iso(from_milliseconds(int(milliseconds)))
    except (ValueError, OverflowError):
        return str(milliseconds)


def format_state(state: VideoState) -> str:
    """Return whether the video is playing, and the position."""
    return f"{'playing' if state.is_playing else 'paused'} at {state.current_time} of {state.duration} s"


def format_ttl(ttl: timedelta | None) -> str:
    """Return a TTL as text, in whole seconds."""
    if ttl is None:
        return "expired"
    if ttl == timedelta.max:
        return "no expiry"
    return str(ttl - timedelta(microseconds=ttl.microseconds))
