"""How large things may be: checked on what a caller writes, never on what is only read or only carried along."""

from __future__ import annotations

import math

from wnc_store.errors import LimitExceededError
from wnc_store.records.codec import to_wire
from wnc_store.records.encode import MAX_BYTES_PER_CHAR
from wnc_store.records.models import ChatMessage, Room, User
from wnc_store.records.user_index import max_encoded_bytes
from wnc_store.settings import StoreSettings

_FIXED = 2048
"""More bytes than a room takes beside its users, the host's name and the video's URL."""


class SizeLimits:
    """The limits of some settings."""

    def __init__(self, settings: StoreSettings) -> None:
        self._settings = settings
        self._most_bytes_beside_users = _FIXED + MAX_BYTES_PER_CHAR * (
            settings.max_name_length + settings.max_url_length
        )

    def check_message(self, message: ChatMessage) -> None:
        """Check a message's text and its writer's name.

        Raises:
            LimitExceededError: one of them is too long.
        """
        self._length("the message's text", message.message, self._settings.max_message_length)
        self._length("the user's name", message.user_name, self._settings.max_name_length)

    def check_user(self, user: User) -> None:
        """Check a user's name.

        Raises:
            LimitExceededError: it is too long.
        """
        self._length("the user's name", user.name, self._settings.max_name_length)

    def check_url(self, url: str) -> None:
        """Check a video's URL.

        Raises:
            LimitExceededError: it is too long.
        """
        self._length("the video's URL", url, self._settings.max_url_length)

    def check_growth(self, before: Room | None, after: Room) -> Room:
        """Check that a room does not grow beyond the users and bytes that are allowed; return it.

        A room that another writer left larger than that may still change, as long as it does not grow.

        Raises:
            LimitExceededError: it would.
        """
        users, users_before = len(after.users), len(before.users) if before else 0
        if users > max(users_before, self._settings.max_users_per_room):
            self._refuse("the number of users", self._settings.max_users_per_room, users)
        most = self._settings.max_room_bytes
        if self._max_encoded_size(after) > most:
            size = len(to_wire(after))
            if size > most and (before is None or size > len(to_wire(before))):
                self._refuse("the bytes of the room", most, size)
        return after

    def check_room(self, before: Room | None, after: Room) -> Room:
        """Check all of a room that a caller made; return it. What was as long before may stay.

        Raises:
            LimitExceededError: something is new and too long, or the room grows too large.
        """
        if before is None or after.video_url != before.video_url:
            self.check_url(after.video_url or "")
        known: set[str] = set() if before is None else {before.host_name, *(user.name for user in before.users)}
        for name in {after.host_name, *(user.name for user in after.users)} - known:
            self._length("a name", name, self._settings.max_name_length)
        return self.check_growth(before, after)

    def _max_encoded_size(self, room: Room) -> float:
        """Return bytes that a room of ours does not exceed: only where that does not settle it, it is written out."""
        if room.__pydantic_extra__ or room.video_state.__pydantic_extra__:
            return math.inf
        return self._most_bytes_beside_users + max_encoded_bytes(room)

    def _length(self, what: str, text: str, limit: int) -> None:
        if len(text) > limit:
            self._refuse(f"the length of {what}", limit, len(text))

    def _refuse(self, what: str, limit: int, found: int) -> None:
        raise LimitExceededError(what, limit=limit, found=found)
