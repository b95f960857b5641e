"""The results of a run, with one row for each measurement. The JSON file has the same structure."""

from __future__ import annotations

from pydantic import BaseModel

from wnc_store_bench.load import Operation


class ThroughputRow(BaseModel):
    """One contender, operation and round. Counts that the server does not provide are 0."""

    operation: Operation
    contender: str
    round: int
    ops_per_second: float
    p50_ms: float
    p99_ms: float
    errors: dict[str, int]
    server_cpu_us: float
    bytes_in: float
    bytes_out: float
    reads: float


class ContentionRow(BaseModel):
    """One contender and round of concurrent joins. `scripts` and `sets` count commands, including those in scripts."""

    contender: str
    processes: int
    round: int
    joins: int
    kept: int
    seconds: float
    finished: bool
    scripts: int
    sets: int
    errors: dict[str, int]


class SingleClientRow(BaseModel):
    """One operation by a single client: its median time, and its round trips by the server's count of reads."""

    contender: str
    operation: str
    round: int
    median_us: float
    round_trips: float


class MemoryRow(BaseModel):
    """One store in memory, operation and round, with one caller."""

    contender: str
    operation: Operation
    round: int
    ops_per_second: float


class ManyRoomsRow(BaseModel):
    """The time of one operation on the memory backend with a number of rooms of one user."""

    rooms: int
    operation: Operation
    round: int
    microseconds: float


class MemoryFacts(BaseModel):
    """Memory and expiry costs of the memory backend."""

    rooms: int
    bytes_per_room: float
    fill_seconds: float
    expiring_rooms: int
    stall_ms: float
    stall_without_ms: float
    sweep_seconds: float


class ListingRow(BaseModel):
    """One pass over an index of mostly dead rooms, with concurrent pings from the same process and from another one."""

    operation: str
    entries: int
    found: int
    seconds: float
    memory_growth_mb: float
    pings: int
    ping_p99_ms: float
    ping_worst_ms: float
    outside_ping_p99_ms: float
    outside_ping_worst_ms: float


class VariantRow(BaseModel):
    """One variant of wnc-store, operation and round."""

    variant: str
    operation: Operation
    round: int
    ops_per_second: float
    p99_ms: float


class LimitRow(BaseModel):
    """The rate of redis-benchmark with the commands that wnc-store sends for one operation."""

    operation: Operation
    commands: list[str]
    ops_per_second: float
    same_work: bool


class Tables(BaseModel):
    """All measurements. Parts that were not measured are empty."""

    throughput: list[ThroughputRow] = []
    contention: list[ContentionRow] = []
    single_client: list[SingleClientRow] = []
    memory: list[MemoryRow] = []
    many_rooms: list[ManyRoomsRow] = []
    memory_facts: list[MemoryFacts] = []
    listing: list[ListingRow] = []
    ablations: list[VariantRow] = []
    ablations_contention: list[ContentionRow] = []
    limit: list[LimitRow] = []


class Goal(BaseModel):
    """A performance goal with the measured value. `met` is None if it was not measured."""

    name: str
    wanted: str
    measured: str
    met: bool | None


class Result(BaseModel):
    """The result of a run."""

    started: str
    machine: dict[str, str]
    versions: dict[str, str]
    options: dict[str, str]
    notes: list[str] = []
    tables: Tables = Tables()
    goals: list[Goal] = []
