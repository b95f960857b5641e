"""Group commit: the changes of one room that wait at the same time are applied in order and committed once."""

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

Transition = Callable[[Room], Room | None]

_MAX_APPLY_SECONDS = 0.02
"""How long changes of one room are applied before the event loop has its turn; the others go into the next commit."""

_DEADLINE_GRACE = 0.02
"""Seconds after its deadline when a change is ended, if the commit itself has not ended it: it knows better why."""


class _PendingUpdate:
    """A change that a caller waits for."""

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
        """Return the room after this change; an error of the rule is kept for its caller and changes nothing."""
        self.outcome = None
        if room is None:
            return None
        try:
            after = self.outcome = self.transition(room)
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

    def resolve(self) -> None:
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


class _Batch:
    """Changes that are committed together."""

    __slots__ = ("commit", "room_id", "start", "updates")

    def __init__(self, room_id: str) -> None:
        self.room_id = room_id
        self.updates: list[_PendingUpdate] = []
        self.commit: PendingCommit | None = None
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

    def __init__(
        self, path: RoomStorage, own_changes: ChangeEvents, now: Callable[[], float] = time.perf_counter
    ) -> None:
        self._storage = path
        self._change_events = own_changes
        self._now = now
        self._queues: dict[str, list[_PendingUpdate]] = {}
        """The changes that wait, of each room of which there are any or a commit is under way."""
        self._ready_rooms: deque[str] = deque()
        self._tasks: set[asyncio.Task[None]] = set()
        self._pending: dict[_PendingUpdate, None] = {}
        """The changes that callers wait for, in the order of their deadlines, because all have the same time."""
        self._deadline_timer: asyncio.TimerHandle | None = None

    async def submit(self, room_id: str, transition: Transition) -> Room | None:
        """Apply a rule to a live room; None if there is no room, before or after it."""
        self._storage.check_loop()  # before it waits for those of another loop, or of the process before a fork
        loop = asyncio.get_running_loop()
        update = _PendingUpdate(room_id, transition, loop.create_future(), self._storage.deadline())
        waiting = self._queues.get(room_id)
        if waiting is not None:
            waiting.append(update)
        else:
            self._queues[room_id] = [update]
            if not self._ready_rooms:
                loop.call_soon(self._start_ready)
            self._ready_rooms.append(room_id)
        self._pending[update] = None
        if (
            self._deadline_timer is None
        ):  # one for all: a timer of its own would cost each change more than the rest of this
            self._deadline_timer = loop.call_at(update.deadline + _DEADLINE_GRACE, self._on_deadline)
        try:
            return await update.future
        finally:
            del self._pending[update]

    def _on_deadline(self) -> None:
        """End the changes that are out of time."""
        loop = asyncio.get_running_loop()
        self._deadline_timer, now = None, loop.time()
        for update in self._pending:
            if update.deadline + _DEADLINE_GRACE > now:
                self._deadline_timer = loop.call_at(update.deadline + _DEADLINE_GRACE, self._on_deadline)
                return
            update.fail(self._storage.timeout_error(update.room_id, unanswered=update.is_sent))

    def _start_ready(self) -> None:
        """Begin with the rooms of which changes came in this tick."""
        try:
            while self._ready_rooms:
                self._start_batch(self._ready_rooms.popleft())
        finally:
            if self._ready_rooms:  # a change raised what ends a program; the other rooms go on
                asyncio.get_running_loop().call_soon(self._start_ready)

    def _start_batch(self, room_id: str) -> None:
        """Commit the changes of a room that wait, as far as it goes without a task."""
        while self._queues[room_id]:
            batch = _Batch(room_id)
            if not self._drain_queue(batch):
                continue
            stored = self._storage.cached(room_id)
            try:
                batch.commit = None if stored is None else self._attempt(batch, stored)
            except Exception as error:  # noqa: BLE001 - each caller has to know
                self._fail(batch, error)
                continue
            except BaseException:
                self._cancel_all(batch)
                raise
            if batch.commit is not None and batch.commit.sent is not None:
                batch.commit.sent.reply.add_done_callback(partial(self._on_reply, batch))
            else:
                self._spawn_slow_path(batch)
            return
        del self._queues[room_id]

    def _on_reply(self, batch: _Batch, reply: asyncio.Future[Reply]) -> None:
        if reply.cancelled():  # the event loop ends
            self._cancel_all(batch)
        elif batch.commit is not None and self._storage.try_complete(batch.commit):
            self._resolve_all(batch)
            self._start_batch(batch.room_id)
        else:
            self._spawn_slow_path(batch)

    def _spawn_slow_path(self, batch: _Batch) -> None:
        task = asyncio.get_running_loop().create_task(self._run_batch(batch))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run_batch(self, batch: _Batch) -> None:
        """Commit a group, tell its callers, and go on with the changes that wait by then."""
        try:
            await self._commit(batch)
        except Exception as error:  # noqa: BLE001 - each caller has to know
            self._fail(batch, error)
        except BaseException:  # the event loop ends
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
        """Commit changes to the room as it was seen last; the commit, or else a read, proves that it still is so."""
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
                conflict = await self._storage.finish_commit(batch.commit)
                if conflict is None:
                    if batch.commit.deletion_ambiguous:
                        self._fail_ambiguous(batch)
                    return
                attempts += 1
                stored, is_fresh, batch.commit = conflict.current, True, None
                self._fail_expired(batch, attempts)
            elif is_fresh:
                return
            else:  # who changes nothing, or fails, must do so with the room as it is now
                stored = None

    def _attempt(self, batch: _Batch, stored: VersionedRoom[bytes] | None) -> PendingCommit | None:
        """Apply the changes to a room, and begin to commit what comes of it; None if it stays as it is."""
        before = after = None if stored is None else stored.room
        encoded_events: list[EncodedEvent] = []
        end = self._now() + _MAX_APPLY_SECONDS
        for number, update in enumerate(batch.updates, start=1):
            was, after = after, update.apply(after)
            encoded_events += self._change_events.for_commit(was, after)
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
        """Drop the changes that nobody waits for any more, and add those that wait by now; tell whether there were."""
        waiting, updates = self._queues[batch.room_id], batch.updates
        _drop_cancelled(updates)
        added = [update for update in waiting if not update.future.done()]
        updates += added
        waiting.clear()
        return bool(added)

    def _fail_ambiguous(self, batch: _Batch) -> None:
        """Fail the changes that were to be in the room before the last user left: it may have ended without them."""
        for update in batch.updates:
            if isinstance(update.outcome, Room):
                update.fail(self._storage.outcome_unknown_error(batch.room_id))

    def _requeue(self, batch: _Batch, applied: int) -> None:
        """Let all but the first changes wait for the next commit."""
        self._queues[batch.room_id][:0] = batch.updates[applied:]
        del batch.updates[applied:]

    def _fail_expired(self, batch: _Batch, attempts: int) -> None:
        """Fail the changes for which there is no time for another attempt."""
        now = asyncio.get_running_loop().time()
        for update in batch.updates:
            update.is_sent = False
            if now + (now - batch.start) / attempts > update.deadline:
                update.fail(ConflictError(batch.room_id, attempts))


def _drop_cancelled(updates: list[_PendingUpdate]) -> None:
    """Drop the changes that nobody waits for any more."""
    updates[:] = [update for update in updates if not update.future.done()]
