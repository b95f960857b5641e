"""Presence on a store that lacks a part, or is closed."""

from __future__ import annotations

from datetime import timedelta

import pytest

from presence_workers import GRACE, ROOM, LoopClock
from virtual_time import pass_time
from wnc_store import NotSupportedError, Room, User
from wnc_store.base.unsupported import UnsupportedConnections
from wnc_store.presence import Presence
from wnc_store_memory import MemoryStore


async def test_a_backend_without_connections(caplog: pytest.LogCaptureFixture) -> None:
    """On a backend that does not count connections, a connection raises an error. Nothing is logged."""
    async with MemoryStore() as store:
        store.connections = UnsupportedConnections()
        await store.rooms.create_room(Room(id=ROOM, host_id="ada", host_name="Ada"))
        async with Presence(store, grace=timedelta(seconds=GRACE)) as presence:
            with pytest.raises(NotSupportedError):
                await presence.connected(ROOM, User(id="ada", name="Ada")).__aenter__()
            await pass_time(2 * GRACE)
    assert caplog.records == []


async def test_the_store_is_closed_first(caplog: pytest.LogCaptureFixture) -> None:
    """If the store is closed before the presence, all tasks end and nothing is logged."""
    store = MemoryStore()
    await store.rooms.create_room(Room(id=ROOM, host_id="ada", host_name="Ada"))
    async with Presence(store, grace=timedelta(seconds=GRACE), clock=LoopClock()) as presence:
        async with presence.connected(ROOM, User(id="ada", name="Ada")):
            async with presence.connected(ROOM, User(id="ada", name="Ada")):
                pass
            await store.aclose()
            await pass_time(2 * GRACE)
            assert presence._background == set()
    assert caplog.records == []
