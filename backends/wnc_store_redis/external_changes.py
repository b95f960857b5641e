"""Detection of changes by other writers, from the server's keyspace notifications."""

from __future__ import annotations

from collections.abc import Callable

from wnc_store import (
    AppEvent,
    MessageAdded,
    MessageChanged,
    MessageRemoved,
    MessagesCleared,
    Resync,
    RoomChanged,
    RoomClosed,
    RoomEvent,
)
from wnc_store_redis.transport.pubsub import PubSubConnection

_REMOVED_BY_COMMAND = {b"del", b"rename_from", b"move_from"}
_REMOVED_BY_SERVER = {b"expired", b"evicted"}
_MIGRATED = {b"del", b"restore"}
"""Notifications that the source and the target of a slot migration send for each key, without a change of the key."""
_NO_CHANGE = {b"expire", b"persist", b"new"}

_NO_CHANGE_OF_ROOM = (AppEvent, MessageAdded, MessageChanged, MessageRemoved, MessagesCleared)
"""Events that are published without a change of the room's key."""


class ExternalChangeDetector:
    """Separates external changes from changes that a store with `publish_changes` publishes itself.

    A script of this library sends the keyspace notification of the room's key and the events of its change without
    interruption, over the same connection. A notification that is not followed by an event of the same room belongs to
    an external change. The detector sends a PING after each notification, so that a pong arrives if no event follows.

    Args:
        dispatch: called with the event of each external change.
        is_cluster: whether keys may migrate. A deletion is then reported as a `Resync`, because the room may have moved
            to another server.
    """

    def __init__(self, dispatch: Callable[[RoomEvent], None], *, is_cluster: bool) -> None:
        self._dispatch = dispatch
        self._is_cluster = is_cluster
        self._pending: dict[PubSubConnection, RoomEvent] = {}

    def on_notification(self, source: PubSubConnection, room_id: str, operation: bytes) -> None:
        """Handle a keyspace notification for a room's key."""
        if operation in _NO_CHANGE:
            return
        self.flush(source)
        if operation in _REMOVED_BY_SERVER:
            self._dispatch(RoomClosed(room_id=room_id))
            return
        if self._is_cluster and operation in _MIGRATED:
            kind = Resync
        else:
            kind = RoomClosed if operation in _REMOVED_BY_COMMAND else RoomChanged
        self._pending[source] = kind(room_id=room_id)
        source.ping()

    def on_event(self, source: PubSubConnection, event: RoomEvent) -> None:
        """Handle a published event before it is dispatched."""
        pending = self._pending.get(source)
        is_own = pending is not None and event.room_id == pending.room_id
        if is_own and not isinstance(event, _NO_CHANGE_OF_ROOM):
            del self._pending[source]
        else:
            self.flush(source)

    def flush(self, source: PubSubConnection) -> None:
        """Dispatch the pending notification as an external change: no event of the same change followed it."""
        pending = self._pending.pop(source, None)
        if pending is not None:
            self._dispatch(pending)
