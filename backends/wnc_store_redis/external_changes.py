"""Changes of rooms by other writers, from the server's keyspace notifications."""

from __future__ import annotations

from collections.abc import Callable

from wnc_store import AppEvent, MessageAdded, RoomChanged, RoomClosed, RoomEvent

_GONE = {b"del", b"rename_from", b"move_from"}
_GONE_BY_ITSELF = {b"expired", b"evicted"}
_STILL_THE_SAME = {b"expire", b"persist", b"new"}


class ExternalChangeDetector:
    """Tells changes by others from those that a store with `publish_changes` publishes itself.

    What a script of ours does, the server sends in one piece: the notification of the room's key, then its events. A
    notification that anything else follows is of somebody else's change.

    Args:
        tell: is given the events of others' changes.
        ask: makes sure that something follows.
    """

    def __init__(self, tell: Callable[[RoomEvent], None], ask: Callable[[], None]) -> None:
        self._tell = tell
        self._ask = ask
        self._pending: RoomEvent | None = None

    def on_notification(self, room_id: str, what: bytes) -> None:
        """Take a notification: what happened to a room's key."""
        if what in _STILL_THE_SAME:
            return
        self.flush()
        if what in _GONE_BY_ITSELF:
            self._tell(RoomClosed(room_id=room_id))
            return
        self._pending = RoomClosed(room_id=room_id) if what in _GONE else RoomChanged(room_id=room_id)
        self._ask()

    def on_event(self, event: RoomEvent) -> None:
        """Take an event before it is delivered."""
        suspect = self._pending
        is_own = suspect is not None and event.room_id == suspect.room_id
        if is_own and not isinstance(event, AppEvent | MessageAdded):
            self._pending = None
        else:
            self.flush()

    def flush(self) -> None:
        """Take note that something else came, so that the last notification is of somebody else's change."""
        suspect, self._pending = self._pending, None
        if suspect is not None:
            self._tell(suspect)
