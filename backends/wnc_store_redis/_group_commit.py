"""Group commit: the changes of one room that wait at the same time are applied in order and committed once."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Callable

from wnc_store import ConflictError, OwnChanges, Room, Telling
from wnc_store_redis._commit_path import CommitPath

Rule = Callable[[Room], Room | None]

_MOST_TOGETHER = 1000
"""Changes of one commit; applying more at a time would hold up the event loop."""


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
        self.outcome: Room | Exception | None = None
        self.is_under_way = False

    def apply(self, room: Room | None) -> Room | None:
        """Return the room after this change; an error of the rule is kept for its caller and changes nothing."""
        self.outcome = None
        if room is None:
            return None
        try:
            after = self.outcome = self.rule(room)
        except StopIteration as error:  # which no future takes, and no coroutine raises
            self.outcome = RuntimeError("the change raised StopIteration")
            self.outcome.__cause__ = error
            return room
        except Exception as error:  # noqa: BLE001 - it is the caller's own
            self.outcome = error
            return room
        return after

    def tell(self) -> None:
        """Give the caller what came of the change."""
        if self.future.done():
            return
        if isinstance(self.outcome, Exception):
            self.future.set_exception(self.outcome)
        else:
            self.future.set_result(self.outcome)

    def fail(self, error: Exception) -> None:
        """Give the caller an error of the own: it will hold the caller's traceback."""
        if not self.future.done():
            own = copy.copy(error)
            own.__cause__ = error.__cause__
            self.future.set_exception(own)


class GroupCommit:
    """Changes of rooms.

    While a commit of a room is under way, further changes of it wait; then they are committed together. A caller who is
    cancelled takes away only the own change, and only if it was not sent yet.
    """

    def __init__(self, path: CommitPath, own_changes: OwnChanges) -> None:
        self._path = path
        self._own_changes = own_changes
        self._waiting: dict[str, list[_Change]] = {}
        self._serving: dict[str, asyncio.Task[None]] = {}
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
            self._serving[room_id] = loop.create_task(self._serve(room_id))
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

    async def _serve(self, room_id: str) -> None:
        """Commit the changes of a room until none waits."""
        changes: list[_Change] = []
        try:
            while self._waiting[room_id]:
                changes = []
                await self._commit(room_id, changes)
        finally:  # only when the event loop ends are there any left
            del self._serving[room_id]
            for change in (*changes, *self._waiting.pop(room_id)):
                change.future.cancel()

    async def _commit(self, room_id: str, changes: list[_Change]) -> None:
        """Commit the changes that wait by now, and tell the callers; they are put into `changes`."""
        try:
            await self._apply(room_id, changes)
        except Exception as error:  # noqa: BLE001 - each caller has to know
            for change in changes:
                change.fail(error)
        else:
            for change in changes:
                change.tell()

    async def _apply(self, room_id: str, changes: list[_Change]) -> None:
        """Apply changes to the room as it was seen last; the commit, or else a read, proves that it still is so."""
        start = asyncio.get_running_loop().time()
        attempts = 0
        stored, is_fresh = self._path.seen(room_id), False
        while True:
            is_fresh = not self._take(room_id, changes) and is_fresh
            if not changes:
                return
            deadline = max(change.deadline for change in changes)
            if stored is None and not is_fresh:
                stored, is_fresh = await self._path.load(room_id, deadline), True
                _drop_abandoned(changes)
            before = after = None if stored is None else stored.room
            tellings: list[Telling] = []
            for change in changes:
                was, after = after, change.apply(after)
                tellings += self._own_changes.of_room(was, after)
            if stored is not None and after is not before:
                for change in changes:
                    change.is_under_way = True
                conflict = await self._path.commit(stored, after, tellings, deadline)
                if conflict is None:
                    return
                attempts += 1
                stored, is_fresh = conflict.current, True
                self._give_up(room_id, changes, start, attempts)
            elif is_fresh:
                return
            else:  # who changes nothing, or fails, must do so with the room as it is now
                stored = None

    def _take(self, room_id: str, changes: list[_Change]) -> bool:
        """Drop the changes that nobody waits for any more, and add those that wait by now; tell whether there were."""
        waiting = self._waiting[room_id]
        _drop_abandoned(changes)
        room = _MOST_TOGETHER - len(changes)
        added = [change for change in waiting[:room] if not change.future.done()]
        changes += added
        del waiting[:room]
        return bool(added)

    def _give_up(self, room_id: str, changes: list[_Change], start: float, attempts: int) -> None:
        """Fail the changes for which there is no time for another attempt."""
        now = asyncio.get_running_loop().time()
        for change in changes:
            change.is_under_way = False
            if now + (now - start) / attempts > change.deadline:
                change.fail(ConflictError(room_id, attempts))


def _drop_abandoned(changes: list[_Change]) -> None:
    """Drop the changes that nobody waits for any more."""
    changes[:] = [change for change in changes if not change.future.done()]
