"""Tests of events that subscribers poll."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

from virtual_time import idle, now
from wnc_store import AppEvent, Resync, RoomEvent, StoreSettings, StoreUnavailableError, to_wire
from wnc_store.base import EncodedEvent, EventLogPage, Lifecycle, LoggedEvent, PollingRoomEvents

INTERVAL = 0.1


def numbered(number: int) -> AppEvent:
    """Return an event of room A with a number."""
    return AppEvent(room_id="A", name="number", value=number)


class ListEvents(PollingRoomEvents):
    """Events in a list, two of which are read together.

    Attributes:
        log: the events that can be read.
        newest: the number of the newest event.
        is_available: whether the log can be read.
        reads: the number of reads.
    """

    def __init__(self) -> None:
        self.lifecycle = Lifecycle()
        super().__init__(StoreSettings(), self.lifecycle)
        self.log: list[LoggedEvent] = []
        self.newest = 0
        self.is_available = True
        self.reads = 0

    def append(self, *numbers: int) -> None:
        """Append events as another client does."""
        self.newest += len(numbers)
        first = self.newest - len(numbers) + 1
        self.log += [
            LoggedEvent(first + offset, "A", to_wire(numbered(number))) for offset, number in enumerate(numbers)
        ]

    async def _publish(self, encoded_event: EncodedEvent) -> None:
        self.newest += 1
        self.log.append(LoggedEvent(self.newest, encoded_event.event.room_id, encoded_event.data))
        self.wake()

    async def _read_log(self, after: int | None, /) -> EventLogPage:
        self.reads += 1
        await asyncio.sleep(0)
        if not self.is_available:
            message = "not now"
            raise StoreUnavailableError(message)
        found = [logged for logged in self.log if after is not None and logged.number > after]
        return EventLogPage(self.newest, found[:2])


async def receive(events: AsyncIterator[RoomEvent], count: int) -> list[object]:
    """Return the numbers of the next events, and None for a `Resync`."""
    received = [await anext(events) for _ in range(count)]
    assert {type(event) for event in received} <= {AppEvent, Resync}
    return [event.value if isinstance(event, AppEvent) else None for event in received]


async def test_events_of_other_clients_arrive_within_the_interval() -> None:
    """Events of other clients arrive with the next poll, in order, also if they are several pages."""
    events = ListEvents()
    async with events.subscribe("A") as received:
        await asyncio.sleep(10 * INTERVAL)
        started_at = now()
        events.append(1, 2, 3, 4, 5)
        assert await receive(received, 5) == [1, 2, 3, 4, 5]
        assert now() - started_at <= INTERVAL + 0.001


async def test_the_log_is_read_more_often_while_events_arrive() -> None:
    """After an event, the next one arrives within a few milliseconds; an idle log is read once per interval."""
    events = ListEvents()
    async with events.subscribe("A") as received:
        await asyncio.sleep(10 * INTERVAL)
        reads = events.reads
        await asyncio.sleep(10 * INTERVAL)
        assert events.reads - reads <= 11
        events.append(1)
        await receive(received, 1)
        started_at = now()
        events.append(2)
        await receive(received, 1)
        assert now() - started_at < 0.02


async def test_events_of_this_store_arrive_at_once() -> None:
    """After `wake`, the log is read without waiting for the interval."""
    events = ListEvents()
    async with events.subscribe("A") as received:
        await idle()
        started_at = now()
        await events.publish("A", numbered(1))
        assert await receive(received, 1) == [1]
        assert now() == started_at


async def test_a_missing_number_produces_a_resync() -> None:
    """If events expired before they were read, a Resync stands in their place, also if none is left."""
    events = ListEvents()
    async with events.subscribe("A") as received:
        events.append(1)
        events.log.clear()
        events.append(2)
        assert await receive(received, 2) == [None, 2]
        events.append(3)
        events.log.clear()
        assert await receive(received, 1) == [None]
        events.append(4)
        assert await receive(received, 1) == [4]


async def test_another_log_produces_a_resync() -> None:
    """If the numbers of the log start again, because the database was replaced, the subscriber receives a Resync."""
    events = ListEvents()
    events.append(1, 2, 3)
    async with events.subscribe("A") as received:
        events.log.clear()
        events.newest = 0
        assert await receive(received, 1) == [None]
        events.append(1)
        assert await receive(received, 1) == [1]


async def test_an_outage_produces_one_resync() -> None:
    """While the log is unavailable, subscribers receive one Resync. Afterwards, they receive the events they missed."""
    events = ListEvents()
    async with events.subscribe("A") as received:
        events.is_available = False
        assert await receive(received, 1) == [None]
        await asyncio.sleep(10 * INTERVAL)
        events.append(1)
        events.is_available = True
        assert await receive(received, 1) == [1]


async def test_new_subscribers_receive_no_earlier_events() -> None:
    """A subscriber does not receive events before its subscription, which earlier subscribers have yet to receive."""
    events = ListEvents()
    async with events.subscribe("A") as first:
        await idle()
        events.append(1)
        async with events.subscribe("A") as second:
            events.append(2)
            assert await receive(second, 1) == [2]
            assert await receive(first, 2) == [1, 2]


async def test_the_log_is_read_only_for_subscribers() -> None:
    """Without subscribers, the log is not read. The next subscriber does not receive what was published meanwhile."""
    events = ListEvents()
    async with events.subscribe("A"):
        await asyncio.sleep(INTERVAL)
    reads = events.reads
    events.append(1)
    await asyncio.sleep(10 * INTERVAL)
    assert events.reads == reads
    async with events.subscribe("A") as received:
        events.append(2)
        assert await receive(received, 1) == [2]


async def test_closing_ends_the_polling() -> None:
    """After a close, no task is left."""
    events, before = ListEvents(), asyncio.all_tasks()
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(events.subscribe("A"))
        await events.aclose()
        assert asyncio.all_tasks() == before
