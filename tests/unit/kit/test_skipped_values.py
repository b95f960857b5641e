"""Tests of the log of skipped values."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from wnc_store import CorruptRecordError
from wnc_store.base.decode import SkippedValueLog


@pytest.fixture(autouse=True)
def _frequent_switches() -> Iterator[None]:  # pyright: ignore[reportUnusedFunction]
    """Let threads interrupt each other often."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)


def test_values_are_logged_by_several_threads() -> None:
    """Threads that decode records of one store log more values than are remembered, without an error."""
    skipped = SkippedValueLog()

    def warn(thread: int) -> None:
        for number in range(3000):
            skipped.warn("event", "key", b"%d %d" % (thread, number), CorruptRecordError("key", "reason"))

    with ThreadPoolExecutor(6) as threads:
        assert [*threads.map(warn, range(6))] == [None] * 6
