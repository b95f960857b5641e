"""Limits of the size and depth of the rooms, users, messages and events that callers write."""

from __future__ import annotations

from wnc_store.errors import LimitExceededError
from wnc_store.records.codec import to_wire
from wnc_store.records.models import ChatMessage, Room, User
from wnc_store.records.record import Record, max_depth
from wnc_store.rules import max_encoded_bytes, remember_size
from wnc_store.settings import StoreSettings

MAX_DEPTH = 64
"""Largest depth of nested arrays and objects in a value that a caller writes. Every JSON parser can read this depth."""


def check_depth(record: Record, stored: Record | None = None) -> None:
    """Raise `ValueError` if a value of a record is nested more than `MAX_DEPTH` levels deep.

    A record that is not nested deeper than the stored one is accepted, because another client wrote the deep value.
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
        self._max_message_length = settings.max_message_length
        self._max_name_length = settings.max_name_length
        self._max_url_length = settings.max_url_length
        self._max_users = settings.max_users_per_room
        self._max_room_bytes = settings.max_room_bytes

    def check_message(self, message: ChatMessage) -> None:
        """Raise `LimitExceededError` if the text or the user name of a message is too long."""
        if len(message.message) > self._max_message_length:
            raise _too_long("message text (max_message_length)", message.message, self._max_message_length)
        if len(message.user_name) > self._max_name_length:
            raise _too_long("user name (max_name_length)", message.user_name, self._max_name_length)

    def check_edit(self, before: ChatMessage, after: ChatMessage) -> None:
        """Raise `LimitExceededError` if an edit makes the text or the user name of a message too long.

        A text or name that another client made too long is accepted if the edit does not make it longer.
        """
        if len(after.message) > max(self._max_message_length, len(before.message)):
            raise _too_long("message text (max_message_length)", after.message, self._max_message_length)
        if len(after.user_name) > max(self._max_name_length, len(before.user_name)):
            raise _too_long("user name (max_name_length)", after.user_name, self._max_name_length)

    def check_user(self, user: User) -> None:
        """Raise `LimitExceededError` if the name of a user is too long."""
        if len(user.name) > self._max_name_length:
            raise _too_long("user name (max_name_length)", user.name, self._max_name_length)

    def check_url(self, url: str) -> None:
        """Raise `LimitExceededError` if a video URL is too long."""
        if len(url) > self._max_url_length:
            raise _too_long("video URL (max_url_length)", url, self._max_url_length)

    def check_growth(self, before: Room | None, after: Room) -> Room:
        """Return `after`. Raise `LimitExceededError` if it exceeds a limit and is larger than `before`."""
        users = len(after.users)
        if users > self._max_users and (before is None or users > len(before.users)):
            what = "number of users in the room (max_users_per_room)"
            raise LimitExceededError(what, limit=self._max_users, actual=users)
        limit = self._max_room_bytes
        if max_encoded_bytes(after) > limit:  # much cheaper than encoding the room
            size = len(to_wire(after))
            if size > limit and (before is None or size > len(to_wire(before))):
                raise LimitExceededError("size of the room in bytes (max_room_bytes)", limit=limit, actual=size)
            remember_size(after, size)
        return after

    def check_room(self, before: Room | None, after: Room) -> Room:
        """Return `after`, a room made by a caller. Raise `LimitExceededError` if a name or the URL is too long.

        Names and a URL that `before` already contains are accepted. The size is checked as by `check_growth`.
        """
        if before is None or after.video_url != before.video_url:
            self.check_url(after.video_url or "")
        known: set[str] = set() if before is None else {before.host_name, *(user.name for user in before.users)}
        for name in {after.host_name, *(user.name for user in after.users)} - known:
            if len(name) > self._max_name_length:
                raise _too_long("user or host name (max_name_length)", name, self._max_name_length)
        return self.check_growth(before, after)


def _too_long(what: str, text: str, limit: int) -> LimitExceededError:
    return LimitExceededError(f"length of the {what}", limit=limit, actual=len(text))
