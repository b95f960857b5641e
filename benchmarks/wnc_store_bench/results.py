"""What a run has found: one row for each measurement, as the JSON file holds it."""

from __future__ import annotations

from pydantic import BaseModel

from wnc_store_bench.load import Operation


class ThroughputRow(BaseModel):
    """One contender, one operation, one round. What the server counts is 0 where it does not count it."""

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


class CrowdRow(BaseModel):
    """One contender, one crowd. `scripts` and `sets` are what the server ran meanwhile, also inside of scripts."""

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


class LonelyRow(BaseModel):
    """One caller: the median of one operation's time, and the round trips of one, as the server counts its reads."""

    contender: str
    operation: str
    round: int
    median_us: float
    round_trips: float


class MemoryRow(BaseModel):
    """One store in memory, one operation, one round, one caller that awaits each."""

    contender: str
    operation: Operation
    round: int
    ops_per_second: float


class ManyRoomsRow(BaseModel):
    """The memory backend with so many rooms of one user: the time of one operation on any of them."""

    rooms: int
    operation: Operation
    round: int
    microseconds: float


class MemoryFacts(BaseModel):
    """What the memory backend needs, and what it costs when rooms expire."""

    rooms: int
    bytes_per_room: float
    fill_seconds: float
    expiring_rooms: int
    stall_ms: float
    stall_without_ms: float
    sweep_seconds: float


class ListingRow(BaseModel):
    """One pass over an index of mostly dead rooms, and pings meanwhile: in the same process, and in another one."""

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
    """wnc-store with something changed, one operation, one round."""

    variant: str
    operation: Operation
    round: int
    ops_per_second: float
    p99_ms: float


class LimitRow(BaseModel):
    """What redis-benchmark reaches with the commands that wnc-store sends for one operation."""

    operation: Operation
    commands: list[str]
    ops_per_second: float
    same_work: bool


class Tables(BaseModel):
    """All measurements; what was not asked for is empty."""

    throughput: list[ThroughputRow] = []
    crowd: list[CrowdRow] = []
    lonely: list[LonelyRow] = []
    memory: list[MemoryRow] = []
    many_rooms: list[ManyRoomsRow] = []
    memory_facts: list[MemoryFacts] = []
    listing: list[ListingRow] = []
    ablations: list[VariantRow] = []
    ablations_crowd: list[CrowdRow] = []
    limit: list[LimitRow] = []


class Target(BaseModel):
    """A ratio or a figure that is aimed at, and what was measured; None where it could not be."""

    name: str
    wanted: str
    measured: str
    met: bool | None


class Result(BaseModel):
    """A run."""

    started: str
    machine: dict[str, str]
    versions: dict[str, str]
    options: dict[str, str]
    notes: list[str] = []
    tables: Tables = Tables()
    targets: list[Target] = []
