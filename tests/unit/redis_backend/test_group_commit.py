"""Tests of group commit: batches, deadlines, and cancellation."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from fake_storage import (
    CHANGED,
    SECONDS,
    STORED,
    FakeStorage,
    Outcome,
    SentFakeStorage,
    group,
    outcomes,
    set_host_name,
    slow_group,
    stored,
    submit,
)
from virtual_time import VirtualTimeLoop, idle, now, pass_time
from wnc_store import ConflictError, OutcomeUnknownError, Room, StoreError, StoreUnavailableError
from wnc_store.base import Committed, VersionedRoom, VersionMismatch
from wnc_store_contract.factories import room, user
from wnc_store_redis.room_storage import FoundDeleted, PendingCommit


async def test_a_waiting_update_times_out() -> None:
    """Behind a commit without a reply, a waiting update times out; the outcome of the sent one is unknown."""
    storage = FakeStorage()
    calls = await submit(group(storage), "sent", "waiting")
    assert await outcomes(*calls) == ["OutcomeUnknownError('A')", "StoreTimeoutError('A')"]
    assert storage.names == ["sent"]


async def test_each_update_fails_at_its_own_deadline() -> None:
    """One timer fails each update at its own deadline, also an update that arrives after others have failed."""
    commits, started_at = group(FakeStorage()), now()
    failed_at: list[float] = []
    calls: list[asyncio.Future[Room | None]] = []
    for name, seconds in (("first", 1), ("second", 3), ("third", 3)):
        calls += await submit(commits, name)
        calls[-1].add_done_callback(lambda _: failed_at.append(now() - started_at))
        await pass_time(seconds)
    assert await outcomes(*calls) == ["OutcomeUnknownError('A')", *["StoreTimeoutError('A')"] * 2]
    assert failed_at == pytest.approx([2, 3, 6], abs=0.05)


async def test_an_update_without_time_for_another_attempt_fails() -> None:
    """After four attempts of 0.45 s, an update with 0.2 s left fails, and one with 0.5 s left is retried."""
    results: list[Outcome] = [*[VersionMismatch(STORED)] * 4, Committed()]
    storage = FakeStorage(lambda: results.pop(0), seconds=0.45)
    commits = group(storage)
    (brief,) = await submit(commits, "brief")
    await pass_time(0.3)
    (patient,) = await submit(commits, "patient")
    with pytest.raises(ConflictError, match=r"'A'.* each of 4 attempts"):
        await brief
    assert await patient == storage.committed[-1]
    assert storage.names == ["brief", *["patient"] * 4]


async def test_an_update_whose_room_is_read_again_was_not_applied() -> None:
    """An update that times out during the read after a mismatch did not happen."""
    storage = FakeStorage(lambda: VersionMismatch(None))
    calls = await submit(group(storage), "first", "second")
    assert await outcomes(*calls) == ["StoreTimeoutError('A')"] * 2
    assert len(storage.reads) == 1


async def test_an_update_that_joins_after_a_mismatch_uses_a_later_read() -> None:
    """An update without effect that was submitted during a commit uses a room that was read after its submission."""
    storage = FakeStorage(lambda: VersionMismatch(CHANGED))
    storage.stored = stored(room("A", rev=3))
    commits = group(storage)
    first = asyncio.ensure_future(
        commits.submit("A", lambda current: set_host_name("first")(current) if current is STORED.room else current)
    )
    await idle()
    second = asyncio.ensure_future(commits.submit("A", lambda current: current))
    deadline = now() + SECONDS
    assert await second is storage.stored.room
    assert await first is storage.stored.room
    assert storage.reads == [deadline]


async def test_a_mismatch_needs_no_read() -> None:
    """An update without effect on the room that a mismatch returned uses that room without a read."""
    storage = FakeStorage(lambda: VersionMismatch(CHANGED))
    after = await group(storage).submit(
        "A", lambda current: set_host_name("first")(current) if current is STORED.room else current
    )
    assert after is CHANGED.room
    assert storage.reads == []


async def test_updates_of_one_tick_are_one_commit() -> None:
    """Updates that are submitted in one tick are applied in order and committed together."""
    storage = FakeStorage(Committed)
    commits = group(storage)
    calls = [commits.submit("A", lambda current, name=f"u{n}": _with(current, name)) for n in range(1000)]
    rooms = await asyncio.gather(*calls)
    assert [len(updated.users) for updated in rooms if updated is not None] == list(range(2, 1002))
    assert storage.committed == rooms[-1:]


def _with(before: Room, name: str) -> Room:
    return before.model_copy(update={"users": (*before.users, user(name))})


async def test_updates_during_a_commit_are_the_next_one() -> None:
    """Updates that arrive during a commit are committed together after it."""
    storage = FakeStorage(Committed)
    commits = group(storage)
    await asyncio.gather(*await submit(commits, "first", *"abcdefgh"))
    assert storage.names == ["first", "h"]


async def test_several_processes_need_few_commits() -> None:
    """250 concurrent updates in each of four processes need four commits, and six attempts that conflict."""
    current = [STORED]
    attempts = 0

    class SharedFakeStorage(FakeStorage):
        """A storage that compares and sets a shared room."""

        async def finish_commit(self, commit: PendingCommit) -> Outcome:
            """See `RoomStorage.finish_commit`."""
            nonlocal attempts
            await asyncio.sleep(0.001)
            attempts += 1
            assert commit.after is not None
            if commit.script.arguments != [current[0].version]:
                return VersionMismatch(current[0])
            current[0] = commit.after
            return Committed()

    await asyncio.gather(
        *(
            commits.submit("A", lambda current, name=f"{process}-{guest}": _with(current, name))
            for process, commits in enumerate([group(SharedFakeStorage()) for _ in range(4)])
            for guest in range(250)
        )
    )
    assert len(current[0].room.users) == 1001
    assert attempts == 4 + 3 + 2 + 1


async def test_slow_transitions_are_committed_in_parts() -> None:
    """After transitions have used their time, the other updates wait for the next commit, also after a conflict."""
    results: list[Outcome] = [Committed(), VersionMismatch(STORED), Committed(), Committed()]
    storage = FakeStorage(lambda: results.pop(0))
    commits = slow_group(storage)
    await asyncio.gather(*(commits.submit("A", set_host_name(str(number))) for number in range(3)))
    assert storage.names == ["0", "1", "1", "2"]


async def test_each_caller_of_a_failed_commit_gets_its_own_error() -> None:
    """Each caller of a failed batch gets its own copy of the error, with the same cause."""
    cause = OSError("no route")

    def fail() -> Outcome:
        raise StoreUnavailableError("not now") from cause

    commits = group(FakeStorage(fail))
    results = await asyncio.gather(*(commits.submit("A", set_host_name(name)) for name in "ab"), return_exceptions=True)
    assert [str(error) for error in results] == ["not now", "not now"]
    assert results[0] is not results[1]
    assert [error.__cause__ for error in results if isinstance(error, BaseException)] == [cause, cause]


async def test_updates_before_an_ambiguous_deletion_are_unknown_outcomes() -> None:
    """If another client may have deleted the room, the outcome of the updates before the deletion is unknown."""

    class EndedFakeStorage(FakeStorage):
        """A storage with errors of unknown outcomes."""

        def outcome_unknown_error(self, room_id: str) -> StoreError:
            """See `RoomStorage.outcome_unknown_error`."""
            return OutcomeUnknownError(room_id)

    commits = group(EndedFakeStorage(FoundDeleted))
    first, last = await asyncio.gather(
        commits.submit("A", set_host_name("first")), commits.submit("A", lambda _: None), return_exceptions=True
    )
    assert (repr(first), last) == ("OutcomeUnknownError('A')", None)


async def test_a_transition_that_raises_stop_iteration_fails_alone() -> None:
    """A transition that raises StopIteration or CancelledError is a RuntimeError of its caller only."""
    cancelled_future: asyncio.Future[Room] = asyncio.get_running_loop().create_future()
    cancelled_future.cancel()
    storage = FakeStorage(Committed)
    commits = group(storage)
    transitions: list[Callable[[Room], Room]] = [
        set_host_name("first"),
        lambda _: next(iter(())),
        lambda _: cancelled_future.result(),
        set_host_name("last"),
    ]
    first, failed, cancelled, last = await asyncio.gather(
        *(commits.submit("A", transition) for transition in transitions), return_exceptions=True
    )
    assert [updated.host_name for updated in (first, last) if isinstance(updated, Room)] == ["first", "last"]
    assert storage.names == ["last"]
    for error, kind in ((failed, StopIteration), (cancelled, asyncio.CancelledError)):
        assert isinstance(error, RuntimeError)
        assert (str(error), type(error.__cause__)) == (f"the transition of the update raised {kind.__name__}", kind)


@pytest.mark.parametrize(
    ("room_id", "seconds"), [("A", 0), ("B", 0), ("B", 0.05)], ids=["cached", "not cached", "during the read"]
)
async def test_cancelled_updates_are_not_committed(room_id: str, seconds: float) -> None:
    """An update that is cancelled before it is sent is not committed; the other updates are."""
    storage = FakeStorage(Committed, seconds=0.1)
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
    storage = FakeStorage(Committed)
    commits = slow_group(storage)
    cancelled, behind = (
        asyncio.ensure_future(commits.submit("A", set_host_name(name))) for name in ("cancelled", "behind")
    )
    asyncio.get_running_loop().call_soon(cancelled.cancel)
    assert await behind is storage.committed[0]
    assert cancelled.cancelled()


async def is_committed(storage: SentFakeStorage, *calls: asyncio.Future[Room | None]) -> bool:
    """Set all pending replies. Return whether the given updates are the last that were committed."""
    while not all(call.done() for call in calls):
        for reply in storage.replies:
            if not reply.done():
                reply.set_result(Committed())
        await idle()
    return [call.result() for call in calls] == storage.committed[-len(calls) :]


async def cancel_tasks(others: set[asyncio.Future[Any]]) -> None:
    """Cancel all tasks except `others`."""
    for task in asyncio.all_tasks() - others:
        task.cancel()
    await idle()


async def test_callers_are_cancelled_when_the_event_loop_shuts_down() -> None:
    """When the event loop cancels its tasks, the callers of sent and of waiting updates are cancelled."""
    storage, before = SentFakeStorage(), asyncio.all_tasks()
    commits = group(storage)
    callers = await submit(commits, "sent", "waiting")
    await cancel_tasks({*before, *callers})
    results = await asyncio.gather(*callers, return_exceptions=True)
    assert [type(result) for result in results] == [asyncio.CancelledError] * 2
    assert await is_committed(storage, *await submit(commits, "again"))


async def test_a_task_that_was_cancelled_before_it_started_blocks_no_room() -> None:
    """If the task of a room is cancelled before it starts, the next update of the room starts another task."""
    storage, others = SentFakeStorage(), asyncio.all_tasks()
    commits = group(storage)
    first = asyncio.ensure_future(commits.submit("A", set_host_name("first")))
    asyncio.get_running_loop().call_soon(lambda: [task.cancel() for task in asyncio.all_tasks() - {*others, first}])
    await idle()
    assert storage.committed == []
    second = asyncio.ensure_future(commits.submit("A", set_host_name("second")))
    await idle()
    assert storage.names == ["second"]
    storage.replies[0].set_result(Committed())
    assert [updated and updated.host_name for updated in await asyncio.gather(first, second)] == ["first", "second"]


def test_a_keyboard_interrupt_does_not_block_rooms() -> None:
    """A KeyboardInterrupt in a transition cancels its callers; later updates of that room and other rooms continue."""

    def interrupt(_: Room) -> Room:
        raise KeyboardInterrupt

    storage = SentFakeStorage()
    commits = group(storage)

    async def start() -> Sequence[asyncio.Future[Room | None]]:
        calls = [("A", interrupt), ("B", set_host_name("other"))]
        return [asyncio.ensure_future(commits.submit(room_id, transition)) for room_id, transition in calls]

    async def check_others() -> None:
        with pytest.raises(asyncio.CancelledError):
            await interrupted
        assert await is_committed(storage, other)
        assert await is_committed(storage, *await submit(commits, "again"))

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        interrupted, other = runner.run(start())
        with pytest.raises(KeyboardInterrupt):
            runner.run(idle())
        runner.run(check_others())


class FailingFakeStorage(SentFakeStorage):
    """A storage whose first commit cannot be started."""

    def _start(self, before: VersionedRoom[bytes], after: Room | None, deadline: float) -> PendingCommit:
        commit = super()._start(before, after, deadline)
        if len(self.committed) == 1:
            message = "not sent"
            raise StoreUnavailableError(message)
        return commit


async def test_a_commit_that_cannot_start_fails_alone() -> None:
    """The updates of a batch that cannot be started get the error; the updates behind it are committed."""
    storage = FailingFakeStorage()
    commits = slow_group(storage)
    failed, behind = (asyncio.ensure_future(commits.submit("A", set_host_name(name))) for name in ("failed", "behind"))
    with pytest.raises(StoreUnavailableError, match="not sent"):
        await failed
    assert await is_committed(storage, behind)
