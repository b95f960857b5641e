"""No operation scans a table: with 100,000 rooms, chats, leases and counts, every statement uses an index."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from every_operation import refusals
from postgres_database import PATIENT, TABLES, connected, create_tables
from postgres_server import PostgresServer, postgres_server
from wnc_store import Snapshot, SupportsRestore, open_store, to_wire
from wnc_store_contract.factories import message, room

_ROOMS = """
INSERT INTO wnc_store_rooms (prefix, room_id, data, expires_at)
    SELECT CASE WHEN i <= 20000 THEN '' ELSE 'other:' END, 'room-' || i, $1, now() + i * interval '1 s'
    FROM generate_series(1, 100000) AS i
"""
"""All records are equal and readable, because each unreadable one would be logged."""

_ROWS = """
INSERT INTO wnc_store_active SELECT prefix, room_id FROM wnc_store_rooms;
INSERT INTO wnc_store_chats (prefix, room_id, expires_at) SELECT prefix, room_id, expires_at FROM wnc_store_rooms;
INSERT INTO wnc_store_messages (prefix, room_id, position, message_id, data)
    SELECT prefix, room_id, 1, 'm1', '{}' FROM wnc_store_rooms;
INSERT INTO wnc_store_leases (prefix, key, connection_id, expires_at)
    SELECT prefix, room_id, 'c1', expires_at FROM wnc_store_rooms;
INSERT INTO wnc_store_hits (prefix, key, count, expires_at)
    SELECT prefix, room_id, '1', expires_at FROM wnc_store_rooms;
INSERT INTO wnc_store_writers (prefix, writer, sequence) SELECT prefix, gen_random_uuid(), 1 FROM wnc_store_rooms;
"""
_RUNS = 7
"""The server plans a prepared statement for the given values five times, and then perhaps for any values."""


@pytest.fixture
async def explaining() -> AsyncIterator[PostgresServer]:
    """A server that logs the plan of each statement, also inside functions."""
    settings = {
        "session_preload_libraries": "auto_explain",
        "auto_explain.log_min_duration": "0",
        "auto_explain.log_nested_statements": "on",
    }
    with postgres_server(**settings) as server:
        await create_tables(server.url())
        async with connected(server.url()) as plain:
            await plain.execute(_ROOMS, to_wire(room("A")))
            await plain.execute(_ROWS)
            await plain.execute(f"ANALYZE {', '.join(TABLES)}")
        yield server


async def test_no_statement_scans_a_table(explaining: PostgresServer) -> None:
    """The plan of each statement of each operation uses an index of each table that grows."""
    logged = len(explaining.log)
    async with open_store(explaining.url(), settings=PATIENT.model_copy(update={"publish_changes": True})) as store:
        for _ in range(_RUNS):
            assert await refusals(store) == []
            assert isinstance(store, SupportsRestore)
            snapshot = Snapshot(room("restored"), timedelta(hours=1), (message(1, "restored"),), timedelta(hours=1))
            await store.restore(snapshot, replace=True)
            await store.rooms.get_rooms([f"room-{number}" for number in range(500)])
            assert await store.rooms.delete_room("restored")
            await store.rooms.delete_room("B-room")
    plans = explaining.log[logged:]
    for table in TABLES[1:]:
        assert re.search(rf"(Index|Bitmap Heap) .*on {table}\b|Index (Only )?Scan using {table}_pkey", plans), table
    assert set(re.findall(r"Seq Scan on (\w+)", plans)) <= {"wnc_store_meta"}
