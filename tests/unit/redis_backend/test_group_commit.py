"""Group commit by itself: which changes go together, when their time is over, and whom a loop that ends leaves."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, cast

import pytest

from wnc_store import (
    Conflict,
    ConflictError,
    OutcomeUnknownError,
    OwnChanges,
    Room,
    StoredRoom,
    StoreError,
    StoreSettings,
    StoreTimeoutError,
    StoreUnavailableError,
    to_wire,
)
from wnc_store_contract.samples import room
from wnc_store_redis._commands import Sent
from wnc_store_redis._commit_path import Commit, CommitPath
from wnc_store_redis._group_commit import GroupCommit, _Change, _Group
from wnc_store_redis._scripts import COMMIT

STORED = StoredRoom(room("A"), to_wire(room("A")))
CHANGED = room("A", "host", "guest", rev=2)


class Path:
    """A way to commits that is told what to answer.

    Args:
        answer: of each commit; by default there is none, ever.
    """

    def __init__(self, answer: Callable[[], Conflict[bytes] | None] | None = None) -> None:
        self._answer = answer
        self.committed: list[Room | None] = []
        self.began = asyncio.Event()
        self.looked = asyncio.Event()
        self.stored: StoredRoom[bytes] | None = None
        self.loaded: list[float] = []

    def check_loop(self) -> None:
        """See `CommitPath.check_loop`."""

    def deadline(self) -> float:
        """See `CommitPath.deadline`: a change has two seconds."""
        return asyncio.get_running_loop().time() + 2

    def seen(self, room_id: str) -> StoredRoom[bytes] | None:
        """See `CommitPath.seen`."""
        return STORED if room_id == "A" else None

    async def load(self, _room_id: str, deadline: float) -> StoredRoom[bytes] | None:
        """See `CommitPath.load`; without a room to load it takes for ever."""
        self.loaded.append(deadline)
        self.looked.set()
        if self.stored is None:
            await asyncio.Event().wait()
        return self.stored

    def begin(self, _before: object, after: Room | None, _tellings: object, deadline: float) -> Commit:
        """See `CommitPath.begin`: nothing is sent."""
        self.committed.append(after)
        return Commit("A", None, (), deadline)

    async def settle(self, _commit: Commit) -> Conflict[bytes] | None:
        """See `CommitPath.settle`."""
        self.began.set()
        if self._answer is None:
            await asyncio.Event().wait()
            raise AssertionError
        await asyncio.sleep(0.001)
        return self._answer()

    def late(self, room_id: str, *, unanswered: bool) -> StoreError:
        """See `CommitPath.late`."""
        return OutcomeUnknownError(room_id) if unanswered else StoreTimeoutError(room_id)


def group(path: Path) -> GroupCommit:
    """Return a group commit on a path, which tells nobody."""
    return GroupCommit(cast("CommitPath", path), OwnChanges(StoreSettings()))


def joins(name: str) -> Callable[[Room], Room]:
    """Return a rule that changes a room."""
    return lambda before: before.model_copy(update={"host_name": name})


@pytest.fixture
def pass_time(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Moves the event loop's clock."""

    def move(seconds: float) -> None:
        loop = asyncio.get_running_loop()
        before = loop.time
        monkeypatch.setattr(loop, "time", lambda: before() + seconds)

    return move


async def test_a_change_that_waits_ends_at_its_own_time(pass_time: Callable[[float], None]) -> None:
    """Behind a commit without answer, a change that was not sent times out; what became of the other is unknown."""
    path = Path()
    changes = group(path)
    sent = asyncio.ensure_future(changes.change("A", joins("sent")))
    await path.began.wait()
    waiting = asyncio.ensure_future(changes.change("A", joins("waiting")))
    await asyncio.sleep(0)
    pass_time(3)
    results = await asyncio.gather(sent, waiting, return_exceptions=True)
    assert [repr(one) for one in results] == ["OutcomeUnknownError('A')", "StoreTimeoutError('A')"]
    assert [one and one.host_name for one in path.committed] == ["sent"]
    for task in changes._tasks:
        task.cancel()


async def test_one_timer_ends_each_change_at_its_own_time(pass_time: Callable[[float], None]) -> None:
    """Of changes without an answer each ends when its own time is over, also one that comes when others have ended."""
    changes = group(Path())
    first = asyncio.ensure_future(changes.change("A", joins("first")))
    await asyncio.sleep(0)
    pass_time(1)
    second = asyncio.ensure_future(changes.change("A", joins("second")))
    await asyncio.sleep(0)
    pass_time(1.5)
    with pytest.raises(OutcomeUnknownError):
        await first
    assert not second.done()
    pass_time(1)
    with pytest.raises(StoreTimeoutError):
        await second
    third = asyncio.ensure_future(changes.change("A", joins("third")))
    await asyncio.sleep(0)
    pass_time(3)
    with pytest.raises(StoreTimeoutError):
        await third
    for task in changes._tasks:
        task.cancel()


async def test_a_change_gives_up_when_others_are_always_faster(pass_time: Callable[[float], None]) -> None:
    """Where each attempt finds another room, a change gives up in time: a ConflictError says how often it tried."""

    def find_another() -> Conflict[bytes]:
        pass_time(0.1)
        return Conflict(STORED)

    path = Path(find_another)
    with pytest.raises(ConflictError) as caught:
        await group(path).change("A", joins("slow"))
    assert caught.value.room_id == "A"
    assert caught.value.attempts == len(path.committed)


async def test_a_change_gives_up_when_one_more_attempt_would_take_too_long() -> None:
    """After four attempts in a second, a change with 0.2 s left gives up, and one with 0.4 s does not."""
    loop = asyncio.get_running_loop()
    brief, patient = (_Change("A", joins("x"), loop.create_future(), loop.time() + left) for left in (0.2, 0.4))
    together = _Group("A")
    together.changes, together.start = [brief, patient], loop.time() - 1
    group(Path())._give_up(together, 4)
    with pytest.raises(ConflictError, match=r"'A'.* each of 4 attempts"):
        brief.future.result()
    assert not patient.future.done()


async def test_a_change_that_found_no_room_is_not_under_way(pass_time: Callable[[float], None]) -> None:
    """While a room is looked for that a commit did not find, time may run out for its change: it did not happen."""
    path = Path(lambda: Conflict(None))
    changes = group(path)
    first = asyncio.ensure_future(changes.change("A", joins("first")))
    await path.began.wait()
    second = asyncio.ensure_future(changes.change("A", joins("second")))
    await path.looked.wait()
    pass_time(3)
    results = await asyncio.gather(first, second, return_exceptions=True)
    assert [repr(one) for one in results] == ["StoreTimeoutError('A')", "StoreTimeoutError('A')"]
    for task in changes._tasks:
        task.cancel()


async def test_who_came_during_a_commit_is_not_refused_by_what_that_found() -> None:
    """A change that began after others were sent, and changes nothing, goes by a room that was read since."""
    newest = room("A", rev=3)
    path = Path(lambda: Conflict(StoredRoom(CHANGED, to_wire(CHANGED))))
    path.stored = StoredRoom(newest, to_wire(newest))
    changes = group(path)
    first = asyncio.ensure_future(changes.change("A", lambda one: joins("first")(one) if one is STORED.room else one))
    await path.began.wait()
    second = asyncio.ensure_future(changes.change("A", lambda one: one))
    await asyncio.sleep(0)
    latest = max(change.deadline for change in changes._waiting["A"])
    assert await second is newest
    assert await first is newest
    assert path.loaded == [latest]


async def test_what_a_conflict_found_is_not_read_again() -> None:
    """A change that changes nothing in the room that its commit found goes by that room."""
    path = Path(lambda: Conflict(StoredRoom(CHANGED, to_wire(CHANGED))))
    after = await group(path).change("A", lambda one: joins("first")(one) if one is STORED.room else one)
    assert after is CHANGED
    assert path.loaded == []


async def test_a_conflict_with_time_left_is_tried_again() -> None:
    """As long as there is time, a change is applied to what was found instead."""
    answers: list[Conflict[bytes] | None] = [Conflict(STORED)] * 3 + [None]
    path = Path(lambda: answers.pop(0))
    after = await group(path).change("A", joins("patient"))
    assert after is not None
    assert after.host_name == "patient"
    assert len(path.committed) == 4


async def test_changes_that_take_long_are_committed_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """When changes of a room have had their time, the others wait for the next commit, also after a conflict."""
    monkeypatch.setattr("wnc_store_redis._group_commit._MOST_SECONDS", -1)
    answers: list[Conflict[bytes] | None] = [None, Conflict(STORED), None, None]
    path = Path(lambda: answers.pop(0))
    changes = group(path)
    await asyncio.gather(*(changes.change("A", joins(str(number))) for number in range(3)))
    assert [one and one.host_name for one in path.committed] == ["0", "1", "1", "2"]
    assert changes._waiting == {}


async def test_each_caller_of_a_failed_commit_has_an_own_error() -> None:
    """Callers whose changes were committed together, and failed, get an error each, with the cause that it had."""
    cause = OSError("no route")

    def fail() -> None:
        raise StoreUnavailableError("not now") from cause

    changes = group(Path(fail))
    results = await asyncio.gather(*(changes.change("A", joins(name)) for name in "ab"), return_exceptions=True)
    assert [str(one) for one in results] == ["not now", "not now"]
    assert results[0] is not results[1]
    assert [one.__cause__ for one in results if isinstance(one, BaseException)] == [cause, cause]


class SentPath(Path):
    """A path whose commits are sent at once, and whose replies the test gives.

    Args:
        knows_all: whether each room was seen.
    """

    def __init__(self, *, knows_all: bool = False) -> None:
        super().__init__()
        self._knows_all = knows_all
        self.replies: list[asyncio.Future[Any]] = []

    def seen(self, room_id: str) -> StoredRoom[bytes] | None:
        """See `CommitPath.seen`."""
        return STORED if self._knows_all else super().seen(room_id)

    def begin(self, _before: object, after: Room | None, _tellings: object, deadline: float) -> Commit:
        """See `CommitPath.begin`."""
        self.committed.append(after)
        self.replies.append(asyncio.get_running_loop().create_future())
        return Commit("A", None, (), deadline, Sent(COMMIT, [], (), deadline, self.replies[-1]))

    def is_done(self, commit: Commit) -> bool:
        """See `CommitPath.is_done`."""
        assert commit.sent is not None
        return commit.sent.reply.result() == 1


async def begun(changes: GroupCommit, *names: str) -> list[asyncio.Future[Room | None]]:
    """Begin changes, the first of which is sent when this returns, and the others wait."""
    begun: list[asyncio.Future[Room | None]] = []
    for name in names:
        begun.append(asyncio.ensure_future(changes.change("A", joins(name))))
        for _ in range(3):
            await asyncio.sleep(0)
    return begun


async def test_a_room_that_is_known_is_committed_without_a_task() -> None:
    """A reply that says "committed" is enough: nothing is settled, no task is begun, and who waited is sent next."""
    path = SentPath()
    changes = group(path)
    first, second = await begun(changes, "first", "second")
    path.replies[0].set_result(1)
    assert await first is path.committed[0]
    path.replies[1].set_result(1)
    assert await second is path.committed[1]
    assert not path.began.is_set()
    assert (changes._tasks, changes._waiting) == (set(), {})


async def test_another_reply_is_settled_by_a_task() -> None:
    """A reply that says anything else is for a task to find out about."""
    path = SentPath()
    changes = group(path)
    (first,) = await begun(changes, "first")
    path.replies[0].set_result([0, None])
    await path.began.wait()
    next(iter(changes._tasks)).cancel()
    with pytest.raises(asyncio.CancelledError):
        await first


@pytest.mark.parametrize("is_settled", [False, True])
async def test_callers_end_with_the_event_loop(*, is_settled: bool) -> None:
    """Where the loop ends and cancels what goes on, nobody waits any more: who was sent, and who waited behind."""
    path = SentPath()
    changes = group(path)
    callers = await begun(changes, "sent", "waiting")
    if is_settled:
        path.replies[0].set_result([0, None])
        await path.began.wait()
        next(iter(changes._tasks)).cancel()
    else:
        path.replies[0].cancel()
    ended = await asyncio.gather(*callers, return_exceptions=True)
    assert [type(one) for one in ended] == [asyncio.CancelledError] * 2
    assert changes._waiting == {}


async def test_what_ends_a_program_leaves_no_room_behind() -> None:
    """Where a change raises what ends a program, its callers end, and that room and the others of the tick go on."""
    path = SentPath(knows_all=True)
    changes = group(path)

    def end(_: Room) -> Room:
        raise KeyboardInterrupt

    ended = asyncio.ensure_future(changes.change("A", end))
    other = asyncio.ensure_future(changes.change("B", joins("other")))
    await asyncio.sleep(0)
    with pytest.raises(KeyboardInterrupt):
        changes._begin_all()
    with pytest.raises(asyncio.CancelledError):
        await ended
    (again,) = await begun(changes, "again")
    for reply in path.replies:
        reply.set_result(1)
    assert [await other, await again] == path.committed


class FailingPath(SentPath):
    """A path that can't begin its first commit."""

    def begin(self, before: object, after: Room | None, tellings: object, deadline: float) -> Commit:
        """See `CommitPath.begin`."""
        if not self.committed:
            self.committed.append(None)
            message = "this can't be sent"
            raise StoreUnavailableError(message)
        return super().begin(before, after, tellings, deadline)


async def test_a_commit_that_can_not_begin_fails_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who was to be committed gets the error; those who wait behind are committed."""
    monkeypatch.setattr("wnc_store_redis._group_commit._MOST_SECONDS", -1)
    path = FailingPath(knows_all=True)
    changes = group(path)
    callers = [asyncio.ensure_future(changes.change("A", joins(name))) for name in ("first", "behind")]
    with pytest.raises(StoreUnavailableError, match="this can't be sent"):
        await callers[0]
    path.replies[0].set_result(1)
    assert await callers[1] is path.committed[1]
    assert changes._waiting == {}


async def test_callers_who_are_gone_hold_up_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where all who were to be committed first are gone by then, those who wait behind them are committed."""
    monkeypatch.setattr("wnc_store_redis._group_commit._MOST_SECONDS", -1)
    path = SentPath()
    changes = group(path)
    gone, behind = (asyncio.ensure_future(changes.change("A", joins(name))) for name in ("gone", "behind"))
    asyncio.get_running_loop().call_soon(gone.cancel)
    for _ in range(5):
        await asyncio.sleep(0)
    path.replies[0].set_result(1)
    assert await behind is path.committed[0]
    assert gone.cancelled()
