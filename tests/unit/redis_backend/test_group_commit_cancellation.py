"""Tests of group commit: cancelled callers and tasks, and interrupted transitions."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Sequence

import pytest

from fake_storage import (
    STORED,
    FakeStorage,
    SentFakeStorage,
    cancel_tasks,
    commit_all,
    group,
    is_committed,
    set_host_name,
    slow_group,
    submit,
)
from virtual_time import VirtualTimeLoop, idle, pass_time
from wnc_store import Room
from wnc_store.base import VersionMismatch
from wnc_store_redis.transport.retry import NoReplyError


@pytest.mark.parametrize(
    ("room_id", "seconds"), [("A", 0), ("B", 0), ("B", 0.05)], ids=["cached", "not cached", "during the read"]
)
async def test_cancelled_updates_are_not_committed(room_id: str, seconds: float) -> None:
    """An update that is cancelled before it is sent is not committed; the other updates are."""
    storage = FakeStorage(commit_all, seconds=0.1)
    storage.stored = STORED
    commits = group(storage)
    for others in ([], ["u0", "u2"]):
        cancelled = asyncio.ensure_future(commits.submit(room_id, set_host_name("cancelled")))
        calls = [asyncio.ensure_future(commits.submit(room_id, set_host_name(name))) for name in others]
        await asyncio.sleep(seconds)
        cancelled.cancel()
        await asyncio.gather(*calls)
        await pass_time(1)
        assert cancelled.cancelled()
    assert storage.names == ["u2"]


async def test_cancelled_updates_do_not_block_others() -> None:
    """If every update of a batch is cancelled, the updates behind it are committed."""
    storage = FakeStorage(commit_all)
    commits = slow_group(storage)
    cancelled, behind = (
        asyncio.ensure_future(commits.submit("A", set_host_name(name))) for name in ("cancelled", "behind")
    )
    asyncio.get_running_loop().call_soon(cancelled.cancel)
    assert await behind is storage.committed[0]
    assert cancelled.cancelled()


@pytest.mark.parametrize("is_started", [False, True], ids=["before its first step", "later"])
async def test_callers_are_cancelled_with_the_task_that_finishes_their_batch(*, is_started: bool) -> None:
    """If an application cancels the task that finishes a batch, its callers and waiting callers are cancelled at once.

    The next update of the room is committed.
    """
    storage, before = SentFakeStorage(), asyncio.all_tasks()
    commits = group(storage)
    callers = await submit(commits, "sent", "waiting")
    storage.receivers[0].set_result(VersionMismatch(STORED))
    if is_started:
        callers += await submit(commits, "late")
    await cancel_tasks({*before, *callers})
    assert all(caller.cancelled() for caller in callers)
    assert await is_committed(storage, *await submit(commits, "again"))


async def test_a_lost_reply_whose_task_is_cancelled_is_not_logged() -> None:
    """If the task that would retry a commit is cancelled before its first step, asyncio logs no unhandled error."""
    storage, before = SentFakeStorage(), asyncio.all_tasks()
    unhandled: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: unhandled.append(context))
    callers = await submit(group(storage), "sent")
    storage.receivers.pop().set_exception(NoReplyError(ConnectionResetError(), sent=True))
    await cancel_tasks({*before, *callers})
    assert callers[0].cancelled()
    gc.collect()
    assert unhandled == []


@pytest.mark.parametrize("waits", [False, True], ids=["not applied", "behind a commit"])
async def test_a_batch_without_callers_sends_nothing(*, waits: bool) -> None:
    """If all callers of a batch are cancelled before it is applied, nothing is sent, and the room's next update works.

    This is also true of a batch that waits for an earlier commit of the room.
    """
    storage = SentFakeStorage()
    commits = group(storage)
    if waits:
        await submit(commits, "first")
    calls = [asyncio.ensure_future(commits.submit("A", set_host_name(name))) for name in "ab"]
    await asyncio.sleep(0)
    for call in calls:
        call.cancel()
    await idle()
    if waits:
        storage.receivers[0].set_result(1)
        await idle()
    assert storage.names == ["first"][: int(waits)]
    assert await is_committed(storage, *await submit(commits, "next"))


@pytest.mark.parametrize("is_cached", [True, False], ids=["immediately", "in a task"])
def test_a_keyboard_interrupt_does_not_block_rooms(*, is_cached: bool) -> None:
    """A KeyboardInterrupt in a transition cancels the callers of that room; updates of other rooms are committed.

    Later updates of the room are committed, too, whether the transition was applied to a cached room or after a read.
    """

    def interrupt(_: Room) -> Room:
        raise KeyboardInterrupt

    storage = SentFakeStorage() if is_cached else FakeStorage()
    storage.stored = STORED
    commits = group(storage)
    calls = [("A", set_host_name("first")), ("A", interrupt), ("A", set_host_name("last"))]
    others = [(other, set_host_name("other")) for other in "BCD"] if is_cached else []
    room_id = "A" if is_cached else "B"

    async def start() -> Sequence[asyncio.Future[Room | None]]:
        return [
            asyncio.ensure_future(commits.submit(room_id if name == "A" else name, transition))
            for name, transition in (*calls, *others)
        ]

    async def check_others() -> None:
        await idle()
        assert [call.cancelled() for call in started] == [True] * len(calls) + [False] * len(others)
        assert await is_committed(storage, *started[len(calls) :])
        again = asyncio.ensure_future(commits.submit(room_id, set_host_name("again")))
        assert await is_committed(storage, again)

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        started = runner.run(start())
        with pytest.raises(KeyboardInterrupt):
            runner.run(pass_time(1))
        runner.run(check_others())
