"""Room events with three primitives, event queues of subscribers, and events for the changes of a store."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections import defaultdict, deque
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import NamedTuple, Self

from wnc_store.base.decode import SkippedValueLog
from wnc_store.base.diff import diff_rooms
from wnc_store.base.lifecycle import Lifecycle
from wnc_store.base.size_limits import check_depth
from wnc_store.errors import CorruptRecordError, LimitExceededError, StoreClosedError
from wnc_store.events import (
    MessageAdded,
    MessageChanged,
    MessageRemoved,
    MessagesCleared,
    Resync,
    RoomClosed,
    RoomEvent,
)
from wnc_store.records.codec import from_wire, to_wire, validated
from wnc_store.records.models import ChatMessage, Room
from wnc_store.settings import StoreSettings


class EventQueue:
    """Bounded queue of the events of one subscription: at most `size` events, and a `Resync` in place of any others.

    The queue is read on one event loop. Another event loop or thread may write to it.

    Args:
        room_id: Id of the subscribed room.
        size: Largest number of waiting events.
    """

    def __init__(self, room_id: str, size: int) -> None:
        self.room_id = room_id
        self._size = size
        self._events: deque[RoomEvent] = deque()
        self._closed_with: type[Exception] | None = None
        self._changed = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None  # the loop of the reader

    def put(self, event: RoomEvent) -> None:
        """Append an event. If the queue is full, mark a gap instead."""
        if len(self._events) < self._size:
            self._events.append(event)
            self._wake()
        else:
            self.mark_gap()

    def mark_gap(self) -> None:
        """Append a `Resync`, unless the last event is one."""
        with suppress(IndexError):  # the queue is empty; the reader of another thread can empty it at any moment
            if isinstance(self._events[-1], Resync):
                return
        self._events.append(Resync(room_id=self.room_id))
        self._wake()

    def close(self, reason: type[Exception]) -> None:
        """Make all waiting and later reads raise `reason`. Events in the queue are discarded."""
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
            with suppress(RuntimeError):  # the loop is closed, so the reader no longer exists
                self._loop.call_soon_threadsafe(self._changed.set)


class SubscriberRegistry:
    """The event queues of each room, in the order of subscription."""

    def __init__(self) -> None:
        self._queues: defaultdict[str, dict[EventQueue, None]] = defaultdict(dict)

    def add(self, queue: EventQueue) -> None:
        """Add a queue. It receives the events that are dispatched from now on."""
        self._queues[queue.room_id][queue] = None

    def discard(self, queue: EventQueue) -> None:
        """Remove a queue, if it is present."""
        queues = self._queues[queue.room_id]
        queues.pop(queue, None)
        if not queues:
            del self._queues[queue.room_id]

    def dispatch(self, events: Iterable[RoomEvent]) -> None:
        """Append each event to all queues of its room."""
        for event in events:
            for queue in self._queues.get(event.room_id, ()):
                queue.put(event)

    def mark_gap(self, room_ids: Iterable[str] | None = None) -> None:
        """Mark a gap in all queues, or in the queues of some rooms."""
        for room_id in self.rooms() if room_ids is None else room_ids:
            for queue in self._queues.get(room_id, ()):
                queue.mark_gap()

    def rooms(self) -> Sequence[str]:
        """Return the ids of the rooms that have subscribers."""
        return tuple(self._queues)


class BaseRoomEvents(ABC):
    """`RoomEvents` with three primitives. The contract of the public methods is in `RoomEvents`."""

    def __init__(self, settings: StoreSettings, lifecycle: Lifecycle) -> None:
        self._settings = settings
        self._lifecycle = lifecycle
        self._open_queues: set[EventQueue] = set()
        self._skipped = SkippedValueLog()
        lifecycle.add_close_callback(self._close_queues)

    @abstractmethod
    async def _publish(self, encoded_event: EncodedEvent) -> None:
        """Send an event to all subscribers of its room, in this process and in others."""

    @abstractmethod
    async def _subscribe(self, queue: EventQueue, /) -> None:
        """Register a queue. Return when the queue receives every event of its room that is published afterwards."""

    @abstractmethod
    def _unsubscribe(self, queue: EventQueue, /) -> None:
        """Remove a queue. Called exactly once per `_subscribe`, also if `_subscribe` failed or was cancelled."""

    async def publish(self, room_id: str, event: RoomEvent) -> None:
        """See `RoomEvents.publish`."""
        self._lifecycle.check(("room id", room_id))
        event = validated(event, RoomEvent)
        if event.room_id != room_id:
            message = f"the event must have room_id {room_id!r}, got {event.room_id!r}"
            raise ValueError(message)
        check_depth(event)
        data = to_wire(event)
        limit = self._settings.max_event_bytes
        if len(data) > limit:
            raise LimitExceededError("size of the event in bytes (max_event_bytes)", limit=limit, actual=len(data))
        await self._publish(EncodedEvent(event, data))

    @asynccontextmanager
    async def subscribe(self, room_id: str) -> AsyncGenerator[AsyncIterator[RoomEvent]]:
        """See `RoomEvents.subscribe`."""
        self._lifecycle.check(("room id", room_id))
        queue = EventQueue(room_id, self._settings.events_queue_size)
        self._open_queues.add(queue)
        try:
            await self._subscribe(queue)
            self._lifecycle.ensure_open()
            yield queue
        finally:
            self._open_queues.discard(queue)
            self._unsubscribe(queue)
            queue.close(StopAsyncIteration)

    def _decode(self, channel: str, room_id: str, data: bytes) -> RoomEvent | None:
        """Decode a received event. Return None for an invalid event and log it once."""
        try:
            event = from_wire(RoomEvent, data, key=channel)
            if event.room_id == room_id:
                return event
            problem = CorruptRecordError(channel, f"the event belongs to room {event.room_id!r}")
        except CorruptRecordError as error:
            problem = error
        self._skipped.warn("event", channel, data, problem)
        return None

    def _close_queues(self) -> None:
        for queue in self._open_queues:
            queue.close(StoreClosedError)


class EncodedEvent(NamedTuple):
    """An event and its JSON."""

    event: RoomEvent
    data: bytes


class ChangeEvents:
    """Events that a store publishes for its own changes. Without `publish_changes`, the methods return no events.

    A backend publishes the returned events in the same atomic step that makes the change. An event larger than
    `max_event_bytes` is replaced by a `Resync`.

    Attributes:
        enabled: Whether the store publishes events. If not, a backend need not call the methods.
    """

    def __init__(self, settings: StoreSettings) -> None:
        self.enabled = settings.publish_changes
        self._max_bytes = settings.max_event_bytes

    def for_commit(self, before: Room | None, after: Room | None) -> Sequence[EncodedEvent]:
        """Return the events of one transition. Call this for each transition of a commit, in order."""
        return [self._encode_or_resync(event) for event in diff_rooms(before, after)] if self.enabled else ()

    def for_delete(self, room_id: str) -> Sequence[EncodedEvent]:
        """Return the events of deleting a room without reading it."""
        return (self._encode_or_resync(RoomClosed(room_id=room_id)),) if self.enabled else ()

    def for_message(self, message: ChatMessage) -> Sequence[EncodedEvent]:
        """Return the events of a new message."""
        return (self._encode_or_resync(MessageAdded(room_id=message.room_id, message=message)),) if self.enabled else ()

    def for_edit(self, room_id: str, message: ChatMessage) -> Sequence[EncodedEvent]:
        """Return the events of an edited message."""
        return (self._encode_or_resync(MessageChanged(room_id=room_id, message=message)),) if self.enabled else ()

    def for_removal(self, room_id: str, message_id: str) -> Sequence[EncodedEvent]:
        """Return the events of a removed message."""
        return (self._encode_or_resync(MessageRemoved(room_id=room_id, message_id=message_id)),) if self.enabled else ()

    def for_clear(self, room_id: str) -> Sequence[EncodedEvent]:
        """Return the events of clearing the messages."""
        return (self._encode_or_resync(MessagesCleared(room_id=room_id)),) if self.enabled else ()

    def for_reset(self, room_id: str) -> Sequence[EncodedEvent]:
        """Return the events of a restored room: subscribers have to read it and its chat again."""
        return (self._encode_or_resync(Resync(room_id=room_id)),) if self.enabled else ()

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
