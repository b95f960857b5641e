"""Endpoints and workers that are cancelled."""

from __future__ import annotations

import asyncio
import gc
import warnings as python_warnings
from datetime import timedelta

import pytest

from presence_workers import GRACE, ROOM, Worker, blocking, warnings
from virtual_time import idle, now, pass_time
from wnc_store import User
from wnc_store.presence import tracked
from wnc_store.presence.membership import Member, keys_of


@pytest.mark.parametrize("call", ["acquire", "count", "get_room", "edit_room"])
@pytest.mark.parametrize("times", [1, 3])
async def test_a_cancelled_endpoint(worker: Worker, call: str, times: int) -> None:
    """An endpoint that is cancelled while it connects leaves no lease, and its user leaves after the grace period."""
    reached, proceed, block = blocking()
    part = worker.leases if call in {"acquire", "count"} else worker.rooms
    part.before[call] = block
    endpoint = asyncio.create_task(worker.connect("ada"))
    await reached.wait()
    for _ in range(times):
        endpoint.cancel()
        await idle()
    assert endpoint.cancelled() or times == 1
    part.before.clear()
    proceed.set()
    await idle()
    assert endpoint.cancelled()
    assert await worker.leases.count(keys_of(Member(ROOM, "ada")).open) == 0
    await pass_time(GRACE)
    assert await worker.users() == []


async def test_an_error_after_cancellation(worker: Worker, caplog: pytest.LogCaptureFixture) -> None:
    """An error that arrives after the endpoint was cancelled is not logged as never retrieved."""
    reached, proceed, block = blocking()
    worker.leases.before["acquire"] = block
    endpoint = asyncio.create_task(worker.connect("ada", "NOROOM"))
    await reached.wait()
    endpoint.cancel()
    proceed.set()
    await idle()
    assert endpoint.cancelled()
    del endpoint
    gc.collect()
    assert warnings(caplog) == []


async def test_a_cancelled_body(worker: Worker) -> None:
    """Cancelling the endpoint while it is connected starts the grace period."""

    async def serve() -> None:
        async with worker.presence.connected(ROOM, User(id="ada", name="Ada")):
            await asyncio.Event().wait()

    endpoint = asyncio.create_task(serve())
    await idle()
    assert await worker.present() == ["ada"]
    endpoint.cancel()
    await idle()
    assert await worker.present() == []
    assert await worker.users() == ["ada"]


async def test_a_renewal_never_follows_a_release(worker: Worker) -> None:
    """A connection that closes during a renewal leaves no lease, because the release waits for the renewal."""
    ada = await worker.connect("ada")
    reached, proceed, block = blocking()
    worker.leases.before["acquire"] = block
    await reached.wait()
    worker.leases.before.clear()
    closing = asyncio.create_task(ada.close())
    await idle()
    assert not closing.done()
    proceed.set()
    await closing
    assert await worker.present() == []


async def test_a_renewal_leaves_out_closed_connections(worker: Worker) -> None:
    """A connection that closes while a renewal waits for the calls of others, 100 at once, is not renewed."""
    sockets = [await worker.connect(f"u{number}") for number in range(101)]
    reached, proceed, block = blocking()
    worker.leases.before["acquire"] = block
    await reached.wait()
    worker.leases.before.clear()
    await sockets[-1].close()
    proceed.set()
    await idle()
    assert worker.leases.calls.count("acquire") == 101 + 1 + 100  # opened, closed, renewed
    assert await worker.leases.count(keys_of(Member(ROOM, "u100")).open) == 0


async def test_stopping_during_a_renewal(worker: Worker) -> None:
    """A renewal that is cancelled before its calls have started leaves no coroutine that was never awaited."""
    await worker.connect("ada")
    with python_warnings.catch_warnings(record=True) as caught:
        python_warnings.simplefilter("always")
        renewal = asyncio.create_task(worker.presence._renew())
        await asyncio.sleep(0)
        renewal.cancel()
        await idle()
        assert renewal.cancelled()
        del renewal
        gc.collect()
    assert [str(warning.message) for warning in caught] == []


async def test_stopping_waits_for_closing_connections(worker: Worker) -> None:
    """Stopping a worker waits until the connections that are closing have ended their leases."""
    ada = await worker.connect("ada")
    reached, proceed, block = blocking()
    worker.leases.before["release"] = block
    closing = asyncio.create_task(ada.close())
    await reached.wait()
    worker.leases.before.clear()
    stopping = asyncio.create_task(worker.presence.__aexit__())
    await idle()
    assert not stopping.done()
    proceed.set()
    await stopping
    await closing
    assert await worker.leases.count(keys_of(Member(ROOM, "ada")).open) == 0


async def test_a_cancelled_stop(worker: Worker) -> None:
    """If stopping a worker is cancelled, an endpoint that was cancelled before still leaves no lease behind."""
    reached, proceed, block = blocking()
    worker.rooms.before["edit_room"] = block
    endpoint = asyncio.create_task(worker.connect("ada"))
    await reached.wait()
    for _ in range(2):
        endpoint.cancel()
        await asyncio.sleep(0)
    stopping = asyncio.create_task(worker.presence.__aexit__())
    await asyncio.sleep(0)
    stopping.cancel()
    await idle()
    proceed.set()
    await idle()
    assert stopping.cancelled()
    assert await worker.leases.count(keys_of(Member(ROOM, "ada")).open) == 0


@pytest.mark.parametrize("by", ["the worker", "a sweep"])
async def test_stopping_during_a_removal(worker: Worker, by: str) -> None:
    """A worker that is stopped during a removal ends, even if the server is away."""
    if by == "the worker":
        await (await worker.connect("ada")).close()
    else:
        await worker.store.rooms.add_user_to_room(ROOM, tracked(User(id="ada", name="Ada")))
    reached, proceed, block = blocking()
    worker.rooms.before["remove_user_from_room"] = block
    await reached.wait()
    worker.leases.is_down = worker.rooms.is_down = True
    started = now()
    await worker.stop()
    assert now() == started
    proceed.set()
    await idle()


async def test_an_endpoint_is_cancelled_while_it_waits(worker: Worker) -> None:
    """An endpoint that is cancelled while it waits for a removal ends at once, and leaves no lease."""
    removal = keys_of(Member(ROOM, "ada")).removal
    await worker.store.connections.acquire(removal, "another", ttl=timedelta(seconds=30))
    endpoint = asyncio.create_task(worker.connect("ada"))
    await pass_time(1)
    endpoint.cancel()
    await pass_time(1)
    assert endpoint.cancelled()
    assert await worker.leases.count(keys_of(Member(ROOM, "ada")).open) == 0
    assert await worker.users() == []
