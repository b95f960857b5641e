"""Detection of changes by other writers, from the server's keyspace notifications."""

from __future__ import annotations

from collections.abc import Callable

from wnc_store import AppEvent, MessageAdded, RoomChanged, RoomClosed, RoomEvent

_REMOVED_BY_COMMAND = {b"del", b"rename_from", b"move_from"}
_REMOVED_BY_SERVER = {b"expired", b"evicted"}
_NO_CHANGE = {b"expire", b"persist", b"new"}


class ExternalChangeDetector:
    """Separates external changes from changes that a store with `publish_changes` publishes itself.

    A script of this library sends the keyspace notification of the room's key and the events of its change without
    interruption. A notification that is not followed by an event of the same room belongs to an external change.

    Args:
        dispatch: called with the event of each external change.
        ping: sends a PING, so that a pong follows the notification if nothing else does.
    """

    def __init__(self, dispatch: Callable[[RoomEvent], None], ping: Callable[[], None]) -> None:
        self._dispatch = dispatch
        self._ping = ping
        self._pending: RoomEvent | None = None

    def on_notification(self, room_id: str, operation: bytes) -> None:
        """Handle a keyspace notification for a room's key."""
        if operation in _NO_CHANGE:
            return
        self.flush()
        if operation in _REMOVED_BY_SERVER:
            self._dispatch(RoomClosed(room_id=room_id))
            return
        self._pending = (
            RoomClosed(room_id=room_id) if operation in _REMOVED_BY_COMMAND else RoomChanged(room_id=room_id)
        )
        self._ping()

    def on_event(self, event: RoomEvent) -> None:
        """Handle a published event before it is dispatched."""
        pending = self._pending
        is_own = pending is not None and event.room_id == pending.room_id
        if is_own and not isinstance(event, AppEvent | MessageAdded):
            self._pending = None
        else:
            self.flush()

    def flush(self) -> None:
        """Dispatch the pending notification as an external change: no event of the same change followed it."""
        pending, self._pending = self._pending, None
        if pending is not None:
            self._dispatch(pending)
