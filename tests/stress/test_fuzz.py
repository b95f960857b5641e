"""Many mutated records of the Node app."""

from __future__ import annotations

import gc
import tracemalloc

import pytest

from fuzzing import hold_seeds

BATCH = 15_000


@pytest.mark.parametrize("first_seed", range(1000, 1000 + 20 * BATCH, BATCH))
def test_a_mutated_record_is_valid_or_corrupt(first_seed: int) -> None:
    """A mutated record survives a round trip or raises CorruptRecordError."""
    readable = hold_seeds(range(first_seed, first_seed + BATCH))
    assert BATCH / 5 < readable < BATCH * 4 / 5


def test_parsing_leaks_no_memory() -> None:
    """Parsing thousands of mutated records leaks less than 20 bytes each, because short strings are cached."""
    hold_seeds(range(2000))  # fills the caches
    tracemalloc.start()
    gc.collect()
    before, _ = tracemalloc.get_traced_memory()
    hold_seeds(range(2000, 7000))
    gc.collect()
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert after - before < 20 * 5000
