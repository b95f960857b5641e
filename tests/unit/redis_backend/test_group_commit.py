"""Group commit by itself: which changes go together, when their time is over, and whom a loop that ends leaves."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from itertools import count
from typing import Any, cast

import pytest

from virtual_time import VirtualTimeLoop, idle, now, pass_time
from wnc_store import (
    ConflictError,
    OutcomeUnknownError,
    Room,
    StoreError,
    StoreSettings,
    StoreTimeoutError,
    StoreUnavailableError,
    to_wire,
)
from wnc_store.base import ChangeEvents, VersionedRoom, VersionMismatch
from wnc_store_contract.factories import room, user
from wnc_store_redis.group_commit import GroupCommit
from wnc_store_redis.room_storage import PendingCommit, RoomStorage
from wnc_store_redis.scripts import COMMIT
from wnc_store_redis.transport.executor import InFlightScript


def stored(found: Room) -> VersionedRoom[bytes]:
    """Return a room as it is stored."""
    return VersionedRoom(found, to_wire(found))


STORED = stored(room("A"))
CHANGED = stored(room("A", "host", "guest", rev=2))
SECONDS = 2
"""How long a change may take."""


class Path:
    """A way to commits that is told what to answer.

    Args:
        answer: of each commit; by default there is none, ever.
        takes: how many seconds that takes.
    """

    def __init__(self, answer: Callable[[], VersionMismatch[bytes] | None] | None = None, takes: float = 0.001) -> None:
        self._answer = answer
        self._takes = takes
        self.committed: list[Room | None] = []
        self.stored: VersionedRoom[bytes] | None = None
        self.loaded: list[float] = []

    @property
    def names(self) -> list[str | None]:
        """The names of the host in what was to be committed."""
        return [one and one.host_name for one in self.committed]

    def check_loop(self) -> None:
        """See `RoomStorage.check_loop`."""

    def deadline(self) -> float:
        """See `RoomStorage.deadline`."""
        return now() + SECONDS

    def cached(self, room_id: str) -> VersionedRoom[bytes] | None:
        """See `RoomStorage.cached`."""
        return STORED if room_id == "A" else None

    async def get(self, _room_id: str, deadline: float) -> VersionedRoom[bytes] | None:
        """See `RoomStorage.get`; without a room to load it takes for ever."""
        self.loaded.append(deadline)
        if self.stored is None:
            await asyncio.Event().wait()
        await asyncio.sleep(self._takes)
        return self.stored

    def start_commit(
        self, before: VersionedRoom[bytes], after: Room | None, _tellings: object, deadline: float
    ) -> PendingCommit:
        """See `RoomStorage.start_commit`: nothing is sent."""
        self.committed.append(after)
        return PendingCommit("A", after and stored(after), [before.version], deadline)

    async def finish_commit(self, _commit: PendingCommit) -> VersionMismatch[bytes] | None:
        """See `RoomStorage.finish_commit`."""
        if self._answer is None:
            await asyncio.Event().wait()
            raise AssertionError
        await asyncio.sleep(self._takes)
        return self._answer()

    def timeout_error(self, room_id: str, *, unanswered: bool) -> StoreError:
        """See `RoomStorage.timeout_error`."""
        return OutcomeUnknownError(room_id) if unanswered else StoreTimeoutError(room_id)


def group(path: Path, machine: Callable[[], float] = lambda: 0.0) -> GroupCommit:
    """Return a group commit on a path, which tells nobody, and on a machine that applies changes in no time."""
    return GroupCommit(cast("RoomStorage", path), ChangeEvents(StoreSettings()), machine)


def on_slow_machine(path: Path) -> GroupCommit:
    """Return a group commit that has time for one change before the event loop has its turn."""
    return group(path, cast("Callable[[], float]", count().__next__))


def joins(name: str) -> Callable[[Room], Room]:
    """Return a rule that changes a room."""
    return lambda before: before.model_copy(update={"host_name": name})


async def begun(changes: GroupCommit, *names: str) -> list[asyncio.Future[Room | None]]:
    """Begin changes, the first of which is sent when this returns, and the others wait."""
    begun: list[asyncio.Future[Room | None]] = []
    for name in names:
        begun.append(asyncio.ensure_future(changes.submit("A", joins(name))))
        await idle()
    return begun


async def outcomes(*calls: asyncio.Future[Room | None]) -> list[str]:
    """Return what became of changes."""
    return [repr(one) for one in await asyncio.gather(*calls, return_exceptions=True)]


async def test_a_change_that_waits_ends_at_its_own_time() -> None:
    """Behind a commit without answer, a change that was not sent times out; what became of the other is unknown."""
    path = Path()
    calls = await begun(group(path), "sent", "waiting")
    assert await outcomes(*calls) == ["OutcomeUnknownError('A')", "StoreTimeoutError('A')"]
    assert path.names == ["sent"]


async def test_one_timer_ends_each_change_at_its_own_time() -> None:
    """Of changes without an answer each ends when its own time is over, also one that comes when others have ended."""
    changes, began = group(Path()), now()
    ended: list[float] = []
    calls: list[asyncio.Future[Room | None]] = []
    for name, seconds in (("first", 1), ("second", 3), ("third", 3)):
        calls += await begun(changes, name)
        calls[-1].add_done_callback(lambda _: ended.append(now() - began))
        await pass_time(seconds)
    assert await outcomes(*calls) == ["OutcomeUnknownError('A')", *["StoreTimeoutError('A')"] * 2]
    assert ended == pytest.approx([2, 3, 6], abs=0.05)


async def test_a_change_gives_up_when_others_are_always_faster() -> None:
    """Where each attempt finds another room, a change gives up in time: a ConflictError says how often it tried."""
    path, end = Path(lambda: VersionMismatch(STORED), takes=0.1), now() + SECONDS
    with pytest.raises(ConflictError) as caught:
        await group(path).submit("A", joins("slow"))
    assert end - 0.2 < now() <= end
    assert caught.value.room_id == "A"
    assert caught.value.attempts == len(path.committed)


async def test_a_change_gives_up_when_one_more_attempt_would_take_too_long() -> None:
    """After four attempts of 0.45 s, a change with 0.2 s left gives up, and one with 0.5 s does not."""
    answers: list[VersionMismatch[bytes] | None] = [*[VersionMismatch(STORED)] * 4, None]
    path = Path(lambda: answers.pop(0), takes=0.45)
    changes = group(path)
    (brief,) = await begun(changes, "brief")
    await pass_time(0.3)
    (patient,) = await begun(changes, "patient")
    with pytest.raises(ConflictError, match=r"'A'.* each of 4 attempts"):
        await brief
    assert await patient == path.committed[-1]
    assert path.names == ["brief", *["patient"] * 4]


async def test_a_change_that_found_no_room_is_not_under_way() -> None:
    """While a room is looked for that a commit did not find, time may run out for its change: it did not happen."""
    path = Path(lambda: VersionMismatch(None))
    calls = await begun(group(path), "first", "second")
    assert await outcomes(*calls) == ["StoreTimeoutError('A')"] * 2
    assert len(path.loaded) == 1


async def test_who_came_during_a_commit_is_not_refused_by_what_that_found() -> None:
    """A change that began after others were sent, and changes nothing, goes by a room that was read since."""
    path = Path(lambda: VersionMismatch(CHANGED))
    path.stored = stored(room("A", rev=3))
    changes = group(path)
    first = asyncio.ensure_future(changes.submit("A", lambda one: joins("first")(one) if one is STORED.room else one))
    await idle()
    second = asyncio.ensure_future(changes.submit("A", lambda one: one))
    latest = now() + SECONDS
    assert await second is path.stored.room
    assert await first is path.stored.room
    assert path.loaded == [latest]


async def test_what_a_conflict_found_is_not_read_again() -> None:
    """A change that changes nothing in the room that its commit found goes by that room."""
    path = Path(lambda: VersionMismatch(CHANGED))
    after = await group(path).submit("A", lambda one: joins("first")(one) if one is STORED.room else one)
    assert after is CHANGED.room
    assert path.loaded == []


async def test_changes_of_one_tick_are_one_commit() -> None:
    """Changes that begin in one tick are applied in their order and committed once."""
    path = Path(lambda: None)
    changes = group(path)
    calls = [changes.submit("A", lambda one, name=f"u{n}": _with(one, name)) for n in range(1000)]
    joined = await asyncio.gather(*calls)
    assert [len(one.users) for one in joined if one is not None] == list(range(2, 1002))
    assert path.committed == joined[-1:]


def _with(before: Room, name: str) -> Room:
    return before.model_copy(update={"users": (*before.users, user(name))})


async def test_changes_that_come_during_a_commit_are_the_next_one() -> None:
    """What comes while a commit is under way is committed together, right after it."""
    path = Path(lambda: None)
    changes = group(path)
    await asyncio.gather(*await begun(changes, "first", *"abcdefgh"))
    assert path.names == ["first", "h"]


async def test_several_processes_need_few_commits() -> None:
    """250 joins through each of four processes at once are kept, by four commits and the attempts that these undo."""
    kept = [STORED]
    attempts = 0

    class SharedPath(Path):
        """A path that compares with what others have stored, and stores."""

        async def finish_commit(self, commit: PendingCommit) -> VersionMismatch[bytes] | None:
            """See `RoomStorage.finish_commit`."""
            nonlocal attempts
            await asyncio.sleep(0.001)
            attempts += 1
            assert commit.after is not None
            if commit.arguments != [kept[0].version]:
                return VersionMismatch(kept[0])
            kept[0] = commit.after
            return None

    await asyncio.gather(
        *(
            changes.submit("A", lambda one, name=f"{process}-{guest}": _with(one, name))
            for process, changes in enumerate([group(SharedPath()) for _ in range(4)])
            for guest in range(250)
        )
    )
    assert len(kept[0].room.users) == 1001
    assert attempts == 4 + 3 + 2 + 1


async def test_changes_that_take_long_are_committed_in_parts() -> None:
    """When changes of a room have had their time, the others wait for the next commit, also after a conflict."""
    answers: list[VersionMismatch[bytes] | None] = [None, VersionMismatch(STORED), None, None]
    path = Path(lambda: answers.pop(0))
    changes = on_slow_machine(path)
    await asyncio.gather(*(changes.submit("A", joins(str(number))) for number in range(3)))
    assert path.names == ["0", "1", "1", "2"]


async def test_each_caller_of_a_failed_commit_has_an_own_error() -> None:
    """Callers whose changes were committed together, and failed, get an error each, with the cause that it had."""
    cause = OSError("no route")

    def fail() -> None:
        raise StoreUnavailableError("not now") from cause

    changes = group(Path(fail))
    results = await asyncio.gather(*(changes.submit("A", joins(name)) for name in "ab"), return_exceptions=True)
    assert [str(one) for one in results] == ["not now", "not now"]
    assert results[0] is not results[1]
    assert [one.__cause__ for one in results if isinstance(one, BaseException)] == [cause, cause]


async def test_a_room_that_is_not_there_has_no_changes() -> None:
    """Where a commit finds no room, and a read neither, a change makes nothing and returns None."""

    class EmptyPath(Path):
        """A path to a room that has gone."""

        async def get(self, _room_id: str, deadline: float) -> None:
            """See `RoomStorage.get`."""
            self.loaded.append(deadline)

    path = EmptyPath(lambda: VersionMismatch(None))
    assert await group(path).submit("A", joins("late")) is None
    assert path.names == ["late"]


async def test_changes_of_a_room_that_may_have_ended_without_them_are_unknown() -> None:
    """Where the room may have ended otherwise than by this commit, it is unknown whether a change before was made."""

    class EndedPath(Path):
        """A path whose commits find, when they are repeated, that the room has gone."""

        async def finish_commit(self, commit: PendingCommit) -> None:
            """See `RoomStorage.finish_commit`."""
            commit.deletion_ambiguous = True

        def outcome_unknown_error(self, room_id: str) -> StoreError:
            """See `RoomStorage.outcome_unknown_error`."""
            return OutcomeUnknownError(room_id)

    changes = group(EndedPath())
    first, last = await asyncio.gather(
        changes.submit("A", joins("first")), changes.submit("A", lambda _: None), return_exceptions=True
    )
    assert (repr(first), last) == ("OutcomeUnknownError('A')", None)


async def test_a_change_without_a_next_one_harms_no_neighbour() -> None:
    """A change that raises StopIteration or CancelledError is its caller's RuntimeError; its neighbours are served."""
    gone: asyncio.Future[Room] = asyncio.get_running_loop().create_future()
    gone.cancel()
    path = Path(lambda: None)
    changes = group(path)
    rules: list[Callable[[Room], Room]] = [
        joins("first"),
        lambda _: next(iter(())),
        lambda _: gone.result(),
        joins("last"),
    ]
    first, failed, cancelled, last = await asyncio.gather(
        *(changes.submit("A", rule) for rule in rules), return_exceptions=True
    )
    assert [one.host_name for one in (first, last) if isinstance(one, Room)] == ["first", "last"]
    assert path.names == ["last"]
    for error, kind in ((failed, StopIteration), (cancelled, asyncio.CancelledError)):
        assert isinstance(error, RuntimeError)
        assert (str(error), type(error.__cause__)) == (f"the change raised {kind.__name__}", kind)


@pytest.mark.parametrize(("room_id", "seconds"), [("A", 0), ("B", 0), ("B", 0.05)], ids=["known", "unknown", "read"])
async def test_callers_who_are_gone_before_the_commit_take_their_changes_away(room_id: str, seconds: float) -> None:
    """A change whose caller is gone before it was sent is not made; those beside it, and after it, are."""
    path = Path(lambda: None, takes=0.1)
    path.stored = STORED
    changes = group(path)
    for others in ([], ["u0", "u2"]):
        gone = asyncio.ensure_future(changes.submit(room_id, joins("gone")))
        calls = [asyncio.ensure_future(changes.submit(room_id, joins(name))) for name in others]
        await asyncio.sleep(seconds)
        gone.cancel()
        await asyncio.gather(*calls)
        await pass_time(1)
        assert gone.cancelled()
    assert path.names == ["u2"]


async def test_callers_who_are_gone_hold_up_nobody() -> None:
    """Where all who were to be committed first are gone by then, those who wait behind them are committed."""
    path = Path(lambda: None)
    changes = on_slow_machine(path)
    gone, behind = (asyncio.ensure_future(changes.submit("A", joins(name))) for name in ("gone", "behind"))
    asyncio.get_running_loop().call_soon(gone.cancel)
    assert await behind is path.committed[0]
    assert gone.cancelled()


class SentPath(Path):
    """A path whose commits are sent at once, and whose replies the test gives."""

    def __init__(self) -> None:
        super().__init__()
        self.replies: list[asyncio.Future[Any]] = []
        self.settles = False

    def cached(self, room_id: str) -> VersionedRoom[bytes] | None:
        """See `RoomStorage.cached`: each room was."""
        return stored(room(room_id))

    def start_commit(
        self, before: VersionedRoom[bytes], after: Room | None, encoded_events: object, deadline: float
    ) -> PendingCommit:
        """See `RoomStorage.start_commit`."""
        commit = super().start_commit(before, after, encoded_events, deadline)
        self.replies.append(asyncio.get_running_loop().create_future())
        commit.sent = InFlightScript(COMMIT, [], (), deadline, self.replies[-1])
        return commit

    def try_complete(self, commit: PendingCommit) -> bool:
        """See `RoomStorage.try_complete`."""
        assert commit.sent is not None
        return commit.sent.reply.result() == 1

    async def finish_commit(self, commit: PendingCommit) -> VersionMismatch[bytes] | None:
        """See `RoomStorage.finish_commit`."""
        self.settles = True
        return await super().finish_commit(commit)


async def is_committed(path: SentPath, *calls: asyncio.Future[Room | None]) -> bool:
    """Give all replies that are waited for, and tell whether the last of some changes are made."""
    while not all(call.done() for call in calls):
        for reply in path.replies:
            if not reply.done():
                reply.set_result(1)
        await idle()
    return [call.result() for call in calls] == path.committed[-len(calls) :]


async def test_a_room_that_is_known_is_committed_without_a_task() -> None:
    """A reply that says "committed" is enough: nothing is settled, no task is begun, and who waited is sent next."""
    path = SentPath()
    calls = await begun(group(path), "first", "second")
    tasks = asyncio.all_tasks()
    assert await is_committed(path, *calls)
    assert not path.settles
    assert asyncio.all_tasks() <= tasks


@pytest.mark.parametrize("is_settled", [False, True])
async def test_callers_end_with_the_event_loop(*, is_settled: bool) -> None:
    """Where the loop ends and cancels what goes on, nobody waits any more: who was sent, and who waited behind."""
    path = SentPath()
    changes = group(path)
    callers = await begun(changes, "sent", "waiting")
    others = asyncio.all_tasks()
    if is_settled:
        path.replies[0].set_result([0, None])  # which is for a task to find out about
        await idle()
        assert path.settles
        for task in asyncio.all_tasks() - others:
            task.cancel()
    else:
        path.replies[0].cancel()
    ended = await asyncio.gather(*callers, return_exceptions=True)
    assert [type(one) for one in ended] == [asyncio.CancelledError] * 2
    assert await is_committed(path, *await begun(changes, "again"))


def test_what_ends_a_program_leaves_no_room_behind() -> None:
    """Where a change raises what ends a program, its callers end, and that room and the others of the tick go on."""

    def end(_: Room) -> Room:
        raise KeyboardInterrupt

    path = SentPath()
    changes = group(path)

    async def begin() -> Sequence[asyncio.Future[Room | None]]:
        calls = [("A", end), ("B", joins("other"))]
        return [asyncio.ensure_future(changes.submit(room_id, rule)) for room_id, rule in calls]

    async def go_on() -> None:
        with pytest.raises(asyncio.CancelledError):
            await ended
        assert await is_committed(path, other)
        assert await is_committed(path, *await begun(changes, "again"))

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        ended, other = runner.run(begin())
        with pytest.raises(KeyboardInterrupt):
            runner.run(idle())
        runner.run(go_on())


class FailingPath(SentPath):
    """A path that can't begin its first commit."""

    def start_commit(
        self, before: VersionedRoom[bytes], after: Room | None, encoded_events: object, deadline: float
    ) -> PendingCommit:
        """See `RoomStorage.start_commit`."""
        if not self.committed:
            self.committed.append(None)
            message = "this can't be sent"
            raise StoreUnavailableError(message)
        return super().start_commit(before, after, encoded_events, deadline)


async def test_a_commit_that_can_not_begin_fails_alone() -> None:
    """Who was to be committed gets the error; those who wait behind are committed."""
    path = FailingPath()
    changes = on_slow_machine(path)
    failed, behind = (asyncio.ensure_future(changes.submit("A", joins(name))) for name in ("failed", "behind"))
    with pytest.raises(StoreUnavailableError, match="this can't be sent"):
        await failed
    assert await is_committed(path, behind)
