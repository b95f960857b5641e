"""Tests of the queue of a subscription."""

from __future__ import annotations

from collections import deque
from typing import Any

import pytest

from wnc_store import Resync, RoomClosed, RoomEvent
from wnc_store.base import EventQueue


class EmptiedDeque(deque[RoomEvent]):
    """Events that the reader of another thread takes just before the writer reads the last one."""

    def __getitem__(self, index: Any) -> Any:
        """Return an event, after the reader has taken all."""
        self.clear()
        return super().__getitem__(index)


async def test_the_reader_can_empty_a_full_queue_at_any_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    """If the reader of another thread empties the queue while a writer marks a gap, the reader receives a Resync."""
    queue = EventQueue("A", 1)
    monkeypatch.setattr(queue, "_events", EmptiedDeque())
    queue.put(RoomClosed(room_id="A"))
    queue.put(RoomClosed(room_id="A"))
    assert await anext(queue) == Resync(room_id="A")
