"""Mutants of size limits."""

from __future__ import annotations

from unittest.mock import patch

from broken_stores.mutant import Mutants
from wnc_store import ChatMessage, LimitExceededError, Room, User
from wnc_store.base import BaseRoomStore, chat, events, rooms
from wnc_store.base.size_limits import SizeLimits
from wnc_store.records.record import Record

MUTANTS = Mutants()

set_video_url = BaseRoomStore.set_video_url

check_growth, check_room = SizeLimits.check_growth, SizeLimits.check_room
init_error = LimitExceededError.__init__


@MUTANTS.breaks((SizeLimits, "check_message"), "a_long_message_is_rejected", "a_long_name_in_a_message_is_rejected")
def messages_have_no_size_limit(_self: SizeLimits, _message: ChatMessage) -> None:
    """Accept messages of any length."""


@MUTANTS.breaks((rooms, "check_depth"), "deep_values_of_a_room_are_limited")
def rooms_have_no_depth_limit(_record: Record, _stored: Record | None = None) -> None:
    """Accept extra fields of any depth in a room."""


@MUTANTS.breaks(
    (chat, "check_depth"),
    "deep_values_of_a_message_are_limited",
    "an_edit_to_an_invalid_message_is_rejected",
)
def messages_have_no_depth_limit(_message: ChatMessage, _stored: ChatMessage | None = None) -> None:
    """Accept extra fields of any depth in a message."""


@MUTANTS.breaks((events, "check_depth"), "deep_values_of_an_event_are_limited")
def events_have_no_depth_limit(_event: Record) -> None:
    """Accept values of any depth in an event."""


@MUTANTS.breaks((SizeLimits, "check_user"), "a_long_name_is_rejected", "an_exceeded_limit_is_described")
def names_have_no_size_limit(_self: SizeLimits, _user: User) -> None:
    """Accept names of any length."""


@MUTANTS.breaks((SizeLimits, "check_url"), "a_long_url_is_rejected", "every_write_of_a_room_checks_the_limits")
def urls_have_no_size_limit(_self: SizeLimits, _url: str) -> None:
    """Accept URLs of any length."""


@MUTANTS.breaks(
    (SizeLimits, "check_growth"),
    "a_full_room_rejects_joins",
    "an_oversized_room_is_rejected",
    "existing_oversized_data_is_accepted",
    "an_exceeded_limit_is_described",
    "a_long_url_counts_towards_the_size_of_the_room",
    "every_write_of_a_room_checks_the_limits",
    "a_rotation_keeps_to_the_size_limit",
)
def rooms_have_no_size_limit(_self: SizeLimits, _before: Room | None, after: Room) -> Room:
    """Accept rooms of any size."""
    return after


@MUTANTS.breaks((SizeLimits, "check_growth"), "a_full_room_rejects_joins", "every_write_of_a_room_checks_the_limits")
def a_full_room_accepts_one_more_user(self: SizeLimits, before: Room | None, after: Room) -> Room:
    """Accept one user more than the limit."""
    try:
        return check_growth(self, before, after)
    except LimitExceededError as error:
        if "users" in error.what and error.actual == error.limit + 1 and error.limit > 1:
            return after
        raise


@MUTANTS.breaks((SizeLimits, "check_growth"), "existing_oversized_data_is_accepted")
def existing_oversized_data_is_rejected(self: SizeLimits, _before: Room | None, after: Room) -> Room:
    """Reject every change of a room that exceeds the limits already."""
    return check_growth(self, None, after)


@MUTANTS.breaks((SizeLimits, "check_room"), "every_write_of_a_room_checks_the_limits")
def updates_have_no_limit_of_names(self: SizeLimits, before: Room | None, after: Room) -> Room:
    """Check the names and the URL of new rooms only."""
    return check_room(self, before, after) if before is None else self.check_growth(before, after)


@MUTANTS.breaks((LimitExceededError, "__init__"), "an_exceeded_limit_is_described")
def the_actual_value_is_the_limit(self: LimitExceededError, what: str, *, limit: int, actual: int) -> None:
    """Report the limit as the value that exceeds it."""
    init_error(self, what, limit=limit, actual=min(actual, limit))


def unchecked(_before: Room | None, after: Room) -> Room:
    """Return the room."""
    return after


@MUTANTS.breaks((BaseRoomStore, "set_video_url"), "a_long_url_counts_towards_the_size_of_the_room")
async def a_url_does_not_count_towards_the_size(
    self: BaseRoomStore, room_id: str, video_url: str, video_type: str = "youtube"
) -> Room:
    """Check only the length of a URL from 2,049 to 8,192 characters."""
    if not 2048 < len(str(video_url)) <= 8192:
        return await set_video_url(self, room_id, video_url, video_type)
    with patch.object(self._limits, "check_growth", unchecked):
        return await set_video_url(self, room_id, video_url, video_type)
