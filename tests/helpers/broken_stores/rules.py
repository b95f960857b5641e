"""Mutants of the rules that change a room."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar

from broken_stores.mutant import Mutants
from wnc_store import Room, User, rules
from wnc_store.records.record import Record
from wnc_store.rules import create, join, leave, transfer_host  # bound before a mutant replaces them

Change = Callable[[Room, Room], Room]
RecordT = TypeVar("RecordT", bound=Record)

MUTANTS = Mutants()


def alters(rule: str, *killed_by: str, name: str | None = None) -> Callable[[Change], Change]:
    """Add a mutant of a rule whose result the decorated function alters; it takes the room before and after."""
    original: Callable[..., Room | None] = getattr(rules, rule)

    def collect(change: Change) -> Change:
        @functools.wraps(change)
        def broken(room: Room, *args: Any, **options: Any) -> Room | None:
            after = original(room, *args, **options)
            return after if after is None or after is room else change(room, after)

        MUTANTS.breaks((rules, rule), *killed_by, name=name)(broken)
        return change

    return collect


@alters("replace", "update_replaces_the_whole_room", "an_edit_can_remove_extra_fields")
def an_update_merges(before: Room, after: Room) -> Room:
    """Keep the host token if the new room has none."""
    return after.model_copy(update={"host_token": after.host_token or before.host_token})


@alters(
    "leave",
    "the_first_remaining_user_becomes_host",
    "cohosts_stay_hosts_when_the_host_leaves",
    "users_are_in_the_order_of_their_joins",
)
def the_last_user_becomes_host(before: Room, after: Room) -> Room:
    """Make the last user host instead of the first."""
    if after.host_id == before.host_id:
        return after
    return transfer_host(after, after.users[-1].id).model_copy(update={"rev": after.rev})


@alters("leave", "is_host_follows_the_host", "a_leave_is_published", "cohosts_stay_hosts_when_the_host_leaves")
def is_host_does_not_follow_the_host(before: Room, after: Room) -> Room:
    """Set host_id but not is_host of the new host."""
    return after.model_copy(update={"users": tuple(user for user in before.users if after.user(user.id))})


@alters("leave", "cohosts_stay_hosts_when_the_host_leaves")
def a_host_change_clears_cohosts(before: Room, after: Room) -> Room:
    """Clear is_host of co-hosts when the host leaves."""
    if after.host_id == before.host_id:
        return after
    users = tuple(user.model_copy(update={"is_host": user.id == after.host_id}) for user in after.users)
    return after.model_copy(update={"users": users})


@alters("leave", "host_name_follows_the_host", "a_leave_is_published")
def host_name_does_not_follow_the_host(before: Room, after: Room) -> Room:
    """Keep the old host's name."""
    return after.model_copy(update={"host_name": before.host_name})


@alters("leave", "the_host_token_stays", "a_leave_is_published")
def a_host_change_clears_the_token(before: Room, after: Room) -> Room:
    """Clear the host token when the host leaves."""
    return after if after.host_id == before.host_id else after.model_copy(update={"host_token": None})


@MUTANTS.breaks(
    (rules, "leave"),
    "the_last_leave_deletes_the_room",
    "the_last_leave_deletes_the_chat",
    "concurrent_leaves_delete_the_room",
    "deleted_rooms_are_not_listed",
    "a_deleted_room_is_published",
    "a_cancelled_write_of_a_room_publishes_its_event",
    "active_rooms_are_live",
)
def an_empty_room_is_kept(room: Room, user_id: str, **options: bool) -> Room:
    """Keep a room that its last user left."""
    return leave(room, user_id, **options) or rules._revised(room, users=())


@MUTANTS.breaks((rules, "leave"), "removing_an_unknown_user_has_no_effect", "calls_without_effect_are_not_published")
def removing_an_unknown_user_is_a_write(room: Room, user_id: str, **options: bool) -> Room | None:
    """Store an unchanged room."""
    after = leave(room, user_id, **options)
    return rules._revised(room) if after is room and room.users else after


@MUTANTS.breaks((rules, "leave"), "removing_an_unknown_user_keeps_an_empty_room")
def removing_an_unknown_user_deletes_an_empty_room(room: Room, user_id: str, **options: bool) -> Room | None:
    """Delete a room without users after any leave, as the Node app does."""
    return leave(room, user_id, **options) if room.users else None


@MUTANTS.breaks(
    (rules, "join"),
    "a_rejoin_moves_the_user_to_the_end",
    "a_full_room_rejects_joins",
    "a_join_is_published",
    "the_host_rejoins_as_host",
    "a_user_who_is_in_a_room_twice",
)
def a_rejoin_duplicates_the_user(room: Room, user: User) -> Room:
    """Append a user who is in the room already."""
    return rules._revised(room, users=(*room.users, user))


@alters(
    "join",
    "a_rejoin_moves_the_user_to_the_end",
    "a_join_is_published",
    "any_user_id_is_accepted",
    "a_user_who_is_in_a_room_twice",
)
def a_rejoin_keeps_the_position(before: Room, after: Room) -> Room:
    """Keep the position of a user who rejoins."""
    if len(after.users) > len(before.users):
        return after
    user = after.users[-1]
    return after.model_copy(update={"users": tuple(user if old.id == user.id else old for old in before.users)})


@alters("join", "a_join_changes_only_the_users")
def a_join_sets_the_host(_before: Room, after: Room) -> Room:
    """Make a user host who joins with is_host set."""
    user = after.users[-1]
    return after.model_copy(update={"host_id": user.id, "host_name": user.name}) if user.is_host else after


@alters("join", "the_host_rejoins_as_host")
def a_host_rejoins_as_a_guest(before: Room, after: Room) -> Room:
    """Keep host_id but clear is_host of a host who joins again."""
    user = after.users[-1].model_copy(update={"is_host": False})
    return after.model_copy(update={"users": (*after.users[:-1], user)}) if user.id == before.host_id else after


@MUTANTS.breaks((rules, "_with_host_flag"), "the_user_whom_host_id_names_is_a_host")
def a_written_host_is_not_checked(room: Room) -> Room:
    """Store is_host as the caller passed it."""
    return room


@MUTANTS.breaks((rules, "join"), "a_rejoin_keeps_extra_fields")
def a_rejoin_drops_the_users_extra_fields(room: Room, user: User) -> Room:
    """Drop the extra fields of a user who rejoins."""
    return join(room.model_copy(update={"users": rules._without(room.users, user.id)}), user)


@alters("transfer_host", "a_transfer_clears_is_host_of_the_old_host", "a_host_transfer_is_published")
def a_transfer_keeps_is_host_of_the_old_host(before: Room, after: Room) -> Room:
    """Keep is_host of the old host."""
    users = (user.model_copy(update={"is_host": user.is_host or user.id == before.host_id}) for user in after.users)
    return after.model_copy(update={"users": tuple(users)})


@MUTANTS.breaks(
    (rules, "transfer_host"),
    "a_transfer_requires_the_user",
    "calls_without_effect_are_not_published",
    "a_refused_transfer_keeps_the_host_token",
)
def a_transfer_accepts_an_unknown_user(room: Room, user_id: str, **options: str) -> Room:
    """Make a user host who is not in the room."""
    return transfer_host(room, user_id, **options) if room.user(user_id) else rules._revised(room, host_id=user_id)


def with_video_state(room: Room, **changes: object) -> Room:
    """Return the room with changes to its video state."""
    return room.model_copy(update={"video_state": room.video_state.model_copy(update=changes)})


@alters("set_video", "a_new_video_resets_the_state")
def a_new_video_keeps_the_position(before: Room, after: Room) -> Room:
    """Keep the position of the old video."""
    return with_video_state(after, current_time=before.video_state.current_time)


@alters("set_video", "a_new_video_sets_the_update_time")
def the_update_time_is_in_seconds(_before: Room, after: Room) -> Room:
    """Set last_update_time in seconds."""
    return with_video_state(after, last_update_time=after.video_state.last_update_time // 1000)


def with_old_revision(before: Room, after: Room) -> Room:
    """Restore the revision of the room."""
    return after.model_copy(update={"rev": before.rev})


ALL_JOINS = (
    "concurrent_joins_are_all_published",
    "concurrent_changes_of_two_clients_are_ordered",
    "create_room_increments_the_given_revision",
    "a_cancelled_write_of_a_room_publishes_its_event",
)
EQUAL = "equal_writes_increment_the_revision"
for rule, method, *others in (
    ("join", "add_user_to_room", "a_join_is_published", *ALL_JOINS, EQUAL, "one_of_many_rotations_prevails"),
    ("leave", "remove_user_from_room", "a_leave_is_published"),
    (
        "transfer_host",
        "transfer_host",
        "a_host_transfer_is_published",
        EQUAL,
        "a_rotation_is_published_without_the_token",
        "a_transfer_can_rotate_the_host_token",
    ),
    ("update_video_state", "update_video_state", "video_changes_are_published", EQUAL),
    ("set_video", "set_video_url", "video_changes_are_published", EQUAL),
):
    alters(
        rule,
        f"{method}_increments_the_revision",
        "a_change_can_be_read_when_its_event_arrives",
        *others,
        name=f"{rule} does not increment rev",
    )(with_old_revision)


def without_extra(record: RecordT) -> RecordT:
    """Return a record without its extra fields."""
    return type(record)(**{name: getattr(record, name) for name in type(record).model_fields})


def without_extra_fields(_before: Room, after: Room) -> Room:
    """Drop the extra fields of a room."""
    return without_extra(after)


def without_extra_state_fields(_before: Room, after: Room) -> Room:
    """Drop the extra fields of a video state."""
    return after.model_copy(update={"video_state": without_extra(after.video_state)})


for rule, change, *clauses in (
    (
        "join",
        without_extra_fields,
        "a_join_keeps_extra_fields",
        "a_rejoin_keeps_extra_fields",
        "text_is_stored_unchanged",
        "integers_are_stored_unchanged",
        "deep_values_of_a_room_are_limited",
        "concurrent_changes_of_two_clients_are_all_kept",
    ),
    ("leave", without_extra_fields, "a_leave_keeps_extra_fields"),
    (
        "transfer_host",
        without_extra_fields,
        "a_transfer_keeps_extra_fields",
        "concurrent_changes_of_two_clients_are_all_kept",
    ),
    ("set_video", without_extra_state_fields, "a_new_video_keeps_extra_fields"),
    (
        "update_video_state",
        without_extra_state_fields,
        "a_video_state_keeps_extra_fields",
        "deep_values_of_a_room_are_limited",
        "an_oversized_room_is_rejected",
    ),
):
    alters(rule, *clauses, name=f"{rule} drops extra fields")(change)


@alters("leave", "cohosts_stay_hosts_when_the_host_leaves")
def a_cohost_becomes_host(before: Room, after: Room) -> Room:
    """Make the first co-host the host instead of the first user."""
    cohosts = [user.id for user in before.users if user.is_host and after.user(user.id)]
    if after.host_id == before.host_id or not cohosts:
        return after
    host = after.user(cohosts[0])
    assert host is not None
    users = [before.user(user.id) or user for user in after.users]
    return after.model_copy(update={"users": tuple(users), "host_id": host.id, "host_name": host.name})


@alters("join", "a_join_changes_only_the_users")
def a_rejoin_of_the_host_renames_the_host(_before: Room, after: Room) -> Room:
    """Copy the name of the host from the user who joins."""
    joined = after.users[-1]
    return after.model_copy(update={"host_name": joined.name}) if joined.id == after.host_id else after


@alters("join", "users_are_in_the_order_of_their_joins")
def users_are_sorted_by_joined_at(_before: Room, after: Room) -> Room:
    """Sort the users by the time in their records, as ORDER BY does."""
    return after.model_copy(update={"users": tuple(sorted(after.users, key=lambda user: str(user.joined_at)))})


@alters("join", "only_a_leave_of_the_host_changes_the_host")
def the_first_user_becomes_host(before: Room, after: Room) -> Room:
    """Make the user who joins an empty room its host."""
    return after if before.users else transfer_host(after, after.users[0].id).model_copy(update={"rev": after.rev})


@MUTANTS.breaks((rules, "leave"), "a_user_who_is_in_a_room_twice")
def one_entry_of_a_user_leaves(room: Room, user_id: str, **options: bool) -> Room | None:
    """Remove only the first entry of a user."""
    entries = [user for user in room.users if user.id == user_id]
    if len(entries) < 2:
        return leave(room, user_id, **options)
    first = room.users.index(entries[0])
    users = (*room.users[:first], *room.users[first + 1 :])
    return room.model_copy(update={"users": users, "rev": room.rev + 1})


@MUTANTS.breaks((rules, "create"), "create_room_increments_the_given_revision")
def a_new_room_has_revision_1(room: Room) -> Room:
    """Set the revision of a new room to 1, and ignore the given one."""
    return create(room).model_copy(update={"rev": 1})


@alters("join", "create_room_increments_the_given_revision")
def revisions_have_32_bits(_before: Room, after: Room) -> Room:
    """Keep the revision in 32 bits."""
    return after.model_copy(update={"rev": after.rev % 2**32})


@alters("update_video_state", "equal_writes_increment_the_revision")
def an_equal_state_keeps_the_revision(before: Room, after: Room) -> Room:
    """Keep the revision if the new state equals the old one."""
    return after.model_copy(update={"rev": before.rev}) if after.video_state == before.video_state else after


@alters("edit", "an_edit_can_remove_extra_fields")
def an_edit_merges_extra_fields(before: Room, after: Room) -> Room:
    """Keep extra fields that the change removes, as a JSON merge does."""
    return after.with_extra({**before.model_extra, **after.model_extra})


@alters("replace", "update_replaces_the_whole_room")
def an_update_keeps_the_time_of_creation(before: Room, after: Room) -> Room:
    """Keep created_at, as a column that is only inserted does."""
    return after.model_copy(update={"created_at": before.created_at})
