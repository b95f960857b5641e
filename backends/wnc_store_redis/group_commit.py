"""Group commit: concurrent updates of one room are applied in order and committed together."""

from __future__ import annotations

import asyncio
import copy
import time
from collections import deque
from collections.abc import Callable
from functools import partial

from wnc_store import ConflictError, Room
from wnc_store.base import ChangeEvents, EncodedEvent, VersionedRoom
from wnc_store_redis.room_storage import PendingCommit, RoomStorage
from wnc_store_redis.transport.connection import Reply
from wnc_store_redis.transport.tasks import BackgroundTasks

Transition = Callable[[Room], Room | None]

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


class _Batch:
    """Updates that are committed together."""

    __slots__ = ("commit", "room_id", "start", "updates")

    def __init__(self, room_id: str) -> None:
        self.room_id = room_id
        self.updates: list[_PendingUpdate] = []
        self.commit: PendingCommit | None = None
        self.start = asyncio.get_running_loop().time()


class GroupCommit:
    """Commits updates of rooms, at most one batch of a room at a time.

    Updates that arrive during a commit of their room wait, and form the next batch. Cancelling a caller removes only
    that caller's update, and only before the batch is sent.

    Updates of a cached room are committed on top of the cached version, without a task. A task takes over only if the
    room must be read, or if the reply reports anything but a commit.

    Args:
        storage: reads and commits rooms.
        change_events: encodes the events of updates.
        now: returns the time in seconds; limits how long updates are applied.
    """

    def __init__(
        self, storage: RoomStorage, change_events: ChangeEvents, now: Callable[[], float] = time.perf_counter
    ) -> None:
        self._storage = storage
        self._change_events = change_events
        self._now = now
        self._queues: dict[str, list[_PendingUpdate]] = {}
        """Room id -> waiting updates. A room has an entry while updates of it wait or a commit of it is in progress."""
        self._ready_rooms: deque[str] = deque()
        self._tasks = BackgroundTasks()
        self._pending: dict[_PendingUpdate, None] = {}
        """Updates that callers wait for, ordered by deadline: every operation has the same time-out."""
        self._deadline_timer: asyncio.TimerHandle | None = None

    async def submit(self, room_id: str, transition: Transition) -> Room | None:
        """Apply a transition to a room and commit the result. Return None if the room did not exist or was deleted."""
        self._storage.check_loop()  # before the update can join a queue of another loop, or of a parent process
        loop = asyncio.get_running_loop()
        update = _PendingUpdate(room_id, transition, loop.create_future(), self._storage.deadline())
        queue = self._queues.get(room_id)
        if queue is not None:
            queue.append(update)
        else:
            self._queues[room_id] = [update]
            if not self._ready_rooms:
                loop.call_soon(self._start_ready)
            self._ready_rooms.append(room_id)
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

    def _start_ready(self) -> None:
        """Start a batch for each room whose first updates arrived in this tick."""
        try:
            while self._ready_rooms:
                self._start_batch(self._ready_rooms.popleft())
        finally:
            if self._ready_rooms:  # a transition raised KeyboardInterrupt or SystemExit; the other rooms continue
                asyncio.get_running_loop().call_soon(self._start_ready)

    def _start_batch(self, room_id: str) -> None:
        """Start to commit the waiting updates of a room, without a task if possible."""
        while self._queues[room_id]:
            batch = _Batch(room_id)
            if not self._drain_queue(batch):
                continue
            stored = self._storage.cached(room_id)
            try:
                batch.commit = None if stored is None else self._attempt(batch, stored)
            except Exception as error:  # noqa: BLE001 - raised in every caller of the batch
                self._fail(batch, error)
                continue
            except BaseException:
                self._cancel_all(batch)
                raise
            if batch.commit is not None and batch.commit.script is not None:
                batch.commit.script.reply.add_done_callback(partial(self._on_reply, batch))
            else:
                self._tasks.spawn(self._run_batch(batch))
            return
        del self._queues[room_id]

    def _on_reply(self, batch: _Batch, reply: asyncio.Future[Reply]) -> None:
        if reply.cancelled():  # the event loop is shutting down
            self._cancel_all(batch)
        elif batch.commit is not None and self._storage.try_complete(batch.commit):
            self._resolve_all(batch)
            self._start_batch(batch.room_id)
        else:
            self._tasks.spawn(self._run_batch(batch))

    async def _run_batch(self, batch: _Batch) -> None:
        """Commit a batch, resolve its updates, and start the next batch."""
        try:
            await self._commit(batch)
        except Exception as error:  # noqa: BLE001 - raised in every caller of the batch
            self._fail(batch, error)
        except BaseException:  # the event loop is shutting down
            self._cancel_all(batch)
            raise
        else:
            self._resolve_all(batch)
        self._start_batch(batch.room_id)

    def _resolve_all(self, batch: _Batch) -> None:
        for update in batch.updates:
            update.resolve()

    def _fail(self, batch: _Batch, error: Exception) -> None:
        for update in batch.updates:
            update.fail(error)

    def _cancel_all(self, batch: _Batch) -> None:
        for update in (*batch.updates, *self._queues.pop(batch.room_id)):
            update.future.cancel()

    async def _commit(self, batch: _Batch) -> None:
        """Commit a batch on top of the cached room. A read or the commit itself detects an outdated cache."""
        room_id, updates = batch.room_id, batch.updates
        attempts = 0
        stored, is_fresh = None, False
        while True:
            if batch.commit is None:
                is_fresh = not self._drain_queue(batch) and is_fresh
                if not updates:
                    return
                if stored is None and not is_fresh:
                    deadline = max(update.deadline for update in updates)
                    stored, is_fresh = await self._storage.get(room_id, deadline), True
                    _drop_cancelled(updates)
                batch.commit = self._attempt(batch, stored)
            if batch.commit is not None:
                mismatch = await self._storage.finish_commit(batch.commit)
                if mismatch is None:
                    if batch.commit.deletion_ambiguous:
                        self._fail_ambiguous(batch)
                    return
                attempts += 1
                stored, is_fresh, batch.commit = mismatch.current, True, None
                self._fail_expired(batch, attempts)
            elif is_fresh:
                return
            else:  # an update without effect needs the current room: the cached one may be out of date
                stored = None

    def _attempt(self, batch: _Batch, stored: VersionedRoom[bytes] | None) -> PendingCommit | None:
        """Apply a batch to a room and start to commit the result. Return None if the room is unchanged."""
        before = after = None if stored is None else stored.room
        encoded_events: list[EncodedEvent] = []
        end = self._now() + _MAX_APPLY_SECONDS
        for number, update in enumerate(batch.updates, start=1):
            previous, after = after, update.apply(after)
            encoded_events += self._change_events.for_commit(previous, after)
            if self._now() > end:
                self._requeue(batch, number)
        if stored is None or after is before:
            return None
        for update in batch.updates:
            update.is_sent = True
        return self._storage.start_commit(
            stored, after, encoded_events, max(update.deadline for update in batch.updates)
        )

    def _drain_queue(self, batch: _Batch) -> bool:
        """Drop cancelled updates from a batch, and add the waiting ones. Return whether any were added."""
        queue, updates = self._queues[batch.room_id], batch.updates
        _drop_cancelled(updates)
        added = [update for update in queue if not update.future.done()]
        updates += added
        queue.clear()
        return bool(added)

    def _fail_ambiguous(self, batch: _Batch) -> None:
        """After an ambiguous deletion, fail the updates whose outcome is a room.

        Another client may have deleted the room before these updates were committed.
        """
        for update in batch.updates:
            if isinstance(update.outcome, Room):
                update.fail(self._storage.outcome_unknown_error(batch.room_id))

    def _requeue(self, batch: _Batch, applied: int) -> None:
        """Move all updates except the first `applied` ones back to the queue."""
        self._queues[batch.room_id][:0] = batch.updates[applied:]
        del batch.updates[applied:]

    def _fail_expired(self, batch: _Batch, attempts: int) -> None:
        """Fail the updates that would miss their deadlines in another attempt of average length."""
        now = asyncio.get_running_loop().time()
        for update in batch.updates:
            update.is_sent = False
            if now + (now - batch.start) / attempts > update.deadline:
                update.fail(ConflictError(batch.room_id, attempts))


def _drop_cancelled(updates: list[_PendingUpdate]) -> None:
    """Drop the updates whose callers were cancelled or got an error."""
    updates[:] = [update for update in updates if not update.future.done()]
