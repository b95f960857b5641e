"""Fixtures of the watch party tests."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator

import pytest
from watch_party.app import app

from party_page import Party, visiting
from serving import serving
from wnc_store import ManualClock, Store


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[ManualClock]:
    """The clock of the app and of its store in memory. The app checks a room every 0.1 s of real time."""
    monkeypatch.setenv("WNC_STORE_URL", "memory://")
    monkeypatch.setenv("WNC_STORE_CONNECTION_TTL", "0.3")
    original, app.state.clock = app.state.clock, ManualClock()
    yield app.state.clock
    app.state.clock = original


@pytest.fixture
async def party() -> AsyncGenerator[Party]:
    """A watch party on a running server."""
    async with serving(app) as address, visiting(address) as party:
        yield party


@pytest.fixture
def store(party: Party) -> Store:  # noqa: ARG001 - the fixture runs the server
    """The store of the running server."""
    return app.state.store
