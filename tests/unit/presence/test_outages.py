"""Errors of the store."""

from __future__ import annotations

import asyncio
import gc
from typing import Any

import pytest

from presence_workers import GRACE, ROOM, Worker, Workers, blocking, warnings
from virtual_time import idle, pass_time
from wnc_store import CorruptRecordError, OutcomeUnknownError, Room, StoreUnavailableError, User
from wnc_store.presence import tracked
from wnc_store.presence.membership import Member, keys_of


async def test_a_short_outage(worker: Worker, caplog: pytest.LogCaptureFixture) -> None:
    """Failed renewals do not end a connection, are logged once per task, and are retried four times as often."""
    await worker.connect("ada")
    worker.leases.is_down = worker.rooms.is_down = True
    worker.leases.calls.clear()
    await pass_time(GRACE / 3 + 3)
    assert worker.leases.calls == ["acquire"] * 5  # four renewals, and one sweep
    worker.leases.is_down = worker.rooms.is_down = False
    await pass_time(5 * GRACE)
    assert await worker.present() == ["ada"]
    assert warnings(caplog) == [
        "could not renew the leases of connections, retrying: the server is away",
        "could not sweep rooms, retrying: the server is away",
    ]


async def test_a_long_outage(workers: Workers, worker: Worker) -> None:
    """Users whose leases ended during an outage stay, if their connections are still open after the outage."""
    other = await workers.start()
    await worker.connect("ada")
    await other.connect("grace")
    for one in (worker, other):
        one.leases.is_down = one.rooms.is_down = True
    await pass_time(5 * GRACE)
    for one in (worker, other):
        one.leases.is_down = one.rooms.is_down = False
    await pass_time(5 * GRACE)
    assert await worker.users() == ["ada", "grace"]


async def test_leases_are_lost(workers: Workers, worker: Worker) -> None:
    """Users whose leases the server has lost stay, if their connections are open."""
    other = await workers.start()
    await worker.connect("ada")
    await pass_time(1)  # at all positions between two renewals and two sweeps
    for _ in range(30):
        worker.store._namespace.leases._entries.clear()
        await pass_time(GRACE + 0.5)
    assert await other.users() == ["ada"]


async def test_a_worker_is_cut_off(workers: Workers, worker: Worker) -> None:
    """A user of a worker that cannot reach the server leaves. The connection learns it after the outage."""
    other = await workers.start()
    ada = await worker.connect("ada")
    await other.connect("grace")
    worker.leases.is_down = worker.rooms.is_down = True
    await pass_time(3 * GRACE)
    assert await other.users() == ["grace"]
    worker.leases.is_down = worker.rooms.is_down = False
    await ada.connection.wait_removed()
    await worker.connect("ada")
    assert await other.users() == ["grace", "ada"]


async def test_a_socket_closes_during_an_outage(worker: Worker) -> None:
    """Closing a connection raises no error of the store. The user leaves after an outage and the grace period."""
    await worker.connect("grace")
    ada = await worker.connect("ada")
    worker.leases.is_down = worker.rooms.is_down = True
    await ada.close()
    await pass_time(2.5 * GRACE)
    worker.leases.is_down = worker.rooms.is_down = False
    await pass_time(GRACE / 2 - 0.001)
    assert await worker.users() == ["grace", "ada"]
    await pass_time(GRACE)
    assert await worker.users() == ["grace"]


async def test_a_failed_removal(worker: Worker, caplog: pytest.LogCaptureFixture) -> None:
    """A removal that fails is retried after another grace period, because leases may have ended before it."""
    ada = await worker.connect("ada")
    await ada.close()
    await worker.store.connections.acquire("presence:sweeper", "another")  # so that this worker does not sweep
    await pass_time(GRACE - 0.001)
    worker.rooms.is_down = True
    await pass_time(1)
    worker.rooms.is_down = False
    await pass_time(GRACE - 1.001)
    assert await worker.users() == ["ada"]
    assert f"could not remove a user from room {ROOM}, retrying: the server is away" in warnings(caplog)
    await pass_time(1)
    assert await worker.users() == []
    assert await worker.leases.count(keys_of(Member(ROOM, "ada")).removal) == 0


async def test_connecting_during_an_outage(worker: Worker) -> None:
    """A connection raises the error of the store, and does not add the user."""
    worker.leases.is_down = True
    with pytest.raises(StoreUnavailableError):
        await worker.connect("ada")
    worker.leases.is_down = False
    assert await worker.users() == []


async def test_an_unknown_outcome(worker: Worker) -> None:
    """A user who may have been added, because the outcome of the write is unknown, leaves after the grace period."""

    async def lose_reply() -> None:
        raise OutcomeUnknownError("the reply was lost")

    await pass_time(1)  # so that sweeps would find the user absent twice within the grace period
    worker.rooms.after["edit_room"] = lose_reply
    with pytest.raises(OutcomeUnknownError):
        await worker.connect("ada")
    await pass_time(GRACE - 0.001)
    assert await worker.users() == ["ada"]
    await pass_time(0.001)
    assert await worker.users() == []


async def test_leaving_during_an_outage(worker: Worker) -> None:
    """`leave` raises the error of the store, and the connection stays open until its context is left."""
    ada = await worker.connect("ada")
    worker.rooms.is_down = True
    with pytest.raises(StoreUnavailableError):
        await ada.connection.leave()
    worker.rooms.is_down = False
    await pass_time(5 * GRACE)
    assert await worker.present() == ["ada"]
    await ada.close()
    await pass_time(GRACE)
    assert await worker.users() == []


async def test_a_late_leave_during_an_outage(worker: Worker) -> None:
    """`leave` on a connection whose context was left does not open the connection again when the store fails."""
    ada = await worker.connect("ada")
    await ada.close()
    worker.rooms.is_down = True
    with pytest.raises(StoreUnavailableError):
        await ada.connection.leave()
    worker.rooms.is_down = False
    assert await worker.present() == []
    await pass_time(2 * GRACE)
    assert await worker.users() == []


async def test_a_cancelled_leave_during_an_outage(worker: Worker, caplog: pytest.LogCaptureFixture) -> None:
    """A `leave` that fails after its endpoint has ended leaves no open connection, and no error is unretrieved."""
    ada = await worker.connect("ada")
    reached, proceed, worker.rooms.before["get_room"] = blocking(StoreUnavailableError("the server is away"))
    leaving = asyncio.create_task(ada.connection.leave())
    await reached.wait()
    leaving.cancel()
    await ada.close()
    worker.rooms.before.clear()
    proceed.set()
    await idle()
    assert leaving.cancelled()
    gc.collect()
    assert warnings(caplog) == []
    assert await worker.present() == []
    await pass_time(2 * GRACE)
    assert await worker.users() == []


async def test_a_failed_leave_after_another(worker: Worker) -> None:
    """A `leave` that fails while another one succeeds does not open the connection again."""
    await worker.connect("grace")
    ada = await worker.connect("ada")
    reached, proceed, worker.rooms.before["get_room"] = blocking(StoreUnavailableError("the server is away"))
    failing = asyncio.create_task(ada.connection.leave())
    await reached.wait()
    worker.rooms.before.clear()
    assert await ada.connection.leave()
    proceed.set()
    with pytest.raises(StoreUnavailableError):
        await failing
    await worker.store.rooms.add_user_to_room(ROOM, tracked(User(id="ada", name="Ada")))
    assert await worker.present() == ["grace"]


async def test_a_failed_sweep(worker: Worker) -> None:
    """After a failed sweep, a user is removed only if two later sweeps find the user absent."""
    await worker.store.rooms.add_user_to_room(ROOM, tracked(User(id="ghost", name="Ghost")))
    await pass_time(GRACE / 2)  # the first sweep
    worker.leases.is_down = True
    await pass_time(GRACE / 2)
    worker.leases.is_down = False
    await pass_time(GRACE / 8)  # the failed sweep is repeated
    assert await worker.users() == ["ghost"]
    await pass_time(GRACE / 2)
    assert await worker.users() == []


async def test_a_corrupt_room(worker: Worker, caplog: pytest.LogCaptureFixture) -> None:
    """A room that cannot be read removes nobody, and its connections are renewed as usual."""
    ada = await worker.connect("ada")

    async def fail() -> None:
        raise CorruptRecordError("room", "not JSON")

    worker.rooms.before["get_room"] = fail
    worker.leases.calls.clear()
    await pass_time(GRACE / 3 + 3)
    assert worker.leases.calls.count("acquire") == 2  # one renewal, and one sweep
    assert warnings(caplog) == []
    waiting = asyncio.create_task(ada.connection.wait_removed())
    await idle()
    assert not waiting.done()
    waiting.cancel()


async def test_a_user_who_cannot_be_removed(worker: Worker, caplog: pytest.LogCaptureFixture) -> None:
    """A sweep that cannot remove a user sweeps the other rooms, logs the user once, and tries again at the next one."""
    ghost = tracked(User(id="ghost", name="Ghost"))
    for number in range(3):
        await worker.store.rooms.create_room(Room(id=f"R{number}", host_id="h", host_name="H", users=(ghost,)))
    worker.rooms.calls.clear()
    rooms: Any = worker.rooms._inner
    original, error = rooms.get_room, CorruptRecordError("room", "not JSON")

    async def get_room(room_id: str) -> Any:
        if room_id == "R0":
            raise error
        return await original(room_id)

    rooms.get_room = get_room
    await pass_time(3 * GRACE)
    rooms.get_room = original
    assert [await worker.users(f"R{number}") for number in range(3)] == [["ghost"], [], []]
    assert worker.rooms.calls.count("get_rooms") == 6
    assert warnings(caplog) == [f"could not remove a user from room R0, retrying: {error}"]
    await pass_time(GRACE / 2)
    assert await worker.users("R0") == []
