"""A fake of the storage of rooms, whose test decides when and how each commit ends."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from itertools import count
from typing import Any, cast

from virtual_time import idle, pass_time
from wnc_store import OutcomeUnknownError, Room, StoreError, StoreSettings, StoreTimeoutError, to_wire
from wnc_store.base import ChangeEvents, Committed, VersionedRoom, VersionMismatch
from wnc_store_contract.factories import room
from wnc_store_redis.group_commit import GroupCommit
from wnc_store_redis.room_storage import Commit, FoundDeleted, RoomStorage
from wnc_store_redis.script_results import COMMITTED
from wnc_store_redis.scripts import COMMIT
from wnc_store_redis.transport.executor import CommandExecutor
from wnc_store_redis.transport.receiver import Receiver


def stored(value: Room) -> VersionedRoom[bytes]:
    """Return a room with its stored bytes."""
    return VersionedRoom(value, to_wire(value))


STORED = stored(room("A"))
CHANGED = stored(room("A", "host", "guest", rev=2))
Outcome = Committed | FoundDeleted | VersionMismatch[bytes]
SECONDS = 2
"""The time-out of an update."""


class FakeCache(dict[str, VersionedRoom[bytes] | None]):
    """Cached rooms by id. A function returns those that were not added."""

    def __init__(self, find: Callable[[str], VersionedRoom[bytes] | None]) -> None:
        super().__init__()
        self._find = find

    def __missing__(self, room_id: str) -> VersionedRoom[bytes] | None:
        """Return the room that the function finds."""
        return self._find(room_id)


class FakeStorage:
    """A room storage and its executor, whose test decides the outcome of each commit.

    Args:
        outcome: returns the outcome of a commit; by default no reply arrives.
        seconds: how long each commit takes.

    Attributes:
        timeout: see `CommandExecutor.timeout`.
        cache: the cached rooms.
        commits: the commits that were sent.
        receivers: the receiver of the reply to each of them.
        recorded: the commits that were recorded as successful without `run_commit`.
        stored: the room that a read returns.
        reads: the deadline of each read.
    """

    timeout = SECONDS

    def __init__(self, outcome: Callable[[Commit], Outcome] | None = None, seconds: float = 0.001) -> None:
        self._outcome = outcome
        self._seconds = seconds
        self.cache = FakeCache({"A": STORED}.get)
        self.commits: list[Commit] = []
        self.receivers: list[Receiver] = []
        self.recorded: list[Commit] = []
        self.stored: VersionedRoom[bytes] | None = None
        self.reads: list[float] = []

    @property
    def committed(self) -> list[Room | None]:
        """The room of each commit."""
        return [commit.after and commit.after.room for commit in self.commits]

    @property
    def names(self) -> list[str | None]:
        """The host name of the room of each commit."""
        return [committed and committed.host_name for committed in self.committed]

    def running_loop(self) -> asyncio.AbstractEventLoop:
        """See `CommandExecutor.running_loop`."""
        return asyncio.get_running_loop()

    async def get(self, _room_id: str, deadline: float) -> VersionedRoom[bytes] | None:
        """See `RoomStorage.get`. Without a stored room the read never ends."""
        self.reads.append(deadline)
        if self.stored is None:
            await asyncio.Event().wait()
        await asyncio.sleep(self._seconds)
        return self.stored

    def prepare_commit(
        self, before: VersionedRoom[bytes], after: Room | None, _encoded_events: object, deadline: float
    ) -> Commit:
        """See `RoomStorage.prepare_commit`."""
        commit = Commit(COMMIT, [b"room:A"], [before.version], None, deadline)
        commit.room_id, commit.after = before.room.id, after and stored(after)
        return commit

    def send_script(self, commit: Commit, receiver: Receiver) -> None:
        """See `CommandExecutor.send_script`."""
        self.commits.append(commit)
        self.receivers.append(receiver)
        if self._outcome is not None:
            asyncio.get_running_loop().call_later(self._seconds, self._reply, commit, receiver, self._outcome)

    def _reply(self, commit: Commit, receiver: Receiver, decide: Callable[[Commit], Any]) -> None:
        if receiver.done():
            return
        try:
            outcome = decide(commit)
        except StoreError as error:
            receiver.set_exception(error)
        else:
            receiver.set_result(1 if outcome == COMMITTED else outcome)

    async def run_commit(self, commit: Commit, first: asyncio.Future[Any] | None) -> Outcome:
        """See `RoomStorage.run_commit`."""
        if first is None:
            first = asyncio.get_running_loop().create_future()
            self.send_script(commit, first)
        result = await first
        return COMMITTED if result == 1 else result

    def record_commit(self, commit: Commit) -> None:
        """See `RoomStorage.record_commit`."""
        self.recorded.append(commit)

    def timeout_error(self, room_id: str, *, unanswered: bool) -> StoreError:
        """See `RoomStorage.timeout_error`."""
        return OutcomeUnknownError(room_id) if unanswered else StoreTimeoutError(room_id)

    def outcome_unknown_error(self, room_id: str) -> StoreError:
        """See `RoomStorage.outcome_unknown_error`."""
        return OutcomeUnknownError(room_id)


class SentFakeStorage(FakeStorage):
    """A storage of many cached rooms. The test sends the replies."""

    def __init__(self) -> None:
        super().__init__()
        self.cache = FakeCache(lambda room_id: stored(room(room_id)))


def commit_all(_: Commit) -> Outcome:
    """Return that a commit succeeded."""
    return COMMITTED


def group(storage: FakeStorage, clock: Callable[[], float] = lambda: 0.0) -> GroupCommit:
    """Return a group commit without events, whose clock by default shows that transitions take no time."""
    commands = cast("CommandExecutor", storage)
    return GroupCommit(commands, cast("RoomStorage", storage), ChangeEvents(StoreSettings()), clock)


def slow_group(storage: FakeStorage) -> GroupCommit:
    """Return a group commit whose clock allows one transition for each batch."""
    return group(storage, cast("Callable[[], float]", count().__next__))


def set_host_name(name: str) -> Callable[[Room], Room]:
    """Return a transition that changes a room."""
    return lambda before: before.replace(host_name=name)


async def submit(commits: GroupCommit, *names: str) -> list[asyncio.Future[Room | None]]:
    """Submit updates. When this returns, the first one is sent, and the others wait."""
    calls: list[asyncio.Future[Room | None]] = []
    for name in names:
        calls.append(asyncio.ensure_future(commits.submit("A", set_host_name(name))))
        await idle()
    return calls


async def outcomes(*calls: asyncio.Future[Room | None]) -> list[str]:
    """Return the results and errors of updates."""
    return [repr(outcome) for outcome in await asyncio.gather(*calls, return_exceptions=True)]


async def is_committed(storage: FakeStorage, *calls: asyncio.Future[Room | None]) -> bool:
    """Send all pending replies. Return whether the given updates are the last that were committed."""
    while not all(call.done() for call in calls):
        for receiver in storage.receivers:
            if not receiver.done():
                receiver.set_result(1)
        await pass_time(0.01)
    return [call.result() for call in calls] == storage.committed[-len(calls) :]


async def cancel_tasks(others: set[asyncio.Future[Any]]) -> None:
    """Cancel all tasks except `others`."""
    for task in asyncio.all_tasks() - others:
        task.cancel()
    await idle()
