"""Mistakes in the rules that change a room."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar

from broken_stores.mutant import Mistakes
from wnc_store import Room, User, rules
from wnc_store.records.models import Record
from wnc_store.rules import join, leave, transfer_host  # the right ones, whatever is broken

Change = Callable[[Room, Room], Room]
RecordT = TypeVar("RecordT", bound=Record)

MUTANTS = Mistakes()


def spoils(rule: str, *reds: str, name: str | None = None) -> Callable[[Change], Change]:
    """Collect a mistake in what a rule makes of a room: the decorated function is given the room before and after."""
    right: Callable[..., Room | None] = getattr(rules, rule)

    def collect(change: Change) -> Change:
        @functools.wraps(change)
        def broken(room: Room, *args: Any, **options: Any) -> Room | None:
            after = right(room, *args, **options)
            return after if after is None or after is room else change(room, after)

        MUTANTS.breaks((rules, rule), *reds, name=name)(broken)
        return change

    return collect


@spoils("replace", "update_replaces_the_whole_room")
def an_update_merges(before: Room, after: Room) -> Room:
    """A host token that is not given stays."""
    return after.model_copy(update={"host_token": after.host_token or before.host_token})


@spoils("leave", "the_first_remaining_user_becomes_host")
def the_last_becomes_host(before: Room, after: Room) -> Room:
    """The host hands over to the last user instead of the first."""
    if after.host_id == before.host_id:
        return after
    return transfer_host(after, after.users[-1].id).model_copy(update={"rev": after.rev})


@spoils("leave", "is_host_follows_the_host", "a_leave_is_published")
def the_rank_is_not_handed_over(before: Room, after: Room) -> Room:
    """The new host has the id and not `is_host`."""
    return after.model_copy(update={"users": tuple(user for user in before.users if after.user(user.id))})


@spoils("leave", "cohosts_stay_hosts_when_the_host_leaves")
def a_handover_ends_all_other_ranks(before: Room, after: Room) -> Room:
    """Co-hosts are hosts no longer when the host has left."""
    if after.host_id == before.host_id:
        return after
    users = tuple(user.model_copy(update={"is_host": user.id == after.host_id}) for user in after.users)
    return after.model_copy(update={"users": users})


@spoils("leave", "host_name_follows_the_host", "a_leave_is_published")
def the_name_is_not_handed_over(before: Room, after: Room) -> Room:
    """The room still bears the old host's name."""
    return after.model_copy(update={"host_name": before.host_name})


@spoils("leave", "the_host_token_stays", "a_leave_is_published")
def the_host_token_goes_with_the_host(before: Room, after: Room) -> Room:
    """The new host has no token."""
    return after if after.host_id == before.host_id else after.model_copy(update={"host_token": None})


@MUTANTS.breaks(
    (rules, "leave"),
    "the_last_leave_deletes_the_room",
    "the_last_leave_deletes_the_chat",
    "concurrent_leaves_delete_the_room",
    "deleted_rooms_are_not_listed",
    "a_deleted_room_is_published",
)
def an_empty_room_is_kept(room: Room, user_id: str) -> Room:
    """The last one out leaves a room that nobody is in."""
    return leave(room, user_id) or rules._revised(room, users=())


@MUTANTS.breaks((rules, "leave"), "removing_an_unknown_user_has_no_effect", "calls_without_effect_are_not_published")
def the_leave_of_a_stranger_is_a_write(room: Room, user_id: str) -> Room | None:
    """A user who is not there changes nothing, and yet it is written."""
    after = leave(room, user_id)
    return rules._revised(room) if after is room and room.users else after


@MUTANTS.breaks((rules, "leave"), "removing_an_unknown_user_keeps_an_empty_room")
def the_leave_of_a_stranger_deletes(room: Room, user_id: str) -> Room | None:
    """A room that is empty after a leave is deleted, whoever left: the original's way."""
    return leave(room, user_id) if room.users else None


@MUTANTS.breaks(
    (rules, "join"), "a_rejoin_moves_the_user_to_the_end", "a_full_room_rejects_joins", "a_join_is_published"
)
def a_rejoin_duplicates(room: Room, user: User) -> Room:
    """A user who is there already is added once more."""
    return rules._revised(room, users=(*room.users, user))


@spoils("join", "a_rejoin_moves_the_user_to_the_end", "a_join_is_published")
def a_rejoin_keeps_its_place(before: Room, after: Room) -> Room:
    """A user who joins again stays where they were."""
    if len(after.users) > len(before.users):
        return after
    user = after.users[-1]
    return after.model_copy(update={"users": tuple(user if one.id == user.id else one for one in before.users)})


@spoils("join", "a_join_changes_only_the_users")
def a_join_takes_the_room_over(_before: Room, after: Room) -> Room:
    """A user who says that they are host is believed."""
    user = after.users[-1]
    return after.model_copy(update={"host_id": user.id, "host_name": user.name}) if user.is_host else after


@MUTANTS.breaks((rules, "join"), "a_rejoin_keeps_extra_fields")
def a_rejoin_drops_unknown_fields_of_the_user(room: Room, user: User) -> Room:
    """A user who joins again leaves nothing of what they were."""
    return join(room.model_copy(update={"users": rules._without(room.users, user.id)}), user)


@spoils("transfer_host", "a_transfer_clears_is_host_of_the_old_host", "a_host_transfer_is_published")
def a_transfer_leaves_the_old_host_the_rank(before: Room, after: Room) -> Room:
    """The old host is one of two hosts."""
    users = (user.model_copy(update={"is_host": user.is_host or user.id == before.host_id}) for user in after.users)
    return after.model_copy(update={"users": tuple(users)})


@MUTANTS.breaks((rules, "transfer_host"), "a_transfer_requires_the_user", "calls_without_effect_are_not_published")
def a_transfer_goes_to_anybody(room: Room, user_id: str) -> Room:
    """A stranger becomes host."""
    return transfer_host(room, user_id) if room.user(user_id) else rules._revised(room, host_id=user_id)


def with_video_state(room: Room, **changes: object) -> Room:
    """Return a room with another video state."""
    return room.model_copy(update={"video_state": room.video_state.model_copy(update=changes)})


@spoils("set_video", "a_new_video_resets_the_state")
def a_new_video_keeps_its_place(before: Room, after: Room) -> Room:
    """The new video starts where the old one was."""
    return with_video_state(after, current_time=before.video_state.current_time)


@spoils("set_video", "a_new_video_sets_the_update_time")
def a_new_video_is_stamped_in_seconds(_before: Room, after: Room) -> Room:
    """The time of the change is not in milliseconds."""
    return with_video_state(after, last_update_time=after.video_state.last_update_time // 1000)


def with_old_revision(before: Room, after: Room) -> Room:
    """Leave a room the revision that it had."""
    return after.model_copy(update={"rev": before.rev})


ALL_JOINS = ("concurrent_joins_are_all_published", "concurrent_changes_of_two_clients_are_ordered")
for rule, method, *others in (
    ("join", "add_user_to_room", "a_join_is_published", *ALL_JOINS),
    ("leave", "remove_user_from_room", "a_leave_is_published"),
    ("transfer_host", "transfer_host", "a_host_transfer_is_published"),
    ("update_video_state", "update_video_state", "video_changes_are_published"),
    ("set_video", "set_video_url", "video_changes_are_published"),
):
    spoils(rule, f"{method}_increments_the_revision", *others, name=f"{rule} does not raise rev")(with_old_revision)


def plain(record: RecordT) -> RecordT:
    """Return a record without its unknown fields."""
    return type(record)(**{name: getattr(record, name) for name in type(record).model_fields})


def without_unknown_fields(_before: Room, after: Room) -> Room:
    """Drop the unknown fields of a room."""
    return plain(after)


def without_unknown_fields_of_the_state(_before: Room, after: Room) -> Room:
    """Drop the unknown fields of a video state."""
    return after.model_copy(update={"video_state": plain(after.video_state)})


for rule, change, *clauses in (
    (
        "join",
        without_unknown_fields,
        "a_join_keeps_extra_fields",
        "a_rejoin_keeps_extra_fields",
        "text_is_stored_unchanged",
        "integers_are_stored_unchanged",
        "concurrent_changes_of_two_clients_are_all_kept",
    ),
    ("leave", without_unknown_fields, "a_leave_keeps_extra_fields"),
    (
        "transfer_host",
        without_unknown_fields,
        "a_transfer_keeps_extra_fields",
        "concurrent_changes_of_two_clients_are_all_kept",
    ),
    ("set_video", without_unknown_fields_of_the_state, "a_new_video_keeps_extra_fields"),
    (
        "update_video_state",
        without_unknown_fields_of_the_state,
        "a_video_state_keeps_extra_fields",
        "an_oversized_room_is_rejected",
    ),
):
    spoils(rule, *clauses, name=f"{rule} drops unknown fields")(change)
