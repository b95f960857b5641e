"""Tests of events that subscribers poll."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import timedelta
from typing import Any

import pytest

from virtual_time import VirtualTimeLoop, idle, now
from wnc_store import AppEvent, Resync, RoomEvent, StoreError, StoreSettings, StoreUnavailableError, to_wire
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
        error: what a read raises if the log can't be read.
        reads: the number of reads.
    """

    def __init__(self, interval: timedelta = timedelta(seconds=INTERVAL)) -> None:
        self.lifecycle = Lifecycle()
        super().__init__(StoreSettings(), self.lifecycle, interval)
        self.log: list[LoggedEvent] = []
        self.newest = 0
        self.is_available = True
        self.error: Exception = StoreUnavailableError("not now")
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
            raise self.error
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


async def test_an_unexpected_error_does_not_end_the_polling() -> None:
    """If a read raises an error that is not a StoreError, the event loop reports it once, and the polling continues."""
    reported: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context["exception"]))
    events = ListEvents()
    events.error = ValueError("a defect of the backend")
    async with events.subscribe("A") as received:
        events.is_available = False
        assert await receive(received, 1) == [None]
        await asyncio.sleep(10 * INTERVAL)
        events.append(1)
        events.is_available = True
        assert await receive(received, 1) == [1]
    assert reported == [events.error]


def test_another_event_loop_is_refused_while_the_first_is_open() -> None:
    """A subscription in another event loop raises StoreError, and the first event loop continues to receive events."""
    events, first = ListEvents(), VirtualTimeLoop()
    subscription = events.subscribe("A")
    received = first.run_until_complete(subscription.__aenter__())
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as second, pytest.raises(StoreError, match="another event loop"):
        second.run(events.subscribe("B").__aenter__())
    events.append(1)
    assert first.run_until_complete(receive(received, 1)) == [1]
    first.run_until_complete(subscription.__aexit__(None, None, None))
    first.close()


def test_the_polling_starts_again_in_the_next_event_loop() -> None:
    """If an event loop was closed during a subscription, subscribers in the next event loop receive events."""
    events, loop = ListEvents(), VirtualTimeLoop()
    abandoned = events.subscribe("A")
    loop.run_until_complete(abandoned.__aenter__())
    for task in asyncio.all_tasks(loop):
        task.cancel()
    loop.close()

    async def subscribe() -> None:
        async with events.subscribe("A") as received:
            events.append(1)
            assert await receive(received, 1) == [1]

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        runner.run(subscribe())


@pytest.mark.parametrize(
    "invalid", [timedelta(0), timedelta(microseconds=999), timedelta(seconds=-1), 0, True, math.nan]
)
def test_an_invalid_interval_is_rejected(invalid: Any) -> None:
    """An interval that is not a duration of at least 1 ms is rejected, because the polling would never pause."""
    with pytest.raises(
        (TypeError, ValueError), match=r"^poll_interval must be (a timedelta|at least 1 milli\w+), got "
    ):
        ListEvents(invalid)


def test_the_repr_of_a_logged_event_hides_its_data() -> None:
    """Local variables in tracebacks do not show the texts of messages."""
    assert repr(LoggedEvent(1, "A", b"secret")) == "<event 1 of 'A', 6 bytes>"
