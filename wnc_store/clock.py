"""The time that a store goes by."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Protocol

from wnc_store.records.js_types import to_milliseconds


class Clock(Protocol):
    """Two readings, both in whole milliseconds."""

    def now_ms(self) -> int:
        """Return the wall clock's time in epoch milliseconds: what is written into records, and files."""
        ...

    def monotonic_ms(self) -> int:
        """Return a time in milliseconds that never goes back: what TTLs in this process are counted with."""
        ...


class SystemClock:
    """The machine's clocks."""

    def now_ms(self) -> int:
        """Return the epoch milliseconds."""
        return time.time_ns() // 1_000_000

    def monotonic_ms(self) -> int:
        """Return the milliseconds of the monotonic clock."""
        return time.monotonic_ns() // 1_000_000


class ManualClock:
    """A clock that stands still until it is moved, so that a test can let 24 hours pass at once.

    Args:
        start: an aware datetime; the machine's time if left out.
    """

    def __init__(self, start: datetime | None = None) -> None:
        self._start_ms = to_milliseconds(start or datetime.now(UTC))
        self._passed_ms = 0

    def advance(self, delta: timedelta | float) -> None:
        """Let time pass.

        Args:
            delta: a timedelta, or seconds; whole milliseconds of it count.

        Raises:
            ValueError: it is negative.
        """
        passed = delta if isinstance(delta, timedelta) else timedelta(seconds=delta)
        if passed < timedelta(0):
            message = f"time does not go back: {delta!r}"
            raise ValueError(message)
        self._passed_ms += passed // timedelta(milliseconds=1)

    def now_ms(self) -> int:
        """Return the epoch milliseconds."""
        return self._start_ms + self._passed_ms

    def monotonic_ms(self) -> int:
        """Return the milliseconds that have passed."""
        return self._passed_ms
