"""Output of the command line: tables and JSON."""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from enum import IntEnum
from typing import Any

from pydantic import JsonValue
from rich.box import HEAVY_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from wnc_store.records.codec import to_json_text
from wnc_store.records.js_types import PreservedDate, from_milliseconds, iso
from wnc_store.records.models import VideoState

_not_ascii = re.compile(r"[^\x00-\x7f]+")

out = Console(highlight=False)
err = Console(stderr=True, highlight=False)

_MAX_CELL_LENGTH = 1000
"""Records of other writers can have any size, and rich needs seconds to lay out a megabyte."""

_UNLIMITED = 1_000_000
"""A width that no row reaches."""


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


def do_not_crop_files() -> None:
    """Crop rows to the terminal's width only if standard output is a terminal, or if COLUMNS sets a width."""
    if not out.is_terminal and "COLUMNS" not in os.environ:
        out.width = _UNLIMITED


def table(title: str, *columns: str, keep: Collection[str] = (), wrap: bool = False) -> Table:
    """Return an empty table, in which every row has one line.

    Args:
        title: The title.
        columns: The names of the columns.
        keep: The columns that are cropped last if the terminal is too narrow.
        wrap: Whether to wrap the cells instead, for figures that must not be cropped. The cells must be `Text`.
    """
    layout: dict[str, Any] = {"box": HEAVY_HEAD} if wrap else {"box": None, "padding": (0, 2, 0, 0), "pad_edge": False}
    empty = Table(title=title, title_justify="left", title_style="bold", header_style="bold", **layout)
    for column in columns:
        kept = column in keep
        header = column if wrap else Text(column, no_wrap=True, overflow="ellipsis")
        empty.add_column(header, no_wrap=kept, overflow="ellipsis" if kept else "fold")
    return empty


def add_row(to: Table, cells: Sequence[object]) -> None:
    """Add a row. Cells are sanitized and cropped unless they are a `Text`."""
    to.add_row(*(cell if isinstance(cell, Text) else _one_line(cell) for cell in cells))


def _one_line(cell: object) -> Text:
    text = sanitize(cell, _MAX_CELL_LENGTH)
    text.no_wrap, text.overflow = True, "ellipsis"
    return text


def pluralize(number: int, noun: str) -> str:
    """Return a number with its noun, for example "1 room" or "2 rooms"."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def format_timestamp(milliseconds: float) -> str:
    """Return epoch milliseconds as an ISO date; as the number if it is out of range."""
    try:
        return iso(from_milliseconds(int(milliseconds)))
    except (ValueError, OverflowError):
        return str(milliseconds)


def format_seconds(seconds: float) -> str:
    """Return a number of seconds as hours, minutes and seconds, for example "1:02:05"."""
    if not math.isfinite(seconds):
        return "unknown"
    minutes, rest = divmod(abs(int(seconds)), 60)
    return f"{'-' if int(seconds) < 0 else ''}{minutes // 60}:{minutes % 60:02}:{rest:02}"


def format_state(state: VideoState) -> str:
    """Return whether the video is playing, the position, and the duration if it is known."""
    duration = f" / {format_seconds(state.duration)}" if state.duration > 0 else ""
    return f"{'playing' if state.is_playing else 'paused'} at {format_seconds(state.current_time)}{duration}"


def format_age(created: datetime, now: datetime) -> str:
    """Return how long ago a room was created, in its largest unit, for example "3 h"."""
    if isinstance(created, PreservedDate) and created.raw is None:
        return "unknown"
    seconds = max(0, int((now - created).total_seconds()))
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= length:
            return f"{seconds // length} {unit}"
    return f"{seconds} s"


def format_ttl(ttl: timedelta | None) -> str:
    """Return a TTL as text, in whole seconds."""
    if ttl is None:
        return "expired"
    return "no expiry" if ttl == timedelta.max else format_seconds(ttl.total_seconds())
