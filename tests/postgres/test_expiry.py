"""Expired rows: invisible at once, and removed in small batches by stores that write, and by a sweep."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from loop_clock import advance_loop
from postgres_database import Connection
from waiting import wait_until
from wnc_store import Store
from wnc_store_contract.factories import message, room
from wnc_store_contract.postgres import PostgresHarness
from wnc_store_postgres.rooms import _PURGE_SIZE

_LONG = 10 * 24 * 3600
"""Seconds. Longer than every TTL."""

_EXPIRED = """
INSERT INTO wnc_store_rooms (prefix, room_id, data, expires_at)
    SELECT '', 'old-' || i, '{}', now() - interval '1 day' FROM generate_series(1, $1) AS i
"""


@pytest.fixture
async def harness(url: str) -> AsyncIterator[PostgresHarness]:
    """A harness that moves the time of all rows."""
    harness = PostgresHarness(url, key_prefix="")
    yield harness
    await harness.aclose()


async def count(plain: Connection, table: str) -> int:
    """Return the number of rows of a table."""
    return await plain.fetchval(f"SELECT count(*) FROM wnc_store_{table}")  # noqa: S608


async def write_everything(store: Store) -> None:
    """Write a record of each kind."""
    await store.rooms.create_room(room("A"))
    await store.chat.add_message(message(1, "A"))
    await store.connections.acquire("ip", "c1")
    await store.rate_limits.hit("ip")


async def test_a_sweep_removes_every_expired_row(store: Store, plain: Connection, harness: PostgresHarness) -> None:
    """A sweep removes the expired rooms, chats, messages, leases and counts, and leaves the live ones."""
    await write_everything(store)
    await harness.advance(_LONG)
    await store.rooms.create_room(room("B"))
    assert await store.rooms.sweep_active_rooms() == 1
    left = [await count(plain, table) for table in ("rooms", "active", "chats", "messages", "leases", "hits")]
    assert left == [1, 1, 0, 0, 0, 0]


async def test_a_sweep_removes_many_rows_in_batches(store: Store, plain: Connection) -> None:
    """A sweep removes more rows than one batch has."""
    await plain.execute(_EXPIRED, 2 * _PURGE_SIZE + 1)
    await store.rooms.sweep_active_rooms()
    assert await count(plain, "rooms") == 0


async def test_a_writing_store_removes_one_batch_at_a_time(store: Store, plain: Connection) -> None:
    """A store that writes removes a batch of expired rows every few seconds, or after each write if more are left."""
    await plain.execute(_EXPIRED, 2 * _PURGE_SIZE + 1)
    await store.rate_limits.hit("ip")
    advance_loop(60)
    await store.rate_limits.hit("ip")

    async def left_after_a_batch() -> bool:
        return await count(plain, "rooms") == _PURGE_SIZE + 1

    await wait_until(left_after_a_batch)

    async def none_left_after_writes() -> bool:
        await store.rate_limits.hit("ip")
        return await count(plain, "rooms") == 0

    await wait_until(none_left_after_writes)
    await plain.execute(_EXPIRED, 1)
    for _ in range(5):
        await store.rate_limits.hit("ip")
    await store.aclose()  # after the purges that have begun
    assert await count(plain, "rooms") == 1


async def test_a_reading_store_removes_nothing(store: Store, plain: Connection) -> None:
    """A store that only reads removes no expired rows."""
    await plain.execute(_EXPIRED, 3)
    for _ in range(3):
        advance_loop(60)
        assert not await store.rooms.room_exists("old-1")
    await store.aclose()
    assert await count(plain, "rooms") == 3


async def test_locked_rows_do_not_stop_a_sweep(store: Store, plain: Connection) -> None:
    """A sweep removes the other expired rows, without waiting for one that a transaction holds."""
    await plain.execute(_EXPIRED, 3)
    async with plain.transaction():
        await plain.execute("SELECT FROM wnc_store_rooms WHERE room_id = 'old-2' FOR UPDATE")
        await store.rooms.sweep_active_rooms()
    assert await plain.fetchval("SELECT room_id FROM wnc_store_rooms") == "old-2"


async def test_writers_are_removed_after_a_day(store: Store, plain: Connection) -> None:
    """The rows that record the last writes of ended stores are removed after a day, those of running ones are not."""
    await store.rate_limits.hit("ip")
    await plain.execute(
        "INSERT INTO wnc_store_writers (prefix, writer, sequence, created_at) "
        "VALUES ('', gen_random_uuid(), 1, now() - interval '25 hours')"
    )
    await store.rooms.sweep_active_rooms()
    assert (
        await plain.fetchval("SELECT count(*) FROM wnc_store_writers WHERE created_at < now() - interval '1 hour'") == 0
    )
    assert await count(plain, "writers") >= 1
