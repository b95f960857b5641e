"""Group commit: concurrent updates of one room are applied in order and committed together."""

from __future__ import annotations

import asyncio
import copy
import time
from collections.abc import Callable

from wnc_store import ConflictError, Room
from wnc_store.base import ChangeEvents, EncodedEvent, Transition, VersionedRoom, VersionMismatch
from wnc_store_redis.room_storage import FoundDeleted, PendingCommit, RoomStorage
from wnc_store_redis.transport.executor import CommandExecutor

_MAX_APPLY_SECONDS = 0.02
"""Seconds for which updates of a room are applied before the event loop continues. The rest form the next batch."""

_DEADLINE_GRACE = 0.02
"""Seconds that a commit may exceed an update's deadline: the error of the commit is more specific than a time-out."""


class _PendingUpdate:
    """An update whose caller waits for the outcome."""

    __slots__ = ("deadline", "future", "is_sent", "outcome", "room_id", "transition")

    def __init__(
        self, room_id: str, transition: Transition, future: asyncio.Future[Room | None], deadline: float
    ) -> None:
        self.room_id = room_id
        self.transition = transition
        self.future = future
        self.deadline = deadline
        self.outcome: Room | BaseException | None = None
        self.is_sent = False

    def apply(self, room: Room | None) -> Room | None:
        """Return the room after the transition. If that raises, record the error and return the room unchanged."""
        self.outcome = None
        if room is None:
            return None
        try:
            after = self.outcome = self.transition(room)
        except (StopIteration, asyncio.CancelledError) as error:  # a future does not accept or preserve them
            self.outcome = RuntimeError(f"the transition of the update raised {type(error).__name__}")
            self.outcome.__cause__ = error
            return room
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # noqa: BLE001 - `resolve` raises it in the caller
            self.outcome = error
            return room
        return after

    def resolve(self) -> None:
        """Return the outcome to the caller."""
        if self.future.done():
            return
        if isinstance(self.outcome, BaseException):
            self.future.set_exception(self.outcome)
        else:
            self.future.set_result(self.outcome)

    def fail(self, error: Exception) -> None:
        """Raise a copy of the error in the caller, because tracebacks of several callers would accumulate on it."""
        if not self.future.done():
            duplicate = copy.copy(error)
            duplicate.__cause__ = error.__cause__
            self.future.set_exception(duplicate)


class GroupCommit:
    """Commits updates of rooms, at most one batch of a room at a time.

    Updates that arrive during a commit of their room wait, and form the next batch. Cancelling a caller removes only
    that caller's update, and only before the batch is sent.

    Args:
        commands: checks the event loop and sets the deadlines.
        storage: reads and commits rooms.
        change_events: encodes the events of updates.
        now: returns the time in seconds; limits how long updates are applied.
    """

    def __init__(
        self,
        commands: CommandExecutor,
        storage: RoomStorage,
        change_events: ChangeEvents,
        now: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._commands = commands
        self._storage = storage
        self._change_events = change_events
        self._now = now
        self._queues: dict[str, list[_PendingUpdate]] = {}
        """Room id -> waiting updates. A room has an entry while a task commits its updates."""
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._pending: dict[_PendingUpdate, None] = {}
        """Updates that callers wait for, ordered by deadline: every operation has the same time-out."""
        self._deadline_timer: asyncio.TimerHandle | None = None

    async def submit(self, room_id: str, transition: Transition) -> Room | None:
        """Apply a transition to a room and commit the result. Return None if the room did not exist or was deleted."""
        self._commands.check_loop()  # before the update can join a queue of another loop, or of a parent process
        loop = asyncio.get_running_loop()
        update = _PendingUpdate(room_id, transition, loop.create_future(), self._commands.deadline())
        self._queues.setdefault(room_id, []).append(update)
        task = self._tasks.get(room_id)
        if task is None or task.done():  # done: it was cancelled before it started
            self._tasks[room_id] = loop.create_task(self._run(room_id))
        self._pending[update] = None
        if self._deadline_timer is None:  # one timer for all updates: a timer for each would cost more than the rest
            self._deadline_timer = loop.call_at(update.deadline + _DEADLINE_GRACE, self._on_deadline)
        try:
            return await update.future
        finally:
            del self._pending[update]

    def _on_deadline(self) -> None:
        """Fail the updates that missed their deadlines."""
        loop = asyncio.get_running_loop()
        self._deadline_timer, now = None, loop.time()
        for update in self._pending:
            if update.deadline + _DEADLINE_GRACE > now:
                self._deadline_timer = loop.call_at(update.deadline + _DEADLINE_GRACE, self._on_deadline)
                return
            update.fail(self._storage.timeout_error(update.room_id, unanswered=update.is_sent))

    async def _run(self, room_id: str) -> None:
        """Commit the updates of a room in batches until none wait."""
        while self._queues[room_id]:
            batch: list[_PendingUpdate] = []
            try:
                await self._commit(room_id, batch)
            except Exception as error:  # noqa: BLE001 - raised in every caller of the batch
                for update in batch:
                    update.fail(error)
            except BaseException:  # the event loop is shutting down, or a transition raised KeyboardInterrupt
                del self._tasks[room_id]
                for update in (*batch, *self._queues.pop(room_id)):
                    update.future.cancel()
                raise
            else:
                for update in batch:
                    update.resolve()
        del self._queues[room_id], self._tasks[room_id]

    async def _commit(self, room_id: str, batch: list[_PendingUpdate]) -> None:
        """Move waiting updates into a batch, and commit it on top of the cached room.

        A read or the commit itself detects an outdated cache.
        """
        attempts, started_at = 0, asyncio.get_running_loop().time()
        stored, is_fresh = self._storage.cached(room_id), False
        while True:
            is_fresh = not self._drain_queue(room_id, batch) and is_fresh
            if not batch:
                return
            if stored is None and not is_fresh:
                stored, is_fresh = await self._storage.get(room_id, batch[-1].deadline), True
                _drop_cancelled(batch)
            commit = self._attempt(room_id, batch, stored)
            if commit is None:
                if is_fresh:
                    return
                stored = None  # an update without effect needs the current room: the cached one may be out of date
                continue
            result = await self._storage.finish_commit(commit)
            if isinstance(result, FoundDeleted):
                for update in batch:  # another client may have deleted the room before these updates were committed
                    if isinstance(update.outcome, Room):
                        update.fail(self._storage.outcome_unknown_error(room_id))
            if not isinstance(result, VersionMismatch):
                return
            attempts += 1
            stored, is_fresh = result.current, True
            self._fail_expired(room_id, batch, attempts, started_at)

    def _attempt(
        self, room_id: str, batch: list[_PendingUpdate], stored: VersionedRoom[bytes] | None
    ) -> PendingCommit | None:
        """Apply a batch to a room and start to commit the result. Return None if the room is unchanged."""
        before = after = None if stored is None else stored.room
        encoded_events: list[EncodedEvent] = []
        end = self._now() + _MAX_APPLY_SECONDS
        for number, update in enumerate(batch, start=1):
            previous, after = after, update.apply(after)
            encoded_events += self._change_events.for_commit(previous, after)
            if self._now() > end:  # the other updates form the next batch
                self._queues[room_id][:0] = batch[number:]
                del batch[number:]
        if stored is None or after is before:
            return None
        for update in batch:
            update.is_sent = True
        deadline = batch[-1].deadline  # the latest, because the updates are ordered
        if after is None:
            return self._storage.start_delete(stored, encoded_events, deadline)
        return self._storage.start_commit(stored, after, encoded_events, deadline)

    def _drain_queue(self, room_id: str, batch: list[_PendingUpdate]) -> bool:
        """Add the waiting updates to a batch, and drop cancelled ones from it. Return whether any were waiting."""
        waiting = self._queues[room_id]
        any_waiting = bool(waiting)
        batch += waiting
        waiting.clear()
        _drop_cancelled(batch)
        return any_waiting

    def _fail_expired(self, room_id: str, batch: list[_PendingUpdate], attempts: int, started_at: float) -> None:
        """Fail the updates that would miss their deadlines in another attempt of average length."""
        now = asyncio.get_running_loop().time()
        for update in batch:
            update.is_sent = False
            if now + (now - started_at) / attempts > update.deadline:
                update.fail(ConflictError(room_id, attempts))


def _drop_cancelled(batch: list[_PendingUpdate]) -> None:
    """Drop the updates whose callers were cancelled or got an error."""
    batch[:] = [update for update in batch if not update.future.done()]
