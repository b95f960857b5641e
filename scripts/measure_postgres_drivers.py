"""Measurements of asyncpg and psycopg for docs/how-to/postgres.md: `python scripts/measure_postgres_drivers.py`.

psycopg is in the dependency group `drivers`.
"""

from __future__ import annotations

import asyncio
import platform
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from importlib.metadata import version
from itertools import count
from pathlib import Path
from typing import Any, LiteralString

import asyncpg
from psycopg import AsyncConnection, AsyncCursor, AsyncRawCursor

sys.path.insert(0, str(Path(__file__).parents[1] / "tests/helpers"))

from postgres_server import describe_server, postgres_server
from wnc_store_bench.spread import ratios, spread

SECONDS = 0.5
ROUNDS = 9
CONNECTIONS = 10
CALLERS = 50
BATCH = 5
ROOMS = 1_000  # a multiple of the batch, so that concurrent batches contain different rooms
ROOM = b"x" * 1_900

CREATE = """
CREATE TABLE rooms (prefix text, room_id text, data bytea, version bigint, PRIMARY KEY (prefix, room_id));
CREATE FUNCTION put(a_prefix text, an_id text, a_record bytea) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE new_version bigint;
BEGIN
    UPDATE rooms SET data = a_record, version = version + 1 WHERE prefix = a_prefix AND room_id = an_id
    RETURNING version INTO STRICT new_version;
    RETURN new_version;
END $$"""
FILL = "INSERT INTO rooms SELECT 'app:', id, $1, 1 FROM generate_series(0, $2::int - 1) id"
GET = "SELECT version, data FROM rooms WHERE prefix = $1 AND room_id = $2"
GET_SEVERAL = "SELECT version, data FROM rooms WHERE prefix = $1 AND room_id = ANY ($2::text[])"
PUT = "SELECT put($1, $2, $3)"

Stored = tuple[bytes, ...]
Ids = Sequence[str]
Psycopg = AsyncConnection[Any]
Send = Callable[[Ids], Awaitable[int]]
"""Reads or updates the rooms with these ids over one connection, and returns the number of rows received."""


async def with_asyncpg(connection: asyncpg.Connection[Any], query: str, record: Stored, ids: Ids) -> int:
    """Send one query, for all ids if it takes several."""
    return len(await connection.fetch(query, "app:", ids if query == GET_SEVERAL else ids[0], *record))


async def with_psycopg(cursor: AsyncCursor[Any], query: LiteralString, record: Stored, ids: Ids) -> int:
    """Send one query for one id."""
    await cursor.execute(query, ("app:", ids[0], *record), prepare=True)
    return len(await cursor.fetchall())


async def with_pipeline(
    connection: Psycopg, query: LiteralString, record: Stored, ids: Ids, *, commits: bool = False
) -> int:
    """Send a query for each id in a pipeline, which is one transaction unless each query `commits`."""
    cursors = [connection.cursor(binary=True) for _ in ids]
    async with connection.pipeline():
        for room_id, cursor in zip(ids, cursors, strict=True):
            if commits:
                await connection.execute("BEGIN", prepare=True)
            await cursor.execute(query, ("app:", room_id, *record), prepare=True)
            if commits:
                await connection.execute("COMMIT", prepare=True)
    return sum([len(await cursor.fetchall()) for cursor in cursors])


@dataclass(frozen=True)
class Sample:
    """Operations per second in a round, and the CPU time of this process for each in microseconds."""

    round: int
    rate: float
    cpu: float


@dataclass(frozen=True)
class Contender:
    """A driver, with a function for each connection, which expects `batch` ids."""

    name: str
    connections: Sequence[Send]
    batch: int = 1
    samples: list[Sample] = field(default_factory=list[Sample])

    async def run(self, number: int, callers: int) -> None:
        """Measure a round. The callers of one batch are one task, which waits for a free connection."""
        free = asyncio.LifoQueue[Send]()
        for connection in self.connections:
            free.put_nowait(connection)
        numbers, rows = count(), 0
        start, cpu = time.perf_counter(), time.process_time()

        async def call() -> None:
            nonlocal rows
            while time.perf_counter() < start + SECONDS or not rows:
                send = await free.get()
                received = await send([str(next(numbers) % ROOMS) for _ in range(self.batch)])
                rows += received
                free.put_nowait(send)

        await asyncio.gather(*(call() for _ in range(callers // self.batch)))
        used, seconds = time.process_time() - cpu, time.perf_counter() - start
        self.samples.append(Sample(number, rows / seconds, used / rows * 1e6))


async def compare(title: str, callers: int, *contenders: Contender) -> None:
    """Alternate the contenders. A ratio divides the value of the first one by that of the row, in each round."""
    for number in range(-1, ROUNDS):
        for contender in contenders if number % 2 else reversed(contenders):
            await contender.run(number, callers)
            if number < 0:
                contender.samples.clear()  # the statements were prepared in this round
    print(f"\n| {title}, callers: {callers} | ops/s | ratio | client CPU us/op | ratio |\n|---|---|---|---|---|")
    first = contenders[0].samples
    for row in contenders:
        rates = spread(each.rate for each in row.samples), ratios(first, row.samples, lambda each: each.rate)
        times = spread(each.cpu for each in row.samples), ratios(first, row.samples, lambda each: each.cpu)
        print(f"| {row.name} | {' | '.join(found.show() for found in (*rates, *times) if found)} |")


async def measure(url: str) -> None:
    """Compare the drivers on a new server."""
    ours = [await asyncpg.connect(url) for _ in range(CONNECTIONS)]
    theirs = [await Psycopg.connect(url, autocommit=True, cursor_factory=AsyncRawCursor) for _ in ours]
    await ours[0].execute(CREATE)
    await ours[0].execute(FILL, ROOM, ROOMS)
    operations: list[tuple[str, LiteralString, Stored]] = [("read", GET, ()), ("update", PUT, (ROOM,))]
    for title, query, record in operations:
        plain = [partial(with_asyncpg, each, query, record) for each in ours]
        other = [partial(with_psycopg, each.cursor(binary=True), query, record) for each in theirs]
        pipeline = [partial(with_pipeline, each, query, record) for each in theirs]
        if query == GET:
            name, last = "asyncpg, 5 in a query", [partial(with_asyncpg, each, GET_SEVERAL, record) for each in ours]
        else:
            name = "psycopg, 5 transactions in a pipeline"
            last = [partial(with_pipeline, each, query, record, commits=True) for each in theirs]
        await compare(title, 1, Contender("asyncpg", plain), Contender("psycopg", other))
        batches = Contender("psycopg, 5 in a pipeline", pipeline, BATCH), Contender(name, last, BATCH)
        await compare(title, CALLERS, Contender("asyncpg", plain), Contender("psycopg", other), *batches)
    for connection in (*ours, *theirs):
        await connection.close()


if __name__ == "__main__":
    versions = [f"{name} {version(name)}" for name in ("asyncpg", "psycopg")]
    print(f"{describe_server()}; Python {platform.python_version()}, {', '.join(versions)}")
    with postgres_server() as server:
        asyncio.run(measure(server.url()))
