"""Tests of group commit: batches, deadlines and outcomes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta

import pytest

from fake_connection import FakePool
from fake_storage import (
    CHANGED,
    SECONDS,
    STORED,
    FakeStorage,
    Outcome,
    SentFakeStorage,
    cancel_tasks,
    commit_all,
    group,
    is_committed,
    outcomes,
    set_host_name,
    slow_group,
    stored,
    submit,
)
from virtual_time import idle, now, pass_time
from wnc_store import ConflictError, OutcomeUnknownError, Room, StoreSettings, StoreUnavailableError
from wnc_store.base import ChangeEvents, VersionedRoom, VersionMismatch
from wnc_store_contract.factories import room, user
from wnc_store_redis.group_commit import GroupCommit
from wnc_store_redis.keys import Keys
from wnc_store_redis.room_storage import Commit, FoundDeleted, RoomStorage
from wnc_store_redis.script_results import COMMITTED
from wnc_store_redis.transport.executor import CommandExecutor
from wnc_store_redis.transport.multiplexer import MultiplexedConnection
from wnc_store_redis.transport.receiver import Receiver
from wnc_store_redis.transport.routing import SingleNodeRouter
from wnc_store_redis.transport.statistics import Statistics


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
    results: list[Outcome] = [*[VersionMismatch(STORED)] * 4, COMMITTED]
    storage = FakeStorage(lambda _: results.pop(0), seconds=0.45)
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
    storage = FakeStorage(lambda _: VersionMismatch(None))
    calls = await submit(group(storage), "first", "second")
    assert await outcomes(*calls) == ["StoreTimeoutError('A')"] * 2
    assert len(storage.reads) == 1


async def test_an_update_that_joins_after_a_mismatch_uses_a_later_read() -> None:
    """An update without effect that was submitted during a commit uses a room that was read after its submission."""
    storage = FakeStorage(lambda _: VersionMismatch(CHANGED))
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
    storage = FakeStorage(lambda _: VersionMismatch(CHANGED))
    after = await group(storage).submit(
        "A", lambda current: set_host_name("first")(current) if current is STORED.room else current
    )
    assert after is CHANGED.room
    assert storage.reads == []


async def test_updates_of_one_tick_are_one_commit() -> None:
    """Updates that are submitted in one tick are applied in order and committed together."""
    storage = FakeStorage(commit_all)
    commits = group(storage)
    calls = [commits.submit("A", lambda current, name=f"u{n}": _with(current, name)) for n in range(1000)]
    rooms = await asyncio.gather(*calls)
    assert [len(updated.users) for updated in rooms if updated is not None] == list(range(2, 1002))
    assert storage.committed == rooms[-1:]
    assert storage.recorded == storage.commits


def _with(before: Room, name: str) -> Room:
    return before.model_copy(update={"users": (*before.users, user(name))})


async def test_updates_during_a_commit_are_the_next_one() -> None:
    """Updates that arrive during a commit are committed together after it."""
    storage = FakeStorage(commit_all)
    commits = group(storage)
    await asyncio.gather(*await submit(commits, "first", *"abcdefgh"))
    assert storage.names == ["first", "h"]


async def test_several_processes_need_few_commits() -> None:
    """250 concurrent updates in each of four processes need four commits, and six attempts that conflict."""
    current = [STORED]
    attempts = 0

    def compare_and_set(commit: Commit) -> Outcome:
        nonlocal attempts
        attempts += 1
        assert commit.after is not None
        if commit.arguments != [current[0].version]:
            return VersionMismatch(current[0])
        current[0] = commit.after
        return COMMITTED

    await asyncio.gather(
        *(
            commits.submit("A", lambda current, name=f"{process}-{guest}": _with(current, name))
            for process, commits in enumerate([group(FakeStorage(compare_and_set)) for _ in range(4)])
            for guest in range(250)
        )
    )
    assert len(current[0].room.users) == 1001
    assert attempts == 4 + 3 + 2 + 1


async def test_slow_transitions_are_committed_in_parts() -> None:
    """After transitions have used their time, the other updates wait for the next commit, also after a conflict."""
    results: list[Outcome] = [COMMITTED, VersionMismatch(STORED), COMMITTED, COMMITTED]
    storage = FakeStorage(lambda _: results.pop(0))
    commits = slow_group(storage)
    await asyncio.gather(*(commits.submit("A", set_host_name(str(number))) for number in range(3)))
    assert storage.names == ["0", "1", "1", "2"]


async def test_each_caller_of_a_failed_commit_gets_its_own_error() -> None:
    """Each caller of a failed batch gets its own copy of the error, with the same cause."""
    cause = OSError("no route")

    def fail(_: Commit) -> Outcome:
        raise StoreUnavailableError("not now") from cause

    commits = group(FakeStorage(fail))
    results = await asyncio.gather(*(commits.submit("A", set_host_name(name)) for name in "ab"), return_exceptions=True)
    assert [str(error) for error in results] == ["not now", "not now"]
    assert results[0] is not results[1]
    assert [error.__cause__ for error in results if isinstance(error, BaseException)] == [cause, cause]


async def test_updates_before_an_ambiguous_deletion_are_unknown_outcomes() -> None:
    """If another client may have deleted the room, the outcome of the updates before the deletion is unknown."""
    commits = group(FakeStorage(lambda _: FoundDeleted()))
    first, last = await asyncio.gather(
        commits.submit("A", set_host_name("first")), commits.submit("A", lambda _: None), return_exceptions=True
    )
    assert (repr(first), last) == ("OutcomeUnknownError('A')", None)


async def test_a_transition_that_raises_stop_iteration_fails_alone() -> None:
    """A transition that raises StopIteration or CancelledError is a RuntimeError of its caller only."""
    cancelled_future: asyncio.Future[Room] = asyncio.get_running_loop().create_future()
    cancelled_future.cancel()
    storage = FakeStorage(commit_all)
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


async def test_the_first_commit_of_a_batch_needs_no_task() -> None:
    """Updates are applied and committed even if an application cancels all tasks except their callers."""
    storage, others = SentFakeStorage(), asyncio.all_tasks()
    commits = group(storage)
    first = asyncio.ensure_future(commits.submit("A", set_host_name("first")))
    asyncio.get_running_loop().call_soon(lambda: [task.cancel() for task in asyncio.all_tasks() - {*others, first}])
    await idle()
    assert storage.names == ["first"]
    second = asyncio.ensure_future(commits.submit("A", set_host_name("second")))
    await cancel_tasks({*others, first, second})
    storage.receivers[0].set_result(1)
    await idle()
    assert storage.names == ["first", "second"]
    storage.receivers[1].set_result(1)
    assert await asyncio.gather(first, second) == storage.committed
    assert storage.recorded == storage.commits


async def test_updates_of_many_rooms_are_applied_in_several_ticks() -> None:
    """After the updates of one tick have taken 20 ms, those of the remaining rooms follow in the next ticks."""
    storage, clock = SentFakeStorage(), [0.0]
    commits = group(storage, lambda: clock[0])
    ticks: list[list[str | None]] = []

    def slow(before: Room) -> Room:
        clock[0] += 0.011
        if len(storage.commits) % 2 == 0:  # the first update of a tick
            asyncio.get_running_loop().call_soon(lambda: ticks.append(storage.names))
        return before.replace(host_name=before.id)

    calls = [asyncio.ensure_future(commits.submit(room_id, slow)) for room_id in "ABCDE"]
    await idle()
    assert ticks == [["A", "B"], ["A", "B", "C", "D"], ["A", "B", "C", "D", "E"]]
    assert await is_committed(storage, *calls)


class FailingFakeStorage(SentFakeStorage):
    """A storage that cannot start a commit of the update "failed"."""

    def prepare_commit(
        self, before: VersionedRoom[bytes], after: Room | None, encoded_events: object, deadline: float
    ) -> Commit:
        """See `RoomStorage.prepare_commit`."""
        if after is not None and after.host_name == "failed":
            message = "not sent"
            raise StoreUnavailableError(message)
        return super().prepare_commit(before, after, encoded_events, deadline)


async def test_a_commit_that_cannot_start_fails_alone() -> None:
    """The updates of a batch that cannot be started get the error; the updates behind it are committed."""
    storage = FailingFakeStorage()
    commits = slow_group(storage)
    failed, behind = (asyncio.ensure_future(commits.submit("A", set_host_name(name))) for name in ("failed", "behind"))
    with pytest.raises(StoreUnavailableError, match="not sent"):
        await failed
    assert await is_committed(storage, behind)


class LostFakeStorage(SentFakeStorage):
    """A storage that fails after it has sent a commit of the update "failed"."""

    def send_script(self, commit: Commit, receiver: Receiver) -> None:
        """See `CommandExecutor.send_script`."""
        super().send_script(commit, receiver)
        if commit.after is not None and commit.after.room.host_name == "failed":
            message = "sent"
            raise StoreUnavailableError(message)


async def test_a_reply_to_a_commit_that_failed_behind_its_start_is_ignored() -> None:
    """If a batch fails after its commit was sent, a reply to the commit is discarded and does not end a later batch."""
    storage = LostFakeStorage()
    commits = group(storage)
    (failed,) = await submit(commits, "failed")
    with pytest.raises(StoreUnavailableError, match="sent"):
        await failed
    (later,) = await submit(commits, "later")
    assert storage.receivers[0].done()
    with pytest.raises(asyncio.InvalidStateError):
        storage.receivers[0].set_result(1)
    await idle()
    assert not later.done()
    assert await is_committed(storage, later)


async def test_a_late_reply_to_a_failed_batch_is_ignored() -> None:
    """The reply to a batch that failed at its deadline is discarded, and later replies match their commands."""
    pool, settings, statistics = FakePool(), StoreSettings(), Statistics()
    router = SingleNodeRouter(pool, MultiplexedConnection(pool, 60, statistics), "host:1")
    commands = CommandExecutor(router, timedelta(seconds=SECONDS), statistics)
    storage = RoomStorage(commands, Keys("", 0), settings, ChangeEvents(settings))
    commits = GroupCommit(commands, storage, ChangeEvents(settings))
    assert storage.cache.decode_room(b"room:A", "A", STORED.version) == STORED.room
    (late,) = await submit(commits, "late")
    with pytest.raises(OutcomeUnknownError):
        await late
    (update,) = await submit(commits, "in time")
    read = asyncio.ensure_future(storage.get("A", now() + SECONDS))
    await idle()
    (connection,) = pool.connections
    data = b"$%d\r\n%b\r\n" % (len(CHANGED.version), CHANGED.version)
    connection.send(b":1\r\n:1\r\n" + data)
    updated = await update
    assert updated is not None
    assert updated.host_name == "in time"
    assert await read == CHANGED
    assert statistics.commits == 1
    await commands.aclose()
