"""Clocks of a store."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Protocol

from wnc_store.records.js_types import to_milliseconds


class Clock(Protocol):
    """A wall clock and a monotonic clock, both in whole milliseconds."""

    def now_ms(self) -> int:
        """Return the wall-clock time in milliseconds since the epoch. Records and files use it for timestamps."""
        ...

    def monotonic_ms(self) -> int:
        """Return a time in milliseconds that never decreases. It is used for TTLs in the memory backend."""
        ...


class SystemClock:
    """The clocks of the operating system."""

    def now_ms(self) -> int:
        """Return the milliseconds since the epoch."""
        return time.time_ns() // 1_000_000

    def monotonic_ms(self) -> int:
        """Return the reading of the monotonic clock in milliseconds."""
        return time.monotonic_ns() // 1_000_000


class ManualClock:
    """A clock for tests that changes only when `advance` is called.

    Args:
        start: Initial wall-clock time, as an aware datetime. By default the current time.
    """

    def __init__(self, start: datetime | None = None) -> None:
        self._start_ms = to_milliseconds(start or datetime.now(UTC))
        self._elapsed_ms = 0

    def advance(self, delta: timedelta | float) -> None:
        """Move both clocks forward.

        Args:
            delta: A timedelta, or a number of seconds. It is truncated to whole milliseconds.

        Raises:
            ValueError: `delta` is negative.
        """
        step = delta if isinstance(delta, timedelta) else timedelta(seconds=delta)
        if step < timedelta(0):
            raise ValueError(f"delta must not be negative, got {delta!r}")
        self._elapsed_ms += step // timedelta(milliseconds=1)

    def now_ms(self) -> int:
        """Return the milliseconds since the epoch."""
        return self._start_ms + self._elapsed_ms

    def monotonic_ms(self) -> int:
        """Return the milliseconds by which the clock was advanced."""
        return self._elapsed_ms
