"""A fake of the storage of rooms, whose test decides when and how each commit ends."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from itertools import count
from typing import Any, cast

from virtual_time import idle, now
from wnc_store import OutcomeUnknownError, Room, StoreError, StoreSettings, StoreTimeoutError, to_wire
from wnc_store.base import ChangeEvents, Committed, VersionedRoom, VersionMismatch
from wnc_store_contract.factories import room
from wnc_store_redis.group_commit import GroupCommit
from wnc_store_redis.room_storage import FoundDeleted, PendingCommit, RoomStorage
from wnc_store_redis.scripts import COMMIT
from wnc_store_redis.transport.executor import CommandExecutor, InFlightScript


def stored(value: Room) -> VersionedRoom[bytes]:
    """Return a room with its stored bytes."""
    return VersionedRoom(value, to_wire(value))


STORED = stored(room("A"))
CHANGED = stored(room("A", "host", "guest", rev=2))
Outcome = Committed | FoundDeleted | VersionMismatch[bytes]
SECONDS = 2
"""The time-out of an update."""


class FakeStorage:
    """A room storage and its executor, whose test decides the outcome of each commit.

    Args:
        outcome: returns the outcome of each commit; by default a commit never ends.
        seconds: how long each commit takes.

    Attributes:
        committed: the room of each commit.
        stored: the room that a read returns.
        reads: the deadline of each read.
    """

    def __init__(self, outcome: Callable[[], Outcome] | None = None, seconds: float = 0.001) -> None:
        self._outcome = outcome
        self._seconds = seconds
        self.committed: list[Room | None] = []
        self.stored: VersionedRoom[bytes] | None = None
        self.reads: list[float] = []

    @property
    def names(self) -> list[str | None]:
        """The host name of the room of each commit."""
        return [committed and committed.host_name for committed in self.committed]

    def check_loop(self) -> None:
        """See `CommandExecutor.check_loop`."""

    def deadline(self) -> float:
        """See `CommandExecutor.deadline`."""
        return now() + SECONDS

    def cached(self, room_id: str) -> VersionedRoom[bytes] | None:
        """See `RoomStorage.cached`."""
        return STORED if room_id == "A" else None

    async def get(self, _room_id: str, deadline: float) -> VersionedRoom[bytes] | None:
        """See `RoomStorage.get`. Without a stored room the read never ends."""
        self.reads.append(deadline)
        if self.stored is None:
            await asyncio.Event().wait()
        await asyncio.sleep(self._seconds)
        return self.stored

    def start_commit(
        self, before: VersionedRoom[bytes], after: Room, _encoded_events: object, deadline: float
    ) -> PendingCommit:
        """See `RoomStorage.start_commit`."""
        return self._start(before, after, deadline)

    def start_delete(self, before: VersionedRoom[bytes], _encoded_events: object, deadline: float) -> PendingCommit:
        """See `RoomStorage.start_delete`."""
        return self._start(before, None, deadline)

    def _start(self, before: VersionedRoom[bytes], after: Room | None, deadline: float) -> PendingCommit:
        self.committed.append(after)
        reply: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        script = InFlightScript(COMMIT, [b"room:A"], [before.version], deadline, reply)
        return PendingCommit("A", after and stored(after), script, script.arguments)

    async def finish_commit(self, _commit: PendingCommit) -> Outcome:
        """See `RoomStorage.finish_commit`."""
        if self._outcome is None:
            await asyncio.Event().wait()
            raise AssertionError
        await asyncio.sleep(self._seconds)
        return self._outcome()

    def timeout_error(self, room_id: str, *, unanswered: bool) -> StoreError:
        """See `RoomStorage.timeout_error`."""
        return OutcomeUnknownError(room_id) if unanswered else StoreTimeoutError(room_id)


class SentFakeStorage(FakeStorage):
    """A storage of many cached rooms. The test sets the replies.

    Attributes:
        replies: the future of each reply.
    """

    def __init__(self) -> None:
        super().__init__()
        self.replies: list[asyncio.Future[Any]] = []

    def cached(self, room_id: str) -> VersionedRoom[bytes] | None:
        """See `RoomStorage.cached`. Every room is cached."""
        return stored(room(room_id))

    async def finish_commit(self, commit: PendingCommit) -> Outcome:
        """See `RoomStorage.finish_commit`."""
        self.replies.append(commit.script.reply)
        return await commit.script.reply


def group(storage: FakeStorage, clock: Callable[[], float] = lambda: 0.0) -> GroupCommit:
    """Return a group commit without events, whose clock by default shows that transitions take no time."""
    commands = cast("CommandExecutor", storage)
    return GroupCommit(commands, cast("RoomStorage", storage), ChangeEvents(StoreSettings()), clock)


def slow_group(storage: FakeStorage) -> GroupCommit:
    """Return a group commit whose clock allows one transition for each batch."""
    return group(storage, cast("Callable[[], float]", count().__next__))


def set_host_name(name: str) -> Callable[[Room], Room]:
    """Return a transition that changes a room."""
    return lambda before: before.model_copy(update={"host_name": name})


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
