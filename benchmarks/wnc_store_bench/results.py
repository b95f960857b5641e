"""The results of a run, with one row for each measurement. The JSON file has the same structure."""

from __future__ import annotations

from collections.abc import Iterable

from pydantic import BaseModel

from wnc_store_bench.load import Operation


class LoadRow(BaseModel):
    """One contender, operation and round. `reads` counts the server's socket reads: of one caller, its round trips.

    Counts that the server does not provide are 0.
    """

    operation: Operation
    contender: str
    round: int
    ops_per_second: float
    p50_ms: float
    p99_ms: float
    errors: dict[str, int]
    server_cpu_us: float
    reads: float


class ContentionRow(BaseModel):
    """One contender and round of concurrent joins. `scripts` and `sets` count commands, including those in scripts."""

    contender: str
    processes: int
    round: int
    joins: int
    kept: int
    seconds: float
    scripts: int
    sets: int
    errors: dict[str, int]


class JoinsRow(BaseModel):
    """One backend and round of concurrent joins of one room. `writes` counts scripts or transactions of the server."""

    backend: str
    processes: int
    round: int
    joins: int
    kept: int
    seconds: float
    writes: int
    errors: dict[str, int]


class MemoryRow(BaseModel):
    """One operation and round on the memory backend, with one caller."""

    operation: Operation
    round: int
    ops_per_second: float


class CountRow(BaseModel):
    """The work for one operation of the store: calls of functions, callbacks of the event loop, and the server's work.

    `round_trips` counts requests to the server, and `writes` its scripts or transactions. Both are 0 in memory.
    Concurrent operations can share them.
    """

    backend: str
    operation: Operation
    python_calls: float
    c_calls: float
    handles: float
    round_trips: float = 0
    writes: float = 0


class Tables(BaseModel):
    """All measurements, by part. Parts that were not measured are empty."""

    throughput: list[LoadRow] = []
    fixed_rate: list[LoadRow] = []
    single_client: list[LoadRow] = []
    contention: list[ContentionRow] = []
    backends: list[LoadRow] = []
    backend_joins: list[JoinsRow] = []
    memory: list[MemoryRow] = []
    counts: list[CountRow] = []
    ablations: list[LoadRow] = []
    group_commit: list[ContentionRow] = []


class Result(BaseModel):
    """The result of a run."""

    started: str
    machine: dict[str, str]
    versions: dict[str, str]
    options: dict[str, str]
    notes: list[str] = []
    tables: Tables = Tables()


def rows_of(rows: Iterable[LoadRow], contender: str, operation: Operation) -> list[LoadRow]:
    """Return the rows of one contender and operation."""
    return [row for row in rows if row.contender == contender and row.operation == operation]
