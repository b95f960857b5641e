"""Connections that meet a removal of their user."""

from __future__ import annotations

import asyncio

import pytest

from presence_workers import GRACE, ROOM, Socket, Worker, Workers, blocking
from virtual_time import idle, now, pass_time
from wnc_store import OutcomeUnknownError, RoomNotFoundError, StoreUnavailableError, User
from wnc_store.presence import tracked
from wnc_store.presence.membership import Member, keys_of


async def removal_of(worker: Worker, socket: Socket) -> asyncio.Event:
    """Close a connection, wait until its user's removal is about to write, and return the event that continues it."""
    reached, proceed, block = blocking()
    worker.rooms.before["remove_user_from_room"] = block
    await socket.close()
    await reached.wait()
    return proceed


@pytest.mark.parametrize("seconds", [1, 25])
@pytest.mark.parametrize("rooms_of_one", [True, False])
async def test_a_connection_meets_a_removal(worker: Worker, rooms_of_one: bool, seconds: float) -> None:
    """A user who connects during a removal, however slow, is added again, or gets an error if the room is gone."""
    ada = await worker.connect("ada")
    if not rooms_of_one:
        await worker.connect("grace")
    proceed = await removal_of(worker, ada)
    back = asyncio.create_task(worker.connect("ada"))
    await pass_time(seconds)
    assert not back.done()
    proceed.set()
    if rooms_of_one:
        with pytest.raises(RoomNotFoundError):
            await back
    else:
        await back
        await pass_time(5 * GRACE)
        assert await worker.users() == ["grace", "ada"]


async def test_a_waiting_connection_is_open(workers: Workers, worker: Worker) -> None:
    """The lease of a connection that waits for a removal is renewed, and the user is not reported as missing."""
    other = await workers.start()
    ada = await worker.connect("ada")
    await worker.connect("grace")
    proceed = await removal_of(worker, ada)
    back = asyncio.create_task(other.connect("ada"))
    await pass_time(2 * GRACE)
    assert await other.leases.count(keys_of(Member(ROOM, "ada")).open) == 1
    worker.rooms.before.clear()
    proceed.set()
    socket = await back
    waiting = asyncio.create_task(socket.connection.wait_removed())
    await pass_time(GRACE)
    assert not waiting.done()
    waiting.cancel()


async def test_a_removal_whose_outcome_is_unknown(workers: Workers, worker: Worker) -> None:
    """While the write of a removal may still happen, a connection waits, until the lease of the removal ends."""
    other = await workers.start()
    ada = await worker.connect("ada")
    await other.connect("grace")

    async def lose_reply() -> None:
        raise OutcomeUnknownError("the reply was lost")

    worker.rooms.before["remove_user_from_room"] = lose_reply
    with pytest.raises(OutcomeUnknownError):
        await ada.connection.leave()
    started = now()
    back = asyncio.create_task(other.connect("ada"))
    await pass_time(10)
    await other.rooms.remove_user_from_room(ROOM, "ada")  # the write happens
    waiting = asyncio.create_task((await back).connection.wait_removed())
    assert now() - started == pytest.approx(30, abs=0.3)
    assert await other.users() == ["grace", "ada"]
    await idle()
    assert not waiting.done()  # the user was missing before the connection was open
    waiting.cancel()


async def test_a_removal_whose_worker_is_stopped(workers: Workers, worker: Worker) -> None:
    """A removal that is cancelled during its write keeps its lease, because the write may still happen."""
    other = await workers.start()
    ada = await worker.connect("ada")
    await other.connect("grace")
    proceed = await removal_of(worker, ada)
    await worker.stop()
    back = asyncio.create_task(other.connect("ada"))
    await pass_time(1)
    proceed.set()
    await back
    assert await other.users() == ["grace", "ada"]


async def test_a_failed_removal_beside_another(worker: Worker) -> None:
    """A removal that fails does not end the lease of another removal of the same connection."""
    await worker.connect("grace")
    ada = await worker.connect("ada")
    reached, proceed, block = blocking()
    worker.rooms.before["remove_user_from_room"] = block
    leaving = asyncio.create_task(ada.connection.leave())
    await reached.wait()
    worker.rooms.is_down = True
    with pytest.raises(StoreUnavailableError):
        await ada.connection.leave()
    worker.rooms.is_down = False
    assert await worker.leases.count(keys_of(Member(ROOM, "ada")).removal) == 1
    proceed.set()
    assert await leaving
    await worker.store.rooms.add_user_to_room(ROOM, tracked(User(id="ada", name="Ada")))
    assert await worker.present() == ["grace"]


async def test_a_removal_meets_a_connection(worker: Worker) -> None:
    """A removal is abandoned if the user connects before the removal has counted the leases."""
    await pass_time(1)  # so that no sweep begins when the grace period ends
    ada = await worker.connect("ada")
    await ada.close()
    reached, proceed, block = blocking()
    await pass_time(GRACE - 0.001)
    worker.leases.before["acquire"] = block  # of the removal
    await reached.wait()
    worker.leases.before.clear()
    await worker.connect("ada")
    proceed.set()
    await pass_time(5 * GRACE)
    assert await worker.users() == ["ada"]


@pytest.mark.parametrize(("seconds", "stays"), [(0.999, False), (1, True)])
async def test_a_slow_removal(worker: Worker, seconds: float, stays: bool) -> None:
    """A removal is abandoned if reading takes 1 s, so that a connection that waits for removals does not miss it."""
    await worker.connect("grace")
    ada = await worker.connect("ada")
    worker.rooms.before["get_room"] = lambda: asyncio.sleep(seconds)
    leaving = asyncio.create_task(ada.connection.leave())
    await pass_time(seconds)
    worker.rooms.before.clear()
    if stays:
        with pytest.raises(StoreUnavailableError, match=f"removing a user from room {ROOM} was abandoned"):
            await leaving
    else:
        assert await leaving
    assert ("ada" in await worker.users()) == stays


async def test_a_crash_during_a_removal(workers: Workers, worker: Worker) -> None:
    """A removal whose worker has crashed delays a connection until its lease ends, 30 s after the removal began."""
    other = await workers.start()
    ada = await worker.connect("ada")
    await worker.connect("grace")
    proceed = await removal_of(worker, ada)
    started = now()
    worker.crash()
    await other.connect("ada")
    assert now() - started == pytest.approx(30, abs=0.3)
    proceed.set()
    await idle()
