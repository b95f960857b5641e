"""Limits of the size and depth of the rooms, users, messages and events that callers write."""

from __future__ import annotations

import math

from wnc_store.errors import LimitExceededError
from wnc_store.records.codec import to_wire
from wnc_store.records.encode import MAX_BYTES_PER_CHAR
from wnc_store.records.models import ChatMessage, Record, Room, User, max_depth
from wnc_store.records.user_index import max_encoded_bytes
from wnc_store.settings import StoreSettings

_FIXED = 2048
"""Upper bound of the encoded size of a room in bytes, without its users, host name and video URL."""


MAX_DEPTH = 64
"""Largest depth of nested arrays and objects in a value that a caller writes. Every JSON parser can read this depth."""


def check_depth(record: Record, stored: Record | None = None) -> None:
    """Raise `ValueError` if a value of a record is nested more than `MAX_DEPTH` levels deep.

    Values that are not nested deeper than those of the stored record are accepted, because another client wrote them.
    """
    depth = max_depth(record)
    if depth > MAX_DEPTH and (stored is None or depth > max_depth(stored)):
        limit = f"arrays and objects must be nested at most {MAX_DEPTH} levels deep, got {depth}"
        raise ValueError(f"this {type(record).__name__} can't be stored: {limit}")


class SizeLimits:
    """Checks against the size limits of the settings.

    The checks accept values that the stored room already contains. A room that another client made too large can still
    be changed, unless the change makes it larger.
    """

    def __init__(self, settings: StoreSettings) -> None:
        self._settings = settings
        max_characters = settings.max_name_length + settings.max_url_length
        self._max_bytes_without_users = _FIXED + MAX_BYTES_PER_CHAR * max_characters

    def check_message(self, message: ChatMessage) -> None:
        """Raise `LimitExceededError` if the text or the user name of a message is too long."""
        self._check_length("message text (max_message_length)", message.message, self._settings.max_message_length)
        self._check_name("user name", message.user_name)

    def check_user(self, user: User) -> None:
        """Raise `LimitExceededError` if the name of a user is too long."""
        self._check_name("user name", user.name)

    def check_url(self, url: str) -> None:
        """Raise `LimitExceededError` if a video URL is too long."""
        self._check_length("video URL (max_url_length)", url, self._settings.max_url_length)

    def check_growth(self, before: Room | None, after: Room) -> Room:
        """Return `after`. Raise `LimitExceededError` if it exceeds a limit and is larger than `before`."""
        users, users_before = len(after.users), len(before.users) if before else 0
        max_users, max_bytes = self._settings.max_users_per_room, self._settings.max_room_bytes
        if users > max(users_before, max_users):
            raise LimitExceededError("number of users in the room (max_users_per_room)", limit=max_users, actual=users)
        if self._max_encoded_size(after) > max_bytes:
            size = len(to_wire(after))
            if size > max_bytes and (before is None or size > len(to_wire(before))):
                raise LimitExceededError("size of the room in bytes (max_room_bytes)", limit=max_bytes, actual=size)
        return after

    def check_room(self, before: Room | None, after: Room) -> Room:
        """Return `after`, a room made by a caller. Raise `LimitExceededError` if a name or the URL is too long.

        Names and a URL that `before` already contains are accepted. The size is checked as by `check_growth`.
        """
        if before is None or after.video_url != before.video_url:
            self.check_url(after.video_url or "")
        known: set[str] = set() if before is None else {before.host_name, *(user.name for user in before.users)}
        for name in {after.host_name, *(user.name for user in after.users)} - known:
            self._check_name("user or host name", name)
        return self.check_growth(before, after)

    def _max_encoded_size(self, room: Room) -> float:
        """Return an upper bound of the encoded size in bytes. Computing it is much cheaper than encoding the room."""
        if room.__pydantic_extra__ or room.video_state.__pydantic_extra__:
            return math.inf
        return self._max_bytes_without_users + max_encoded_bytes(room)

    def _check_name(self, kind: str, name: str) -> None:
        self._check_length(f"{kind} (max_name_length)", name, self._settings.max_name_length)

    @staticmethod
    def _check_length(what: str, text: str, limit: int) -> None:
        if len(text) > limit:
            raise LimitExceededError(f"length of the {what}", limit=limit, actual=len(text))
