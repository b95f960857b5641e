"""Fixtures of the watch party's tests."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import pytest
from watch_party.app import app

from party_page import Party, visiting
from serving import serving
from wnc_store import Store

_GRACE = "1.2"


@pytest.fixture(autouse=True)
def _settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """In memory, with a grace that a test can wait for."""
    monkeypatch.setenv("WNC_STORE_URL", "memory://")
    monkeypatch.setenv("WNC_STORE_CONNECTION_TTL", _GRACE)


@pytest.fixture
async def party() -> AsyncGenerator[Party]:
    """A party at a running server."""
    async with serving(app) as address, visiting(address) as party:
        yield party


@pytest.fixture
def store(party: Party) -> Store:  # noqa: ARG001 - it runs the server
    """The store of the server that runs."""
    return app.state.store
