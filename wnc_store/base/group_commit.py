"""Room store that commits concurrent updates of a room together."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from wnc_store.base.compare_and_set import Committed, CompareAndSetRoomStore, VersionedRoom, VersionT
from wnc_store.base.events import EncodedEvent
from wnc_store.base.lifecycle import Lifecycle
from wnc_store.base.pending_update import PendingUpdate
from wnc_store.base.rooms import Transition
from wnc_store.clock import Clock
from wnc_store.errors import ConflictError, OutcomeUnknownError, StoreError, StoreTimeoutError
from wnc_store.records.models import Room
from wnc_store.settings import StoreSettings

_MAX_APPLY_SECONDS = 0.02
"""Seconds for which updates are applied before the event loop continues. The other updates wait for the next batch."""

_DEADLINE_GRACE = 0.02
"""Seconds that a commit may exceed an update's deadline: the error of the commit is more specific than a time-out."""


class _UpdateQueue:
    """The updates of one room: those of the batch that is being committed, and those that wait for the next batch."""

    def __init__(self, room_id: str, loop: asyncio.AbstractEventLoop) -> None:
        self.room_id = room_id
        self.loop = loop
        self.batch: list[PendingUpdate] = []
        self.waiting: list[PendingUpdate] = []
        self.task: asyncio.Task[None] | None = None


class GroupCommitRoomStore(CompareAndSetRoomStore[VersionT]):
    """Room store that commits concurrent updates of a room together, by one compare-and-set.

    Its primitives are those of `CompareAndSetRoomStore`, and optionally `_peek_versioned`.

    Updates of a room that arrive in one tick of the event loop, or during a commit of the room, form a batch. The batch
    is applied in order and committed once. Each caller receives the outcome of its own update: a transition that raises
    fails only its own caller. Cancelling a caller removes its update, unless the batch was sent already.

    The primitives run in a task of the room. If a primitive raises, every caller of the batch receives a copy of the
    error. If it is still running after the deadline of the last update of the batch, it is cancelled.
    """

    def __init__(self, settings: StoreSettings, clock: Clock, lifecycle: Lifecycle) -> None:
        super().__init__(settings, clock, lifecycle)
        self._queues: dict[str, _UpdateQueue] = {}

    def _peek_versioned(self, room_id: str) -> VersionedRoom[VersionT] | None:
        """Return the room as this store last saw it, or None. A batch then needs no read if the room is up to date.

        By default, return None. Override this method if the store caches rooms. A room that is out of date is harmless,
        because the compare-and-set detects it.
        """
        del room_id
        return None

    def _deadline_error(self, room_id: str, *, is_sent: bool) -> StoreError:
        """Return the error of an update that missed its deadline. `is_sent` states whether it may be stored.

        Override this method if the backend can name the server, or knows when the outcome is final.
        """
        timeout = f"operation_timeout ({self._settings.operation_timeout.total_seconds():g} s)"
        if is_sent:
            message = f"the update of room {room_id!r} was sent, and its outcome is not known after {timeout}"
            return OutcomeUnknownError(f"{message}: read the room before you repeat the update")
        message = f"the update of room {room_id!r} was not sent within {timeout}, and nothing was written"
        return StoreTimeoutError(f"{message}: retry, or increase operation_timeout")

    async def _update(self, room_id: str, transition: Transition, /) -> Room | None:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._settings.operation_timeout.total_seconds()
        update = PendingUpdate(room_id, transition, loop.create_future(), deadline)
        queue = self._queues.get(room_id)
        if queue is None or queue.loop is not loop:  # another loop may have stopped before it finished its queue
            queue = self._queues[room_id] = _UpdateQueue(room_id, loop)
        queue.waiting.append(update)
        if queue.task is None:
            queue.task = loop.create_task(self._commit_batches(queue))
            queue.task.add_done_callback(lambda task: self._end(queue, task))
        timer = loop.call_at(deadline + _DEADLINE_GRACE, self._expire, update)
        try:
            return await update.future
        finally:
            timer.cancel()

    def _expire(self, update: PendingUpdate) -> None:
        update.fail(self._deadline_error(update.room_id, is_sent=update.is_sent))

    async def _commit_batches(self, queue: _UpdateQueue) -> None:
        while queue.waiting:
            await asyncio.sleep(0)  # updates of the same tick join the batch, also if the loop starts tasks eagerly
            queue.batch, queue.waiting = queue.waiting, []
            try:
                self._lifecycle.ensure_open()
                async with asyncio.timeout_at(queue.batch[-1].deadline + _DEADLINE_GRACE):
                    await self._commit_batch(queue)
            except TimeoutError:
                for update in queue.batch:
                    self._expire(update)
            except Exception as error:  # noqa: BLE001 - `fail` raises it in the callers
                for update in queue.batch:
                    update.fail(error)
            else:
                for update in queue.batch:
                    update.resolve()
        self._discard(queue)

    async def _commit_batch(self, queue: _UpdateQueue) -> None:
        """Apply a batch and commit the result. Repeat this after a mismatch."""
        if all(update.future.done() for update in queue.batch):
            return
        started_at, attempts = queue.loop.time(), 0
        stored, is_current = self._peek_versioned(queue.room_id), False
        while True:
            if stored is None and not is_current:
                stored, is_current = await self._get_versioned(queue.room_id), True
            after, encoded_events = self._apply_batch(queue, stored and stored.room)
            if stored is not None and after is not stored.room:
                for update in queue.batch:
                    update.is_sent = True
                result = await self._commit(stored, after, encoded_events)
                if isinstance(result, Committed):
                    return
                attempts += 1
                stored, is_current = result.current, True
                self._fail_conflicting(queue, started_at, attempts)
            elif is_current:
                return
            else:
                stored = None  # updates without effect need the current room, and this one may be out of date

    def _apply_batch(self, queue: _UpdateQueue, before: Room | None) -> tuple[Room | None, Sequence[EncodedEvent]]:
        """Return the room after the batch, and the events of its updates.

        Updates whose callers were cancelled or have an error are dropped. If the time is up, the rest waits.
        """
        applied: list[PendingUpdate] = []
        encoded_events: list[EncodedEvent] = []
        after, end = before, queue.loop.time() + _MAX_APPLY_SECONDS
        for number, update in enumerate(queue.batch, start=1):
            if update.future.done():
                continue
            applied.append(update)
            previous, after = after, update.apply(after)
            encoded_events += self._change_events.for_commit(previous, after)
            if queue.loop.time() > end:
                queue.waiting[:0] = queue.batch[number:]
                break
        queue.batch = applied
        return after, encoded_events

    def _fail_conflicting(self, queue: _UpdateQueue, started_at: float, attempts: int) -> None:
        """Fail the updates that would miss their deadlines in another attempt of average length."""
        now = queue.loop.time()
        for update in queue.batch:
            update.is_sent = False
            if now + (now - started_at) / attempts > update.deadline:
                update.fail(ConflictError(queue.room_id, attempts))

    def _end(self, queue: _UpdateQueue, task: asyncio.Task[None]) -> None:
        """Cancel the callers if the task ended early: it was cancelled, or a transition raised KeyboardInterrupt."""
        if task.cancelled() or task.exception() is not None:
            self._discard(queue)
            for update in queue.batch + queue.waiting:
                update.future.cancel()

    def _discard(self, queue: _UpdateQueue) -> None:
        if self._queues.get(queue.room_id) is queue:
            del self._queues[queue.room_id]
