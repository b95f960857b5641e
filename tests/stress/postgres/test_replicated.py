"""Writes with `durability="replicated"`, which wait for synchronous standbys."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest

from postgres_database import PATIENT, create_tables
from postgres_server import PostgresServer
from postgres_server import postgres_server as start_server
from wnc_store import ConfigurationError, OutcomeUnknownError, StoreSettings, open_store
from wnc_store_contract.factories import room

_REPLICATED = StoreSettings(durability="replicated", operation_timeout=timedelta(seconds=20))
"""The time-out is long enough for a connection on a busy machine."""


@pytest.fixture(name="lonely")
def _lonely(postgres_server: PostgresServer) -> Iterator[PostgresServer]:
    """A server whose commits wait for a standby that does not exist."""
    del postgres_server  # skips the test if there is no server to start
    with start_server(synchronous_standby_names="absent") as server:
        yield server


async def test_standbys_are_required(postgres_server: PostgresServer) -> None:
    """On a server without synchronous standbys, a store raises ConfigurationError that names the setting."""
    async with open_store(postgres_server.url(), settings=_REPLICATED) as store:
        with pytest.raises(ConfigurationError, match="synchronous_standby_names"):
            await store.rooms.create_room(room("A"))


async def test_an_unconfirmed_write_has_an_unknown_outcome(lonely: PostgresServer) -> None:
    """A write that no standby confirms raises OutcomeUnknownError, and is on the primary."""
    await create_tables(f"{lonely.url()}?synchronous_commit=off")
    async with open_store(lonely.url(), settings=_REPLICATED) as store:
        await store.ping()
        with pytest.raises(OutcomeUnknownError):
            await store.rooms.create_room(room("A"))
    lonely.kill()  # ends the commit, which still waits
    lonely.start()
    async with open_store(lonely.url(), settings=PATIENT) as store:
        assert await store.rooms.room_exists("A")
