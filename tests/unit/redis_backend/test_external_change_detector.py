"""Tests of the detection of external changes, with connections that only count their PINGs."""

from __future__ import annotations

from typing import Any
from unittest.mock import Mock

import pytest

from wnc_store import Resync, RoomChanged, RoomClosed, RoomEvent
from wnc_store_redis.external_changes import ExternalChangeDetector


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
