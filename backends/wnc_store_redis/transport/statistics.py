"""What a store counts of its work inside."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Statistics:
    """The counts of one store; their names are those of `SupportsStatistics`."""

    commits: int = 0
    retries: int = 0
    batches: int = 0
    commands: int = 0
    cache_hits: int = 0
    cache_misses: int = 0
