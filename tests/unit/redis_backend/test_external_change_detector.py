"""Tests of the detection of external changes, with connections that only count their PINGs."""

from __future__ import annotations

from typing import Any
from unittest.mock import Mock

import pytest

from wnc_store import Resync, RoomChanged, RoomClosed, RoomEvent, StoreSettings, to_wire
from wnc_store.base import EventQueue, Lifecycle
from wnc_store_redis.events import RedisRoomEvents
from wnc_store_redis.external_changes import ExternalChangeDetector
from wnc_store_redis.keys import Keys


def test_a_message_of_another_connection_separates_nothing() -> None:
    """A notification belongs to the next event of its connection, even if other connections send in between."""
    found: list[RoomEvent] = []
    detector = ExternalChangeDetector(found.append, is_cluster=True)
    first, second = Mock(), Mock()
    detector.on_notification(first, "A", b"set")
    detector.on_notification(second, "B", b"set")
    detector.on_event(first, RoomChanged(room_id="A", rev=2))
    assert found == []
    detector.flush(first)
    assert found == []
    detector.flush(second)
    assert found == [RoomChanged(room_id="B")]
    assert [first.ping.call_count, second.ping.call_count] == [1, 1]


@pytest.mark.parametrize(
    ("operation", "on_server", "on_cluster"),
    [
        (b"set", RoomChanged, RoomChanged),
        (b"del", RoomClosed, Resync),
        (b"restore", RoomChanged, Resync),
        (b"rename_from", RoomClosed, RoomClosed),
        (b"expired", RoomClosed, RoomClosed),
    ],
)
def test_a_key_that_may_have_migrated_is_a_gap(operation: bytes, on_server: Any, on_cluster: Any) -> None:
    """A deletion or restoration of a key is a Resync on a cluster; other changes are reported as on a server."""
    for is_cluster, expected in ((False, on_server), (True, on_cluster)):
        found: list[RoomEvent] = []
        detector, source = ExternalChangeDetector(found.append, is_cluster=is_cluster), Mock()
        detector.on_notification(source, "A", operation)
        detector.flush(source)
        assert found == [expected(room_id="A")]


async def test_a_change_in_a_gap_is_not_external(monkeypatch: pytest.MonkeyPatch) -> None:
    """If only the channel of the events was lost, the notification of a published change is not an external change."""
    settings, router, source, queue = StoreSettings(notify_external_changes=True), Mock(), Mock(), EventQueue("A", 9)
    events = RedisRoomEvents(router, Mock(), Keys("", 0), settings, Lifecycle())
    events._subscribers.add(queue)
    in_gap = {b"events:A"}
    monkeypatch.setattr(events._subscriptions, "is_interrupted", in_gap.__contains__)
    events.on_message(source, b"__keyspace@0__:room:A", b"set")
    in_gap.clear()
    events.on_message(source, b"__keyspace@0__:room:A", b"set")
    in_gap.add(b"events:A")
    events.on_message(source, b"events:A", to_wire(RoomChanged(room_id="A", rev=2)))
    in_gap.clear()
    events.on_pong(source)
    events.on_message(source, b"events:A", to_wire(RoomChanged(room_id="A", rev=3)))
    assert await anext(queue) == RoomChanged(room_id="A", rev=3)
