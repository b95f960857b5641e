"""Room events of a database that stores events in a log and cannot push them."""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta
from typing import NamedTuple

from wnc_store.base.events import BaseRoomEvents, EventQueue, SubscriberRegistry
from wnc_store.base.lifecycle import Lifecycle
from wnc_store.errors import StoreClosedError, StoreError
from wnc_store.settings import StoreSettings, check_duration

_MIN_INTERVAL = 0.001
"""Seconds between two reads of the log while events arrive. Each read without events doubles them."""


class LoggedEvent(NamedTuple):
    """An event in the log. The numbers of successive events are successive integers."""

    number: int
    room_id: str
    data: bytes

    def __repr__(self) -> str:
        """Return a text without the data, which tools that record local variables must not record."""
        return f"<event {self.number} of {self.room_id!r}, {len(self.data)} bytes>"


class EventLogPage(NamedTuple):
    """Events of the log, oldest first, and the number of the newest event that was ever stored (0 before the first)."""

    newest: int
    events: Sequence[LoggedEvent] = ()


class PollingRoomEvents(BaseRoomEvents):
    """Room events by polling a log with the primitives `_publish` and `_read_log`.

    Publishers append to the log in the transaction of the change. The log is read while there are subscribers: at once
    after `wake`, after a few milliseconds while events arrive, and otherwise after at most `poll_interval`. A missing
    number and an unavailable log produce a `Resync`.

    Raises:
        TypeError: `poll_interval` is not a `timedelta`.
        ValueError: `poll_interval` is shorter than 1 ms or longer than 36500 days.
    """

    def __init__(
        self, settings: StoreSettings, lifecycle: Lifecycle, poll_interval: timedelta = timedelta(milliseconds=100)
    ) -> None:
        super().__init__(settings, lifecycle)
        self._seconds = check_duration("poll_interval", poll_interval).total_seconds()
        self._subscribers = SubscriberRegistry()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._bind(None)

    def _bind(self, loop: asyncio.AbstractEventLoop | None) -> None:
        self._loop = loop
        self._position: int | None = None
        self._lock = asyncio.Lock()
        self._woken = asyncio.Event()
        self._poller: asyncio.Task[None] | None = None

    @abstractmethod
    async def _read_log(self, after: int | None, /) -> EventLogPage:
        """Return the next events with a number above `after`, at least one if there is any. None: no events."""

    def wake(self) -> None:
        """Read the log now, because this store has appended to it."""
        self._woken.set()

    async def aclose(self) -> None:
        """Stop reading the log. In a forked process, the task belongs to the parent process."""
        if self._poller is not None and self._poller.get_loop() is asyncio.get_running_loop():
            self._poller.cancel()
            await asyncio.wait((self._poller,))

    async def _subscribe(self, queue: EventQueue, /) -> None:
        loop = asyncio.get_running_loop()
        if self._loop is not loop:
            if self._loop is not None and not self._loop.is_closed():
                message = "the store was used in another event loop; open a store in each event loop"
                raise StoreError(message)
            self._bind(loop)
        async with self._lock:
            await self._advance()  # a new subscriber does not receive events that were published before
            self._subscribers.add(queue)
        if self._poller is None:
            self._poller = asyncio.create_task(self._poll())

    def _unsubscribe(self, queue: EventQueue, /) -> None:
        self._subscribers.discard(queue)
        if not self._subscribers.rooms():
            self._position = None
            if self._poller is not None:
                self._poller.cancel()
                self._poller = None

    async def _poll(self) -> None:
        is_available, seconds = True, _MIN_INTERVAL
        while True:
            self._woken.clear()
            position = self._position
            try:
                async with self._lock:
                    await self._advance()
                is_available = True
            except StoreClosedError:
                return
            except Exception as error:  # noqa: BLE001 - subscribers would wait indefinitely without the task
                if is_available:
                    self._subscribers.mark_gap()
                    if not isinstance(error, StoreError):
                        message = "PollingRoomEvents._read_log raised an error that is not a StoreError"
                        asyncio.get_running_loop().call_exception_handler({"message": message, "exception": error})
                is_available = False
            seconds = _MIN_INTERVAL if self._position != position else min(2 * seconds, self._seconds)
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._woken.wait()

    async def _advance(self) -> None:
        """Dispatch the events that were logged since the last call."""
        position = self._position
        while True:
            page = await self._read_log(position)
            if position is None or (not page.events and page.newest != position):
                if position is not None:  # the events expired before they were read, or the log is another one
                    self._subscribers.mark_gap()
                position = page.newest
            for logged in page.events:
                if logged.number != position + 1:
                    self._subscribers.mark_gap()
                position = logged.number
                event = self._decode(f"event {position}", logged.room_id, logged.data)
                if event is not None:
                    self._subscribers.dispatch((event,))
            self._position = position
            if position >= page.newest:
                return
