"""Tests of the room store that commits concurrent updates together: cancelled callers, other loops and the close."""

from __future__ import annotations

import asyncio

import pytest

from one_room_store import STORED, GroupedOneRoomStore
from virtual_time import VirtualTimeLoop, idle
from wnc_store import Room
from wnc_store_contract.factories import user


def join(store: GroupedOneRoomStore, *names: str) -> list[asyncio.Future[Room]]:
    """Start joins of room A in one tick."""
    return [asyncio.ensure_future(store.add_user_to_room("A", user(name))) for name in names]


def guests(store: GroupedOneRoomStore) -> list[str]:
    """Return the ids of the users who have joined the stored room."""
    assert store.stored is not None
    return [one.id for one in store.stored.users[2:]]


@pytest.mark.parametrize("seconds", [0, 0.1], ids=["before the read", "during the read"])
async def test_a_cancelled_update_is_not_committed(seconds: float) -> None:
    """Cancelling a caller before its batch is sent removes its update; the others are committed."""
    store = GroupedOneRoomStore()
    store.read_seconds = 0.5
    first, cancelled, last = join(store, "first", "cancelled", "last")
    await asyncio.sleep(seconds)
    cancelled.cancel()
    await asyncio.gather(first, last)
    assert cancelled.cancelled()
    assert guests(store) == ["first", "last"]


async def test_a_sent_update_is_committed_after_its_caller_was_cancelled() -> None:
    """Cancelling a caller after its batch was sent does not interrupt the commit."""
    store = GroupedOneRoomStore()
    store.commit_seconds = 0.1
    first, cancelled = join(store, "first", "cancelled")
    await idle()
    cancelled.cancel()
    await first
    assert cancelled.cancelled()
    assert guests(store) == ["first", "cancelled"]


async def test_a_batch_without_callers_reads_nothing() -> None:
    """If all callers of a batch are cancelled before it starts, nothing is read or sent; the next update works."""
    store = GroupedOneRoomStore()
    calls = join(store, "a", "b")
    await asyncio.sleep(0)
    for call in calls:
        call.cancel()
    await idle()
    assert (store.reads, store.attempts) == (0, 0)
    await asyncio.gather(*join(store, "next"))
    assert guests(store) == ["next"]


@pytest.mark.parametrize("is_started", [False, True], ids=["before its first step", "during a commit"])
async def test_callers_are_cancelled_with_the_task_of_their_batch(*, is_started: bool) -> None:
    """If an application cancels all tasks, callers and waiting callers end at once. The room's next update works."""
    store, before = GroupedOneRoomStore(), asyncio.all_tasks()
    store.commit_seconds = 1
    callers = join(store, "sent")
    await (idle() if is_started else asyncio.sleep(0))
    callers += join(store, "waiting")
    await asyncio.sleep(0)
    for task in asyncio.all_tasks() - {*before, *callers}:
        task.cancel()
    await idle()
    assert all(caller.cancelled() for caller in callers)
    await asyncio.gather(*join(store, "next"))
    assert guests(store) == ["next"]


def test_a_keyboard_interrupt_does_not_block_the_room() -> None:
    """A KeyboardInterrupt in a transition ends the event loop and cancels the callers; the next update works."""
    store = GroupedOneRoomStore()

    def interrupt(_: Room) -> Room:
        raise KeyboardInterrupt

    async def start() -> list[asyncio.Future[Room]]:
        return [*join(store, "first"), asyncio.ensure_future(store.edit_room("A", interrupt)), *join(store, "last")]

    async def join_again() -> None:
        assert all(call.cancelled() for call in calls)
        await asyncio.gather(*join(store, "again"))

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        calls = runner.run(start())
        with pytest.raises(KeyboardInterrupt):
            runner.run(idle())
        runner.run(idle())
        runner.run(join_again())
    assert guests(store) == ["again"]


def test_an_event_loop_does_not_wait_for_updates_of_another() -> None:
    """An update does not join a batch of an event loop that stopped before it committed the batch."""
    store, loop = GroupedOneRoomStore(), VirtualTimeLoop()
    store.commit_seconds = 1

    async def start() -> list[asyncio.Future[Room]]:
        calls = join(store, "stopped")
        await idle()
        return calls

    calls = loop.run_until_complete(start())
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        updated = runner.run(store.add_user_to_room("A", user("later")))
    assert updated is store.stored
    assert guests(store) == ["later"]
    for task in asyncio.all_tasks(loop):
        task.cancel()
    loop.run_until_complete(asyncio.wait(calls))
    loop.close()


async def test_waiting_updates_of_a_closed_store_are_rejected() -> None:
    """When a store is closed during a commit, the updates behind it raise StoreClosedError and are not sent."""
    store = GroupedOneRoomStore()
    store.commit_seconds = 0.1
    calls = join(store, "sent")
    await idle()
    calls += join(store, "waiting")
    await idle()
    store.lifecycle.close()
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(outcome).__name__ for outcome in outcomes] == ["Room", "StoreClosedError"]
    assert guests(store) == ["sent"]
    assert store.stored is not STORED
