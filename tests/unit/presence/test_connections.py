"""Users who connect, disconnect and reconnect."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from presence_workers import GRACE, ROOM, Worker, Workers
from virtual_time import pass_time
from wnc_store import Room, User
from wnc_store.presence import Presence


async def test_the_first_connection_joins(worker: Worker) -> None:
    """The first connection adds the user to the room, and `connection.room` contains the user."""
    ada = await worker.connect("ada")
    assert await worker.users() == ["ada"]
    assert ada.connection.room == await worker.store.rooms.get_room(ROOM)
    assert (ada.connection.room_id, ada.connection.user_id) == (ROOM, "ada")


async def test_the_last_connection_closes(worker: Worker) -> None:
    """The user stays for the grace period after the last connection closed, and leaves when it ends."""
    await worker.connect("ada")
    grace = await worker.connect("grace")
    await pass_time(2 * GRACE)
    await grace.close()
    await pass_time(GRACE - 0.001)
    assert await worker.users() == ["ada", "grace"]
    await pass_time(0.001)
    assert await worker.users() == ["ada"]


async def test_a_reload_in_a_room_of_one(worker: Worker) -> None:
    """The only user of a room reloads the page: the room and its revision stay the same, also after the grace."""
    ada = await worker.connect("ada")
    before = await worker.revision()
    await ada.close()
    await pass_time(GRACE - 1)
    await worker.connect("ada")
    await pass_time(3 * GRACE)
    assert await worker.revision() == before


async def test_the_calls_of_a_reload(worker: Worker) -> None:
    """Closing a connection takes two calls, and connecting again three. None of them writes the room."""
    ada = await worker.connect("ada")
    worker.leases.calls.clear()
    worker.rooms.calls.clear()
    await ada.close()
    assert (worker.leases.calls, worker.rooms.calls) == (["acquire", "release"], [])
    await worker.connect("ada")
    assert (worker.leases.calls, worker.rooms.calls) == (["acquire", "release", "acquire", "count"], ["get_room"])


async def test_the_last_user_leaves(worker: Worker) -> None:
    """The room is deleted when its last user has been disconnected for the grace period."""
    ada = await worker.connect("ada")
    await ada.close()
    await pass_time(GRACE)
    assert not await worker.store.rooms.room_exists(ROOM)


async def test_the_host_changes(worker: Worker) -> None:
    """When the host has been disconnected for the grace period, the next user becomes host."""
    ada = await worker.connect("ada")
    await worker.connect("grace")
    await ada.close()
    await pass_time(GRACE)
    room = await worker.store.rooms.get_room(ROOM)
    assert room is not None
    assert room.host_id == "grace"


async def test_two_tabs(worker: Worker) -> None:
    """A user with two connections stays when one of them closes, and leaves after both have closed."""
    first, second = await worker.connect("ada"), await worker.connect("ada")
    await first.close()
    await pass_time(3 * GRACE)
    assert await worker.users() == ["ada"]
    await second.close()
    await pass_time(GRACE)
    assert await worker.users() == []


async def test_two_tabs_close_one_after_the_other(worker: Worker) -> None:
    """The grace period of a user begins when the last of several connections closes, not the first."""
    first, second = await worker.connect("ada"), await worker.connect("ada")
    await first.close()
    await pass_time(GRACE / 2)
    await second.close()
    await pass_time(GRACE - 0.001)
    assert await worker.users() == ["ada"]
    await pass_time(0.001)
    assert await worker.users() == []


async def test_a_late_disconnect(workers: Workers, worker: Worker) -> None:
    """If an old connection closes after the user has reconnected to another process, the user stays."""
    old = await worker.connect("ada")
    await (await workers.start()).connect("ada")
    await pass_time(GRACE)
    await old.close()
    await pass_time(3 * GRACE)
    assert await worker.users() == ["ada"]


async def test_an_unreliable_network(workers: Workers, worker: Worker) -> None:
    """The grace period begins again whenever the last connection closes, on any process."""
    others = [worker, await workers.start()]
    for number in range(4):
        socket = await others[number % 2].connect("ada")
        await pass_time(1)
        await socket.close()
        await pass_time(GRACE - 1)
    assert await worker.users() == ["ada"]
    await pass_time(1)
    assert await worker.users() == []


@pytest.mark.parametrize("connection_ttl", [GRACE / 100, 100 * GRACE])
async def test_leases_last_the_grace(workers: Workers, connection_ttl: float) -> None:
    """A `connection_ttl` below or above the grace period changes nothing, and no lease of the user is left."""
    worker = await workers.start(connection_ttl=connection_ttl)
    await worker.store.rooms.create_room(Room(id=ROOM, host_id="ada", host_name="Ada"))
    socket = await worker.connect("ada")
    await pass_time(5 * GRACE)
    assert await (await workers.start()).present() == ["ada"]
    await socket.close()
    await pass_time(GRACE - 0.001)
    assert await worker.users() == ["ada"]
    await pass_time(0.001)
    assert await worker.users() == []
    assert set(worker.store._namespace.leases.live_keys()) <= {"presence:sweeper"}


async def test_a_test_moves_the_clock(worker: Worker) -> None:
    """A user with an open connection to this process stays, even if the clock jumps over the end of the lease."""
    first, _ = await worker.connect("ada"), await worker.connect("ada")
    await first.close()
    await pass_time(GRACE - 0.001)
    worker.store._namespace.leases._entries.clear()
    await pass_time(0.001)
    assert await worker.users() == ["ada"]
    worker.store._namespace.leases._entries.clear()
    assert await worker.present() == ["ada"]


async def test_leaving(worker: Worker) -> None:
    """A user who leaves deliberately is removed at once, even if an earlier connection was closed just before."""
    await worker.connect("grace")
    first = await worker.connect("ada")
    await first.close()
    second = await worker.connect("ada")
    assert await second.connection.leave()
    assert await worker.users() == ["grace"]
    worker.leases.calls.clear()
    await second.close()
    assert worker.leases.calls == []


async def test_leaving_with_two_tabs(worker: Worker) -> None:
    """A user who leaves deliberately in one tab stays while another tab is open."""
    first, second = await worker.connect("ada"), await worker.connect("ada")
    assert not await first.connection.leave()
    await first.close()
    await pass_time(3 * GRACE)
    assert await worker.users() == ["ada"]
    assert await second.connection.leave()
    assert await worker.users() == []


async def test_joining_again_after_leaving(worker: Worker) -> None:
    """A user who has left and joined again is not removed when the connection of before closes."""
    await worker.connect("grace")
    first = await worker.connect("ada")
    await first.connection.leave()
    await worker.connect("ada")
    await first.close()
    await pass_time(3 * GRACE)
    assert await worker.users() == ["grace", "ada"]


async def test_who_is_present(workers: Workers, worker: Worker) -> None:
    """`present` returns the connected users of all processes in the order of the room, without users in their grace."""
    other = await workers.start()
    for number, user_id in enumerate(["ada", "grace", "lin", "joan"]):
        await [worker, other][number % 2].connect(user_id)
    away = await other.connect("alan")
    await away.close()
    await worker.store.rooms.add_user_to_room(ROOM, User(id="node", name="Not tracked"))
    assert await worker.present() == await other.present() == ["ada", "grace", "lin", "joan"]
    assert await worker.present("NOROOM") == []


async def test_it_must_be_entered(workers: Workers, worker: Worker) -> None:
    """A connection outside `async with Presence(...)` raises an error, and a context is entered once."""
    late: Any = Presence(worker.store, grace=timedelta(seconds=1))
    with pytest.raises(RuntimeError, match="this Presence is new"):
        await late.connected(ROOM, User(id="ada", name="Ada")).__aenter__()
    async with late:
        pass
    with pytest.raises(RuntimeError, match="this Presence is closed: connect inside"):
        await late.connected(ROOM, User(id="ada", name="Ada")).__aenter__()
    with pytest.raises(RuntimeError, match="this Presence is closed: create another one"):
        await late.__aenter__()
    assert workers
    assert worker.leases.calls == ["release"]


def test_the_grace_is_a_ttl() -> None:
    """A grace period that a lease cannot last raises an error."""
    store: Any = None
    with pytest.raises(ValueError, match=r"grace must be at least 1 millisecond, got 0\.0 seconds"):
        Presence(store, grace=timedelta(0))
    with pytest.raises(ValueError, match="grace must be at most 36500 days"):
        Presence(store, grace=timedelta.max)
    with pytest.raises(TypeError, match="grace must be a timedelta, got 10"):
        Presence(store, grace=10)  # type: ignore[arg-type]
