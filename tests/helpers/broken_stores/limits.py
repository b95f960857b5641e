"""Mistakes in how large things may be."""

from __future__ import annotations

from broken_stores.mutant import Mistakes
from wnc_store import ChatMessage, LimitExceededError, Room, User
from wnc_store.base.size_limits import SizeLimits

MUTANTS = Mistakes()

growth = SizeLimits.check_growth


@MUTANTS.breaks((SizeLimits, "check_message"), "a_long_message_is_rejected", "a_long_name_in_a_message_is_rejected")
def any_message_goes(_self: SizeLimits, _message: ChatMessage) -> None:
    """A message may be as long as it likes."""


@MUTANTS.breaks((SizeLimits, "check_user"), "a_long_name_is_rejected")
def any_name_goes(_self: SizeLimits, _user: User) -> None:
    """A user's name may be as long as it likes."""


@MUTANTS.breaks((SizeLimits, "check_url"), "a_long_url_is_rejected")
def any_url_goes(_self: SizeLimits, _url: str) -> None:
    """A URL may be as long as it likes."""


@MUTANTS.breaks(
    (SizeLimits, "check_growth"),
    "a_full_room_rejects_joins",
    "an_oversized_room_is_rejected",
    "existing_oversized_data_is_accepted",
)
def a_room_grows_without_end(_self: SizeLimits, _before: Room | None, after: Room) -> Room:
    """A room may be as large as it likes."""
    return after


@MUTANTS.breaks((SizeLimits, "check_growth"), "a_full_room_rejects_joins")
def a_full_room_may_overflow_by_one(self: SizeLimits, before: Room | None, after: Room) -> Room:
    """The room that is full takes one more."""
    try:
        return growth(self, before, after)
    except LimitExceededError as error:
        if "users" in error.what and error.actual == error.limit + 1 and error.limit > 1:
            return after
        raise


@MUTANTS.breaks((SizeLimits, "check_growth"), "existing_oversized_data_is_accepted")
def what_is_carried_is_refused(self: SizeLimits, _before: Room | None, after: Room) -> Room:
    """A room that was too large before can't be changed any more."""
    return growth(self, None, after)
