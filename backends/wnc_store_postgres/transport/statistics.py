"""Internal counters of a store."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Statistics:
    """The counters of one store, named as in `SupportsStatistics`. A batch is a round trip, a command a statement.

    `connections` counts opened connections, and `resolved` lost replies whose outcome was found out.
    """

    commits: int = 0
    retries: int = 0
    batches: int = 0
    commands: int = 0
    cache_hits: int = 0
    cache_misses: int = 0
    connections: int = 0
    resolved: int = 0
