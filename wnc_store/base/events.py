"""Events, over three primitives; and what a store tells of its own changes."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from abc import ABC, abstractmethod
from collections import defaultdict, deque
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from typing import NamedTuple, Self

from cachetools import LRUCache

from wnc_store.base.diff import diff_rooms
from wnc_store.base.ids import check_id
from wnc_store.base.lifecycle import Lifecycle
from wnc_store.errors import CorruptRecordError, LimitExceededError, NotSupportedError, StoreClosedError
from wnc_store.events import MessageAdded, Resync, RoomClosed, RoomEvent
from wnc_store.records.codec import from_wire, to_wire, validated
from wnc_store.records.models import ChatMessage, Room
from wnc_store.settings import StoreSettings

_logger = logging.getLogger("wnc_store")


class UnsupportedEvents:
    """The `RoomEvents` of a backend that has none."""

    async def publish(self, room_id: str, event: RoomEvent) -> None:
        """Raise `NotSupportedError`."""
        raise NotSupportedError("this backend tells no events")

    def subscribe(self, room_id: str) -> AbstractAsyncContextManager[AsyncIterator[RoomEvent]]:
        """Raise `NotSupportedError`."""
        raise NotSupportedError("this backend tells no events")


class EventQueue:
    """What one subscription reads: a queue that is never longer than `size` and one `Resync`.

    It is read on one event loop. Who gives it events may be on another, in another thread.
    """

    def __init__(self, room_id: str, size: int) -> None:
        self.room_id = room_id
        self._size = size
        self._events: deque[RoomEvent] = deque()
        self._closed_with: type[Exception] | None = None
        self._changed = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None  # on which it is read

    def put(self, event: RoomEvent) -> None:
        """Put an event at the end, or note that it was lost."""
        if len(self._events) < self._size:
            self._events.append(event)
            self._wake()
        else:
            self.mark_gap()

    def mark_gap(self) -> None:
        """Put a `Resync` at the end, unless one is there."""
        if not self._events or not isinstance(self._events[-1], Resync):
            self._events.append(Resync(room_id=self.room_id))
            self._wake()

    def close(self, reason: type[Exception]) -> None:
        """Let every call from now on, and those that wait, raise this; what is in the queue is dropped."""
        self._closed_with = self._closed_with or reason
        self._wake()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> RoomEvent:
        self._loop = asyncio.get_running_loop()
        while True:
            if self._closed_with is not None:
                raise self._closed_with
            if self._events:
                return self._events.popleft()
            self._changed.clear()
            await self._changed.wait()

    def _wake(self) -> None:
        if self._loop is None or self._loop is _running_loop():
            self._changed.set()
        else:
            with suppress(RuntimeError):  # it was closed, and whoever read on it is gone
                self._loop.call_soon_threadsafe(self._changed.set)


class SubscriberRegistry:
    """The readers of each room, in the order in which they subscribed."""

    def __init__(self) -> None:
        self._queues: defaultdict[str, dict[EventQueue, None]] = defaultdict(dict)

    def add(self, reader: EventQueue) -> None:
        """Let a reader get what is delivered from now on."""
        self._queues[reader.room_id][reader] = None

    def discard(self, reader: EventQueue) -> None:
        """Let a reader get nothing more."""
        readers = self._queues.get(reader.room_id, {})
        readers.pop(reader, None)
        if not readers:
            self._queues.pop(reader.room_id, None)

    def dispatch(self, events: Iterable[RoomEvent]) -> None:
        """Give events to all readers of their rooms."""
        for event in events:
            for reader in self._queues.get(event.room_id, ()):
                reader.put(event)

    def mark_gap(self, room_ids: Iterable[str] | None = None) -> None:
        """Tell all readers, or those of some rooms, that events were lost."""
        for room_id in self.rooms() if room_ids is None else room_ids:
            for reader in self._queues.get(room_id, ()):
                reader.mark_gap()

    def rooms(self) -> Sequence[str]:
        """Return the rooms that have readers."""
        return tuple(self._queues)


class BaseRoomEvents(ABC):
    """`RoomEvents` over three primitives. The law is in `RoomEvents`."""

    def __init__(self, settings: StoreSettings, lifecycle: Lifecycle) -> None:
        self._settings = settings
        self._lifecycle = lifecycle
        self._open_queues: set[EventQueue] = set()
        self._logged: LRUCache[bytes, None] = LRUCache(maxsize=1024)
        lifecycle.add_close_callback(self._close_queues)

    @abstractmethod
    async def _publish(self, encoded_event: EncodedEvent) -> None:
        """Tell an event to all readers of its room."""

    @abstractmethod
    async def _subscribe(self, reader: EventQueue) -> None:
        """Return when the reader is given every event of its room that is published from now on."""

    @abstractmethod
    def _unsubscribe(self, reader: EventQueue) -> None:
        """Give the reader nothing more; also one whose `_attach` failed or was cancelled."""

    async def publish(self, room_id: str, event: RoomEvent) -> None:
        """See `RoomEvents.publish`."""
        self._check(room_id)
        event = validated(event, RoomEvent)
        if event.room_id != room_id:
            message = f"an event of room {event.room_id!r} can't be published in room {room_id!r}"
            raise ValueError(message)
        data = to_wire(event)
        if len(data) > self._settings.max_event_bytes:
            raise LimitExceededError("the bytes of the event", limit=self._settings.max_event_bytes, found=len(data))
        await self._publish(EncodedEvent(event, data))

    @asynccontextmanager
    async def subscribe(self, room_id: str) -> AsyncGenerator[AsyncIterator[RoomEvent]]:
        """See `RoomEvents.subscribe`."""
        self._check(room_id)
        reader = EventQueue(room_id, self._settings.events_queue_size)
        self._open_queues.add(reader)
        try:
            await self._subscribe(reader)
            self._lifecycle.ensure_open()
            yield reader
        finally:
            self._open_queues.discard(reader)
            self._unsubscribe(reader)
            reader.close(StopAsyncIteration)

    def _decode(self, channel: str, room_id: str, data: bytes) -> RoomEvent | None:
        """Return the event that was sent as `data`; one that can't be read is left out and logged once."""
        try:
            event = from_wire(RoomEvent, data, key=channel)
            if event.room_id == room_id:
                return event
            problem = CorruptRecordError(channel, f"it is an event of room {event.room_id!r}")
        except CorruptRecordError as error:
            problem = error
        digest = hashlib.blake2b(data, key=channel.encode()[:64], digest_size=16).digest()
        if digest not in self._logged:
            self._logged[digest] = None
            _logger.warning("left out an event: %s", problem)
        return None

    def _close_queues(self) -> None:
        for reader in self._open_queues:
            reader.close(StoreClosedError)

    def _check(self, room_id: str) -> None:
        self._lifecycle.ensure_open()
        check_id("room id", room_id)


class EncodedEvent(NamedTuple):
    """An event, and the JSON of it."""

    event: RoomEvent
    data: bytes


class ChangeEvents:
    """The events that a store publishes of its own changes: none, unless the setting `publish_changes` asks for them.

    A backend publishes what these methods return in the same step that makes the change.
    """

    def __init__(self, settings: StoreSettings) -> None:
        self._enabled = settings.publish_changes
        self._max_bytes = settings.max_event_bytes

    def for_commit(self, before: Room | None, after: Room | None) -> Sequence[EncodedEvent]:
        """Return the events of a commit: of one rule, so that each of several in one step has its own revision."""
        return [self._encode_or_resync(event) for event in diff_rooms(before, after)] if self._enabled else ()

    def for_delete(self, room_id: str) -> Sequence[EncodedEvent]:
        """Return the events of the deletion of a room that was not read."""
        return (self._encode_or_resync(RoomClosed(room_id=room_id)),) if self._enabled else ()

    def for_message(self, message: ChatMessage) -> Sequence[EncodedEvent]:
        """Return the events of a message that was new."""
        return (
            (self._encode_or_resync(MessageAdded(room_id=message.room_id, message=message)),) if self._enabled else ()
        )

    def for_reset(self, room_id: str) -> Sequence[EncodedEvent]:
        """Return the events of what makes readers read again: messages were cleared, a room was put back."""
        return (self._encode_or_resync(Resync(room_id=room_id)),) if self._enabled else ()

    def _encode_or_resync(self, event: RoomEvent) -> EncodedEvent:
        data = to_wire(event)
        if len(data) > self._max_bytes:
            event = Resync(room_id=event.room_id)
            data = to_wire(event)
        return EncodedEvent(event, data)


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
