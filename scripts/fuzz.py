"""Read records of Node's that were changed at random, by the million.

    python scripts/fuzz.py [RECORDS] [SEED]

Any error but CorruptRecordError ends it, as does a batch that takes too long; record and seed are shown. At the end the
process must not be larger than after the first tenth. The slowest record is told in processor time.
"""

from __future__ import annotations

import faulthandler
import sys
import time
from pathlib import Path
from random import Random

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests" / "helpers"))

from fuzzing import hold, mutated

BATCH = 10_000
LONGEST_BATCH = 300
"""Seconds; a batch takes about two."""

MOST_GROWTH = 8
"""Megabytes between the first tenth and the end: a leak of 10 bytes a record would be more."""


def megabytes() -> float:
    """Return how much memory this process has by now."""
    return int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[1]) * 4096 / 1e6


def main(records: int, first_seed: int) -> int:
    """Try so many records; return the exit code."""
    readable, slowest, memory, start = 0, 0.0, 0.0, time.perf_counter()
    for number in range(records):
        if number % BATCH == 0:
            faulthandler.dump_traceback_later(LONGEST_BATCH, exit=True)
            memory = memory or (megabytes() if number >= records // 10 else 0.0)
            print(
                f"{number:,} records, {readable:,} readable, {megabytes():.1f} MB, slowest {slowest * 1000:.1f} ms",
                flush=True,
            )
        kind, data = mutated(Random(first_seed + number))
        began = time.process_time()
        try:
            readable += hold(kind, data)
        except BaseException:
            print(f"seed {first_seed + number}: {kind.__name__} {data!r}")
            raise
        slowest = max(slowest, time.process_time() - began)
    faulthandler.cancel_dump_traceback_later()
    growth = megabytes() - memory
    seconds = time.perf_counter() - start
    print(
        f"{records:,} records in {seconds:.0f} s: {readable:,} readable, the others corrupt; "
        f"slowest {slowest * 1000:.1f} ms; {memory:.1f} MB after a tenth, {growth:+.1f} MB until the end"
    )
    return int(growth > MOST_GROWTH)


if __name__ == "__main__":
    sys.exit(main(int((sys.argv[1:] or ["1000000"])[0]), int((sys.argv[2:] or ["0"])[0])))
