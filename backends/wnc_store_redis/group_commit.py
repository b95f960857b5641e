"""Group commit: the changes of one room that wait at the same time are applied in order and committed once."""

from __future__ import annotations

import asyncio
import copy
import time
from collections import deque
from collections.abc import Callable
from functools import partial

from wnc_store import ConflictError, OwnChanges, Room, StoredRoom, Telling
from wnc_store_redis.room_storage import Commit, CommitPath
from wnc_store_redis.transport.connection import Reply

Rule = Callable[[Room], Room | None]

_MOST_SECONDS = 0.02
"""How long changes of one room are applied before the event loop has its turn; the others go into the next commit."""

_GRACE = 0.02
"""Seconds after its deadline when a change is ended, if the commit itself has not ended it: it knows better why."""


class _Change:
    """A change that a caller waits for."""

    __slots__ = ("deadline", "future", "is_under_way", "outcome", "room_id", "rule")

    def __init__(self, room_id: str, rule: Rule, future: asyncio.Future[Room | None], deadline: float) -> None:
        self.room_id = room_id
        self.rule = rule
        self.future = future
        self.deadline = deadline
        self.outcome: Room | BaseException | None = None
        self.is_under_way = False

    def apply(self, room: Room | None) -> Room | None:
        """Return the room after this change; an error of the rule is kept for its caller and changes nothing."""
        self.outcome = None
        if room is None:
            return None
        try:
            after = self.outcome = self.rule(room)
        except (StopIteration, asyncio.CancelledError) as error:  # no future takes them as what they are
            self.outcome = RuntimeError(f"the change raised {type(error).__name__}")
            self.outcome.__cause__ = error
            return room
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # noqa: BLE001 - it is the caller's own
            self.outcome = error
            return room
        return after

    def tell(self) -> None:
        """Give the caller what came of the change."""
        if self.future.done():
            return
        if isinstance(self.outcome, BaseException):
            self.future.set_exception(self.outcome)
        else:
            self.future.set_result(self.outcome)

    def fail(self, error: Exception) -> None:
        """Give the caller an error of the own: it will hold the caller's traceback."""
        if not self.future.done():
            own = copy.copy(error)
            own.__cause__ = error.__cause__
            self.future.set_exception(own)


class _Group:
    """Changes that are committed together."""

    __slots__ = ("changes", "commit", "room_id", "start")

    def __init__(self, room_id: str) -> None:
        self.room_id = room_id
        self.changes: list[_Change] = []
        self.commit: Commit | None = None
        self.start = asyncio.get_running_loop().time()


class GroupCommit:
    """Changes of rooms.

    While a commit of a room is under way, further changes of it wait; then they are committed together. A caller who is
    cancelled takes away only the own change, and only if it was not sent yet.

    Changes of a room that was seen before are committed on top of that, without a task: one takes over only where the
    room has to be read, or the reply is anything else than that it was committed.

    Args:
        path: how rooms are read and committed.
        own_changes: says what is told of a change.
        now: a clock, in seconds, by which applying changes is timed.
    """

    def __init__(self, path: CommitPath, own_changes: OwnChanges, now: Callable[[], float] = time.perf_counter) -> None:
        self._path = path
        self._own_changes = own_changes
        self._now = now
        self._waiting: dict[str, list[_Change]] = {}
        """The changes that wait, of each room of which there are any or a commit is under way."""
        self._due: deque[str] = deque()
        self._tasks: set[asyncio.Task[None]] = set()
        self._open: dict[_Change, None] = {}
        """The changes that callers wait for, in the order of their deadlines, because all have the same time."""
        self._alarm: asyncio.TimerHandle | None = None

    async def change(self, room_id: str, rule: Rule) -> Room | None:
        """Apply a rule to a live room; None if there is no room, before or after it."""
        self._path.check_loop()  # before it waits for those of another loop, or of the process before a fork
        loop = asyncio.get_running_loop()
        change = _Change(room_id, rule, loop.create_future(), self._path.deadline())
        waiting = self._waiting.get(room_id)
        if waiting is not None:
            waiting.append(change)
        else:
            self._waiting[room_id] = [change]
            if not self._due:
                loop.call_soon(self._begin_all)
            self._due.append(room_id)
        self._open[change] = None
        if self._alarm is None:  # one for all: a timer of its own would cost each change more than the rest of this
            self._alarm = loop.call_at(change.deadline + _GRACE, self._expire)
        try:
            return await change.future
        finally:
            del self._open[change]

    def _expire(self) -> None:
        """End the changes that are out of time."""
        loop = asyncio.get_running_loop()
        self._alarm, now = None, loop.time()
        for change in self._open:
            if change.deadline + _GRACE > now:
                self._alarm = loop.call_at(change.deadline + _GRACE, self._expire)
                return
            change.fail(self._path.late(change.room_id, unanswered=change.is_under_way))

    def _begin_all(self) -> None:
        """Begin with the rooms of which changes came in this tick."""
        try:
            while self._due:
                self._begin(self._due.popleft())
        finally:
            if self._due:  # a change raised what ends a program; the other rooms go on
                asyncio.get_running_loop().call_soon(self._begin_all)

    def _begin(self, room_id: str) -> None:
        """Commit the changes of a room that wait, as far as it goes without a task."""
        while self._waiting[room_id]:
            group = _Group(room_id)
            if not self._take(group):
                continue
            stored = self._path.seen(room_id)
            try:
                group.commit = None if stored is None else self._attempt(group, stored)
            except Exception as error:  # noqa: BLE001 - each caller has to know
                self._fail(group, error)
                continue
            except BaseException:
                self._abandon(group)
                raise
            if group.commit is not None and group.commit.sent is not None:
                group.commit.sent.reply.add_done_callback(partial(self._answered, group))
            else:
                self._go_on(group)
            return
        del self._waiting[room_id]

    def _answered(self, group: _Group, reply: asyncio.Future[Reply]) -> None:
        if reply.cancelled():  # the event loop ends
            self._abandon(group)
        elif group.commit is not None and self._path.is_done(group.commit):
            self._tell(group)
            self._begin(group.room_id)
        else:
            self._go_on(group)

    def _go_on(self, group: _Group) -> None:
        task = asyncio.get_running_loop().create_task(self._settle(group))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _settle(self, group: _Group) -> None:
        """Commit a group, tell its callers, and go on with the changes that wait by then."""
        try:
            await self._commit(group)
        except Exception as error:  # noqa: BLE001 - each caller has to know
            self._fail(group, error)
        except BaseException:  # the event loop ends
            self._abandon(group)
            raise
        else:
            self._tell(group)
        self._begin(group.room_id)

    def _tell(self, group: _Group) -> None:
        for change in group.changes:
            change.tell()

    def _fail(self, group: _Group, error: Exception) -> None:
        for change in group.changes:
            change.fail(error)

    def _abandon(self, group: _Group) -> None:
        for change in (*group.changes, *self._waiting.pop(group.room_id)):
            change.future.cancel()

    async def _commit(self, group: _Group) -> None:
        """Commit changes to the room as it was seen last; the commit, or else a read, proves that it still is so."""
        room_id, changes = group.room_id, group.changes
        attempts = 0
        stored, is_fresh = None, False
        while True:
            if group.commit is None:
                is_fresh = not self._take(group) and is_fresh
                if not changes:
                    return
                if stored is None and not is_fresh:
                    deadline = max(change.deadline for change in changes)
                    stored, is_fresh = await self._path.load(room_id, deadline), True
                    _drop_abandoned(changes)
                group.commit = self._attempt(group, stored)
            if group.commit is not None:
                conflict = await self._path.settle(group.commit)
                if conflict is None:
                    if group.commit.ended_somehow:
                        self._doubt(group)
                    return
                attempts += 1
                stored, is_fresh, group.commit = conflict.current, True, None
                self._give_up(group, attempts)
            elif is_fresh:
                return
            else:  # who changes nothing, or fails, must do so with the room as it is now
                stored = None

    def _attempt(self, group: _Group, stored: StoredRoom[bytes] | None) -> Commit | None:
        """Apply the changes to a room, and begin to commit what comes of it; None if it stays as it is."""
        before = after = None if stored is None else stored.room
        tellings: list[Telling] = []
        end = self._now() + _MOST_SECONDS
        for number, change in enumerate(group.changes, start=1):
            was, after = after, change.apply(after)
            tellings += self._own_changes.of_room(was, after)
            if self._now() > end:
                self._put_back(group, number)
        if stored is None or after is before:
            return None
        for change in group.changes:
            change.is_under_way = True
        return self._path.begin(stored, after, tellings, max(change.deadline for change in group.changes))

    def _take(self, group: _Group) -> bool:
        """Drop the changes that nobody waits for any more, and add those that wait by now; tell whether there were."""
        waiting, changes = self._waiting[group.room_id], group.changes
        _drop_abandoned(changes)
        added = [change for change in waiting if not change.future.done()]
        changes += added
        waiting.clear()
        return bool(added)

    def _doubt(self, group: _Group) -> None:
        """Fail the changes that were to be in the room before the last user left: it may have ended without them."""
        for change in group.changes:
            if isinstance(change.outcome, Room):
                change.fail(self._path.unknown(group.room_id))

    def _put_back(self, group: _Group, applied: int) -> None:
        """Let all but the first changes wait for the next commit."""
        self._waiting[group.room_id][:0] = group.changes[applied:]
        del group.changes[applied:]

    def _give_up(self, group: _Group, attempts: int) -> None:
        """Fail the changes for which there is no time for another attempt."""
        now = asyncio.get_running_loop().time()
        for change in group.changes:
            change.is_under_way = False
            if now + (now - group.start) / attempts > change.deadline:
                change.fail(ConflictError(group.room_id, attempts))


def _drop_abandoned(changes: list[_Change]) -> None:
    """Drop the changes that nobody waits for any more."""
    changes[:] = [change for change in changes if not change.future.done()]
