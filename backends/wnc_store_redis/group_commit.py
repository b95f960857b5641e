"""Group commit: concurrent updates of one room are applied in order and committed together."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable

from wnc_store import ConflictError, Room
from wnc_store.base import ChangeEvents, EncodedEvent, PendingUpdate, Transition, VersionedRoom, VersionMismatch
from wnc_store_redis.room_storage import Commit, FoundDeleted, RoomStorage
from wnc_store_redis.transport.connection import Reply
from wnc_store_redis.transport.executor import CommandExecutor
from wnc_store_redis.transport.tasks import BackgroundTasks

_MAX_APPLY_SECONDS = 0.02
"""Seconds for which updates are applied before the event loop continues. The other updates wait for the next batch.

All batches that start from cached rooms in one tick share the time. A batch whose room was read has all of it.
"""

_DEADLINE_GRACE = 0.02
"""Seconds that a commit may exceed an update's deadline: the error of the commit is more specific than a time-out."""


class GroupCommit:
    """Commits updates of rooms, at most one batch of a room at a time.

    Updates that arrive in one tick of the event loop, or during a commit of their room, form a batch. Cancelling a
    caller removes only that caller's update, and only before the batch is sent.

    Args:
        commands: checks the event loop, sets the deadlines and sends the commits.
        storage: reads rooms and prepares commits.
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
        self.commands = commands
        self.storage = storage
        self.change_events = change_events
        self.now = now
        self.tasks = BackgroundTasks()
        self.batches: dict[str, _Batch] = {}
        """Room id -> the batch that waits or is in progress."""
        self._ready: list[_Batch] = []
        self._pending: dict[PendingUpdate, None] = {}
        """Updates that callers wait for, ordered by deadline: every operation has the same time-out."""
        self._deadline_timer: asyncio.TimerHandle | None = None

    async def submit(self, room_id: str, transition: Transition) -> Room | None:
        """Apply a transition to a room and commit the result. Return None if the room did not exist or was deleted."""
        loop = self.commands.running_loop()  # first, so that no update joins a batch of another loop or process
        update = PendingUpdate(room_id, transition, loop.create_future(), loop.time() + self.commands.timeout)
        batch = self.batches.get(room_id)
        if batch is None:
            self.start_soon(_Batch(self, room_id, [update]))
        else:
            batch.waiting.append(update)
        self._pending[update] = None
        # One timer serves all updates, because a timer for each would cost more than the rest of the call.
        if self._deadline_timer is None:
            self._deadline_timer = loop.call_at(update.deadline + _DEADLINE_GRACE, self._on_deadline)
        try:
            return await update.future
        finally:
            del self._pending[update]

    def start_soon(self, batch: _Batch) -> None:
        """Start a batch in the next tick of the event loop."""
        self.batches[batch.room_id] = batch
        if not self._ready:
            asyncio.get_running_loop().call_soon(self._start_ready)
        self._ready.append(batch)

    def _start_ready(self) -> None:
        """Start the batches that are ready, until the time is up."""
        ready, self._ready = deque(self._ready), []
        started_at, end = asyncio.get_running_loop().time(), self.now() + _MAX_APPLY_SECONDS
        try:
            while ready:
                ready.popleft().start(started_at, end)
                if self.now() > end:
                    break
        finally:
            for batch in ready:
                self.start_soon(batch)

    def _on_deadline(self) -> None:
        """Fail the updates that missed their deadlines."""
        loop = asyncio.get_running_loop()
        self._deadline_timer, now = None, loop.time()
        for update in self._pending:
            if update.deadline + _DEADLINE_GRACE > now:
                self._deadline_timer = loop.call_at(update.deadline + _DEADLINE_GRACE, self._on_deadline)
                return
            update.fail(self.storage.timeout_error(update.room_id, unanswered=update.is_sent))


class _Batch:
    """Updates of a room that are committed together, and the updates that wait for the next batch.

    The first commit starts from the cached room, and the batch receives its reply. A task does everything else: it
    reads the room, commits again on top of a newer room, and determines the outcome of a commit.
    """

    __slots__ = ("_commit", "_group", "_is_done", "_started_at", "_updates", "room_id", "waiting")

    def __init__(self, group: GroupCommit, room_id: str, waiting: list[PendingUpdate]) -> None:
        self._group = group
        self._updates: list[PendingUpdate] = []
        self._commit: Commit | None = None
        self._is_done = False
        self._started_at = 0.0
        self.room_id = room_id
        self.waiting = waiting

    def start(self, started_at: float, end: float) -> None:
        """Commit the waiting updates on top of the cached room. Those that are not applied by `end` form another batch.

        `started_at` is the event loop's time.
        """
        self._started_at = started_at
        try:
            self._updates, self.waiting = self.waiting, []
            stored = self._group.storage.cache[self.room_id]
            self._commit = stored and self._apply(stored, end)
            if self._commit is not None:
                self._group.commands.send_script(self._commit, self)
            else:
                self._finish_in_task(None)
        except BaseException as error:
            self._is_done = True
            self._end(error)
            if not isinstance(error, Exception):
                raise

    def done(self) -> bool:
        """See `Receiver.done`."""
        return self._is_done

    def set_result(self, result: Reply, /) -> None:
        """See `Receiver.set_result`."""
        if self._is_done:
            raise asyncio.InvalidStateError
        if self._commit is not None and type(result) is int and result == 1:  # the common case: committed
            self._is_done = True
            self._group.storage.record_commit(self._commit)
            self._end(None)
        else:
            reply: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
            reply.set_result(result)
            self._finish_in_task(reply)

    def set_exception(self, exception: BaseException, /) -> None:
        """See `Receiver.set_exception`."""
        reply: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        reply.set_exception(exception)
        reply.exception()  # marked as retrieved, because the task may be cancelled before it awaits the reply
        self._finish_in_task(reply)

    def _finish_in_task(self, reply: asyncio.Future[Reply] | None) -> None:
        self._is_done = True
        task = self._group.tasks.spawn(self._finish(reply))
        task.add_done_callback(lambda _: self._end(asyncio.CancelledError() if task.cancelled() else task.exception()))

    async def _finish(self, reply: asyncio.Future[Reply] | None) -> None:
        """Commit the updates on top of the current room. `reply` is the reply to the first commit, if one was sent.

        A read or the commit itself detects that the cached room was out of date.
        """
        storage, attempts = self._group.storage, 0
        stored: VersionedRoom[bytes] | None = None
        is_fresh = False
        while True:
            if self._commit is not None:
                result, reply = await storage.run_commit(self._commit, reply), None
                if isinstance(result, FoundDeleted):
                    self._fail_applied()
                if not isinstance(result, VersionMismatch):
                    return
                attempts += 1
                stored, is_fresh = result.current, True
                self._fail_expired(attempts)
            is_fresh = is_fresh and not self.waiting
            self._updates, self.waiting = self._updates + self.waiting, []
            if all(update.future.done() for update in self._updates):
                return
            if stored is None and not is_fresh:
                stored, is_fresh = await storage.get(self.room_id, self._updates[-1].deadline), True
            self._commit = self._apply(stored, self._group.now() + _MAX_APPLY_SECONDS)
            if self._commit is None:
                if is_fresh:
                    return
                stored = None  # an update without effect needs the current room: this one may be out of date

    def _apply(self, stored: VersionedRoom[bytes] | None, end: float) -> Commit | None:
        """Apply the updates to a room and return the commit of the result, or None if the room is unchanged.

        Updates whose callers were cancelled or got an error are dropped. Updates that are not applied by `end` wait.
        """
        group, applied = self._group, list[PendingUpdate]()
        before = after = None if stored is None else stored.room
        encoded_events: list[EncodedEvent] = []
        for number, update in enumerate(self._updates, start=1):
            if update.future.done():
                continue
            applied.append(update)
            previous, after = after, update.apply(after)
            if group.change_events.enabled:
                encoded_events += group.change_events.for_commit(previous, after)
            if group.now() > end:
                self.waiting[:0] = self._updates[number:]
                break
        self._updates = applied
        if stored is None or after is before:
            return None
        for update in applied:
            update.is_sent = True
        deadline = applied[-1].deadline  # the latest, because the updates are ordered
        return group.storage.prepare_commit(stored, after, encoded_events, deadline)

    def _fail_applied(self) -> None:
        """Fail the updates before the deletion: another client may have deleted the room before their commit."""
        for update in self._updates:
            if isinstance(update.outcome, Room):
                update.fail(self._group.storage.outcome_unknown_error(self.room_id))

    def _fail_expired(self, attempts: int) -> None:
        """Fail the updates that would miss their deadlines in another attempt of average length."""
        now = asyncio.get_running_loop().time()
        for update in self._updates:
            update.is_sent = False
            if now + (now - self._started_at) / attempts > update.deadline:
                update.fail(ConflictError(self.room_id, attempts))

    def _end(self, error: BaseException | None) -> None:
        """Return the outcomes to the callers, and start the next batch."""
        if error is not None and not isinstance(error, Exception):
            self._updates += self.waiting
            self.waiting = []
        for update in self._updates:
            if error is None:
                update.resolve()
            else:
                update.fail(error)
        if self.waiting:
            self._group.start_soon(_Batch(self._group, self.room_id, self.waiting))
        else:
            del self._group.batches[self.room_id]
