"""Event loops with virtual time, and the workers of an app with presence."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping

import pytest

from presence_workers import ROOM, Worker, Workers, workers_of_an_app
from virtual_time import VirtualTimeLoop
from wnc_store import Room


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Run each test on an event loop whose clock advances without waiting."""
    return {"virtual time": VirtualTimeLoop}


@pytest.fixture
async def workers() -> AsyncGenerator[Workers]:
    """The workers of an app, which are stopped after the test."""
    async with workers_of_an_app() as workers:
        yield workers


@pytest.fixture
async def worker(workers: Workers) -> Worker:
    """A worker, and a room without users."""
    worker = await workers.start()
    await worker.store.rooms.create_room(Room(id=ROOM, host_id="ada", host_name="Ada"))
    return worker
