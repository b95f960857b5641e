"""Many records that Node wrote, changed at random: read, or corrupt, and nothing is left behind."""

from __future__ import annotations

import gc
import tracemalloc

import pytest

from fuzzing import hold_seeds

BATCH = 15_000


@pytest.mark.parametrize("first_seed", range(1000, 1000 + 20 * BATCH, BATCH))
def test_a_changed_record_is_read_or_corrupt(first_seed: int) -> None:
    """A record of Node's that was changed is read, written and read again equal, or is a CorruptRecordError."""
    readable = hold_seeds(range(first_seed, first_seed + BATCH))
    assert BATCH / 5 < readable < BATCH * 4 / 5


def test_no_record_leaves_anything_behind() -> None:
    """Reading thousands of changed records leaves less than twenty bytes of each: some short strings are cached."""
    hold_seeds(range(2000))  # which fills what is cached
    tracemalloc.start()
    gc.collect()
    before, _ = tracemalloc.get_traced_memory()
    hold_seeds(range(2000, 7000))
    gc.collect()
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert after - before < 20 * 5000
