"""Connections whose users are removed from the room, and their endpoints."""

from __future__ import annotations

import asyncio
import gc

import pytest

from presence_workers import GRACE, ROOM, Worker
from virtual_time import idle, now, pass_time
from wnc_store import User


async def test_a_kicked_user(worker: Worker) -> None:
    """A user who is removed while connected is not added again, and the connection learns it within a renewal."""
    await worker.connect("ada")
    grace = await worker.connect("grace")
    await pass_time(1)
    await worker.store.rooms.remove_user_from_room(ROOM, "grace")
    started = now()
    await grace.connection.wait_removed()
    assert now() - started <= GRACE / 3
    await pass_time(3 * GRACE)
    assert await worker.users() == ["ada"]
    assert await worker.present() == ["ada"]


async def test_an_endpoint_of_a_kicked_user(worker: Worker) -> None:
    """`run_until_removed` cancels its coroutine when the user is kicked, and returns True."""
    await worker.connect("ada")
    grace = await worker.connect("grace")
    running = asyncio.Event()

    async def serve() -> None:
        running.set()
        try:
            await asyncio.Event().wait()
        finally:
            running.clear()

    endpoint = asyncio.create_task(grace.connection.run_until_removed(serve()))
    await pass_time(GRACE)
    assert running.is_set()
    await worker.store.rooms.remove_user_from_room(ROOM, "grace")
    assert await endpoint
    assert not running.is_set()


async def test_an_endpoint_ends(worker: Worker) -> None:
    """`run_until_removed` returns False when its coroutine returns, and raises the error that it raises."""
    ada = await worker.connect("ada")

    async def fail() -> None:
        raise ZeroDivisionError

    assert not await ada.connection.run_until_removed(asyncio.sleep(1))
    with pytest.raises(ZeroDivisionError):
        await ada.connection.run_until_removed(fail())


async def test_an_endpoint_is_cancelled(worker: Worker) -> None:
    """Cancelling `run_until_removed` cancels its coroutine."""
    ada = await worker.connect("ada")
    ended: list[float] = []

    async def serve() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(now())

    endpoint = asyncio.create_task(ada.connection.run_until_removed(serve()))
    await pass_time(1)
    endpoint.cancel()
    with pytest.raises(asyncio.CancelledError):
        await endpoint
    assert ended == [now()]


async def test_an_endpoint_cancels_itself(worker: Worker) -> None:
    """`run_until_removed` raises the cancellation of a coroutine that was cancelled for another reason."""
    ada = await worker.connect("ada")

    async def cancel() -> None:
        raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await ada.connection.run_until_removed(cancel())


async def test_an_endpoint_fails_while_it_is_cancelled(worker: Worker) -> None:
    """`run_until_removed` raises an error of the coroutine's cleanup, also if the caller was cancelled."""
    ada = await worker.connect("ada")

    async def serve() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            raise ZeroDivisionError

    endpoint = asyncio.create_task(ada.connection.run_until_removed(serve()))
    await pass_time(1)
    endpoint.cancel()
    with pytest.raises(ZeroDivisionError):
        await endpoint


async def test_an_endpoint_fails_after_two_cancellations(worker: Worker, caplog: pytest.LogCaptureFixture) -> None:
    """An error of the cleanup that arrives after the caller has ended is not logged as never retrieved."""
    ada = await worker.connect("ada")

    async def serve() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(1)
            raise ZeroDivisionError

    endpoint = asyncio.create_task(ada.connection.run_until_removed(serve()))
    await pass_time(1)
    for _ in range(2):
        endpoint.cancel()
        await idle()
    assert endpoint.cancelled()
    await pass_time(1)
    gc.collect()
    assert caplog.records == []


async def test_a_kicked_user_is_added_again(worker: Worker) -> None:
    """After the app has added a kicked user again, `wait_removed` waits for the next removal."""
    await worker.connect("ada")
    grace = await worker.connect("grace")
    for _ in range(2):
        await worker.store.rooms.remove_user_from_room(ROOM, "grace")
        await grace.connection.wait_removed()
        await worker.store.rooms.add_user_to_room(ROOM, User(id="grace", name="Grace"))
        await pass_time(GRACE)
        waiting = asyncio.create_task(grace.connection.wait_removed())
        await pass_time(GRACE)
        assert not waiting.done()
        waiting.cancel()


@pytest.mark.parametrize("ending", ["closed", "expired"])
async def test_the_room_ends(worker: Worker, ending: str) -> None:
    """`wait_removed` returns when the room is deleted or has expired."""
    ada = await worker.connect("ada")
    if ending == "closed":
        await worker.store.rooms.delete_room(ROOM)
    await ada.connection.wait_removed()
    assert (now() > 3600) == (ending == "expired")
