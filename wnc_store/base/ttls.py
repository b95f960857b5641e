"""TTLs of a room and its chat after a write of the room."""

from __future__ import annotations

from datetime import timedelta

from wnc_store import rules
from wnc_store.records.models import Room
from wnc_store.settings import StoreSettings


class RoomTtls:
    """TTLs that an update of a room sets. They differ from `room_ttl` only for a room that waits for users."""

    def __init__(self, settings: StoreSettings) -> None:
        self._room_ttl = settings.room_ttl
        self._chat_ttl = settings.chat_ttl
        self._empty_room_ttl = settings.empty_room_ttl

    def room(self, after: Room) -> timedelta:
        """Return the full TTL of a room that is written."""
        if self._empty_room_ttl is not None and rules.is_waiting(after):
            return self._empty_room_ttl
        return self._room_ttl

    def chat(self, before: Room, after: Room) -> timedelta | None:
        """Return the TTL that the write of the room also sets for the chat, or None to keep the TTL of the chat.

        The chat of a room that waits lives as long as the room. It gets its full TTL when the wait ends, also if
        another client has added users without ending the wait.
        """
        if rules.is_waiting(after):
            return self._empty_room_ttl
        return self._chat_ttl if rules.has_waited(before) else None
