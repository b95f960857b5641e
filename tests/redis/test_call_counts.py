"""The interpreter's work per operation does not grow."""

from __future__ import annotations

import sys

import pytest

from wnc_store_bench.counts import count
from wnc_store_bench.load import Operation
from wnc_store_bench.results import CountRow
from wnc_store_bench.server import Target

Limits = dict[Operation, tuple[float, float, float]]

REDIS: Limits = {  # calls of Python functions, calls of C functions, callbacks of the event loop
    "get_room": (23.5, 19.4, 1.13),
    "add_user_to_room": (61, 50, 1.17),
    "add_message": (33.1, 36, 1.14),
}
MEMORY: Limits = {"add_user_to_room": (24, 19.5, 0.11)}
MARGIN = 1.05

pytestmark = pytest.mark.skipif(
    sys.version_info[:2] != (3, 11), reason="each Python version makes other calls, and the limits are those of 3.11"
)


def exceeded(rows: list[CountRow], limits: Limits) -> list[CountRow]:
    """Return the rows with a count above its limit."""
    return [
        row
        for row in rows
        if any(
            counted > allowed * MARGIN
            for counted, allowed in zip(
                (row.python_calls, row.c_calls, row.handles), limits[row.operation], strict=True
            )
        )
    ]


async def test_the_work_of_redis_operations_is_limited(url: str) -> None:
    """A read, a join and a message on Redis make at most the calls in the table."""
    assert exceeded(await count("Redis", Target(url, "counts:"), REDIS), REDIS) == []


async def test_the_work_of_a_join_in_memory_is_limited() -> None:
    """A join on the memory backend makes at most the calls in the table."""
    assert exceeded(await count("memory", Target("memory://", ""), MEMORY), MEMORY) == []
