"""Workers that crash, are stopped, and are started again."""

from __future__ import annotations

import pytest

from presence_workers import GRACE, ROOM, Worker, Workers
from virtual_time import pass_time
from wnc_store import Room, User
from wnc_store.presence import tracked


@pytest.mark.parametrize("seconds", [0, 3.999, 4.001, 6.001])
async def test_a_worker_crashes(workers: Workers, worker: Worker, seconds: float) -> None:
    """The users of a crashed worker leave after their leases have ended, at most two grace periods after the crash."""
    idle_worker = await workers.start()
    await worker.connect("ada")
    await pass_time(seconds)
    age = seconds % 4  # of the leases, which are renewed every 4 s
    worker.crash()
    await pass_time(GRACE - 0.001 - age)
    assert await idle_worker.users() == ["ada"]
    await pass_time(GRACE + 0.001 + age)
    assert await idle_worker.users() == []


async def test_a_user_reconnects_after_a_crash(workers: Workers, worker: Worker) -> None:
    """A user of a crashed worker who reconnects to another one stays, and the room does not change."""
    other = await workers.start()
    before = (await worker.connect("ada")).connection.room
    worker.crash()
    await pass_time(GRACE - 1)
    after = (await other.connect("ada")).connection.room
    await pass_time(5 * GRACE)
    assert after == before == await other.store.rooms.get_room(ROOM)


async def test_a_tab_of_a_crashed_worker(workers: Workers, worker: Worker) -> None:
    """A user with a second tab on another worker stays when the worker of the first tab crashes."""
    other, third = await workers.start(), await workers.start()
    await worker.connect("ada")
    await other.connect("ada")
    worker.crash()
    await pass_time(5 * GRACE)
    assert await other.users() == await third.present() == ["ada"]


async def test_a_worker_crashes_within_the_grace(workers: Workers, worker: Worker) -> None:
    """A user who disconnected before the worker crashed leaves, too."""
    other = await workers.start()
    ada = await worker.connect("ada")
    await ada.close()
    worker.crash()
    await pass_time(GRACE - 0.001)
    assert await other.users() == ["ada"]
    await pass_time(GRACE)
    assert await other.users() == []


async def test_the_sweeper_crashes(workers: Workers, worker: Worker) -> None:
    """If the worker that sweeps the rooms crashes, another one continues after the end of its lease."""
    await pass_time(GRACE / 2)
    other = await workers.start()
    await worker.connect("ada")
    await pass_time(GRACE)
    assert "get_rooms" not in other.rooms.calls  # the first worker sweeps
    worker.crash()
    await pass_time(3 * GRACE)
    assert await other.users() == []


async def test_the_sweeper_stops(workers: Workers, worker: Worker) -> None:
    """If the worker that sweeps the rooms is stopped, another one continues at its next turn."""
    await pass_time(GRACE / 2)
    other = await workers.start()
    await pass_time(GRACE)
    assert "get_rooms" not in other.rooms.calls
    await worker.stop()
    await pass_time(GRACE / 2)
    assert "get_rooms" in other.rooms.calls


async def test_untracked_users(worker: Worker) -> None:
    """Users whom another client added, such as the Node app, are never removed; tracked users without a lease are."""
    await worker.store.rooms.add_user_to_room(ROOM, User(id="node", name="Node"))
    await worker.store.rooms.add_user_to_room(ROOM, tracked(User(id="ghost", name="Ghost")))
    await pass_time(GRACE)
    assert await worker.users() == ["node"]
    worker.leases.calls.clear()
    await pass_time(5 * GRACE)
    assert await worker.users() == ["node"]
    assert set(worker.leases.calls) == {"acquire"}  # of the sweeps, which do not read the leases of the user


async def test_all_workers_were_down(workers: Workers, worker: Worker) -> None:
    """After all workers were stopped for long, users have the grace period after the start to reconnect."""
    await worker.connect("ada")
    await worker.connect("grace")
    await worker.stop()
    await pass_time(100 * GRACE)
    restarted = await workers.start()
    await pass_time(GRACE - 0.001)
    assert await restarted.users() == ["ada", "grace"]
    await restarted.connect("ada")
    await pass_time(GRACE)
    assert await restarted.users() == ["ada"]


async def test_a_rolling_restart(workers: Workers, worker: Worker) -> None:
    """Users of stopped workers who reconnect to the new workers change nothing in their room."""
    second = await workers.start()
    before = (await worker.connect("ada")).connection.room
    for old in (worker, second):
        new = await workers.start()
        await old.stop()
        await pass_time(GRACE - 1)
        await new.connect("ada")
        await pass_time(GRACE)
    assert await new.store.rooms.get_room(ROOM) == before


async def test_nobody_returns_after_a_restart(workers: Workers, worker: Worker) -> None:
    """Users of a stopped worker who do not reconnect are removed by another worker, not before the grace has passed."""
    other = await workers.start()
    await worker.connect("ada")
    await worker.stop()
    await pass_time(GRACE - 0.001)
    assert await other.users() == ["ada"]
    await pass_time(GRACE)
    assert await other.users() == []


async def test_one_worker_sweeps(workers: Workers, worker: Worker) -> None:
    """One worker reads the rooms twice per grace period, 20 rooms in one call. The others read no room."""
    others = [await workers.start() for _ in range(3)]
    for number in range(19):
        await worker.store.rooms.create_room(Room(id=f"R{number}", host_id="h", host_name="H"))
    await pass_time(GRACE)
    reads = [one.rooms.calls.count("get_rooms") for one in (worker, *others)]
    assert sorted(reads) == [0, 0, 0, 2]


async def test_a_sweep_of_many_rooms(workers: Workers) -> None:
    """A sweep reads 20 rooms at once, and pauses for 0.1 s between two reads."""
    worker = await workers.start()
    for number in range(60):
        await worker.store.rooms.create_room(Room(id=f"R{number}", host_id="h", host_name="H"))
    reads: list[int] = []
    await pass_time(GRACE / 2)
    for _ in range(4):
        reads.append(worker.rooms.calls.count("get_rooms"))
        await pass_time(0.1)
    assert reads == [1, 2, 3, 3]


async def test_a_sweep_is_handed_over(workers: Workers) -> None:
    """A worker that is no longer elected ends its sweep after the current batch."""
    worker = await workers.start()
    for number in range(60):
        await worker.store.rooms.create_room(Room(id=f"R{number}", host_id="h", host_name="H"))
    await pass_time(GRACE / 2)
    await worker.presence._sweeper.resign()
    await worker.store.connections.acquire("presence:sweeper", "another")
    await pass_time(1)
    assert worker.rooms.calls.count("get_rooms") == 1


@pytest.mark.parametrize("count", [1, 250])
async def test_all_leases_are_renewed(worker: Worker, count: int) -> None:
    """Every open connection is renewed three times per grace period, and each room is read once per renewal."""
    for number in range(count):
        await worker.connect(f"u{number}")
    worker.leases.calls.clear()
    worker.rooms.calls.clear()
    await pass_time(GRACE / 3)
    assert (worker.leases.calls.count("acquire"), worker.rooms.calls) == (count, ["get_room"])
    await pass_time(5 * GRACE)
    assert len(await worker.users()) == count
