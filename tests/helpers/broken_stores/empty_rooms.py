"""Mutants of rooms that wait for users."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

from broken_stores.mutant import Mutants
from redis_harnesses import FakeHarness
from wnc_store import Room, rules
from wnc_store.base import RoomTtls
from wnc_store.rules import has_waited, is_waiting, leave, replace  # bound before a mutant replaces them
from wnc_store_memory.rooms import MemoryRoomStore

MUTANTS = Mutants()
REDIS_MUTANTS = Mutants(FakeHarness)

iter_ids = MemoryRoomStore._iter_ids
end_wait, revised = rules._end_wait, rules._revised
room_ttl, chat_ttl = RoomTtls.room, RoomTtls.chat

ALL = (
    "the_last_leave_can_keep_the_room",
    "a_room_waits_for_empty_room_ttl",
    "a_room_can_wait_longer_than_room_ttl",
    "a_room_that_waits_is_listed",
    "the_chat_waits_with_its_room",
    "the_former_host_returns_as_host",
    "another_user_becomes_host_of_a_room_that_waits",
    "a_write_renews_the_wait",
    "a_leave_from_a_room_that_waits_has_no_effect",
    "a_concurrent_last_leave_and_join_have_a_host",
    "a_client_without_empty_room_ttl_ends_the_wait",
    "a_room_that_waits_is_published",
    "an_edit_can_end_a_wait",
    "an_edit_can_bring_the_former_host_back",
)


@MUTANTS.breaks((rules, "leave"), *ALL)
def empty_rooms_never_wait(room: Room, user_id: str, **_options: Any) -> Room | None:
    """Ignore the setting, and delete the room with its last user."""
    return leave(room, user_id)


@MUTANTS.breaks(
    (rules, "leave"),
    "the_last_leave_can_keep_the_room",
    "the_former_host_returns_as_host",
    "a_room_that_waits_is_published",
)
def a_last_leave_clears_the_host_name(room: Room, user_id: str, **options: Any) -> Room | None:
    """Clear the name of the host who has left."""
    after = leave(room, user_id, **options)
    return after if after is None or after.users or after is room else after.model_copy(update={"host_name": ""})


@MUTANTS.breaks(
    (RoomTtls, "room"),
    "a_room_waits_for_empty_room_ttl",
    "a_room_can_wait_longer_than_room_ttl",
    "a_room_that_waits_is_listed",
    "a_write_renews_the_wait",
    "a_leave_from_a_room_that_waits_has_no_effect",
)
def a_room_waits_for_room_ttl(self: RoomTtls, _after: Room) -> timedelta:
    """Give a room that waits its ordinary TTL."""
    return self._room_ttl


@MUTANTS.breaks(
    (RoomTtls, "chat"),
    "the_chat_waits_with_its_room",
    "a_write_renews_the_wait",
)
def the_chat_keeps_its_ttl(self: RoomTtls, before: Room, after: Room) -> timedelta | None:
    """Leave the TTL of the chat unchanged when the wait begins and during it."""
    return None if is_waiting(after) else chat_ttl(self, before, after)


@MUTANTS.breaks(
    (RoomTtls, "chat"),
    "the_chat_waits_with_its_room",
    "a_client_without_empty_room_ttl_ends_the_wait",
    "an_edit_can_end_a_wait",
)
def the_chat_ends_with_the_wait(self: RoomTtls, before: Room, after: Room) -> timedelta | None:
    """Leave the short TTL of the chat unchanged when a user joins."""
    return chat_ttl(self, before, after) if is_waiting(after) else None


@MUTANTS.breaks(
    (rules, "_end_wait"),
    "another_user_becomes_host_of_a_room_that_waits",
    "a_concurrent_last_leave_and_join_have_a_host",
    "a_client_without_empty_room_ttl_ends_the_wait",
    "a_room_that_waits_is_published",
    "a_write_renews_the_wait",
    "an_edit_can_end_a_wait",
)
def the_host_stays_the_former_one(room: Room) -> Room:
    """Keep the former host even if other users have joined instead."""
    host = {"host_id": room.host_id, "host_name": room.host_name, "users": room.users}
    return end_wait(room).model_copy(update=host)


@MUTANTS.breaks((rules, "_end_wait"), "the_former_host_returns_as_host")
def the_former_host_is_renamed(room: Room) -> Room:
    """Copy the name of the host from the user who returns."""
    return end_wait(room).model_copy(update={"host_name": room.users[-1].name})


@MUTANTS.breaks(
    (rules, "_end_wait"),
    "the_former_host_returns_as_host",
    "another_user_becomes_host_of_a_room_that_waits",
    "a_concurrent_last_leave_and_join_have_a_host",
    "a_client_without_empty_room_ttl_ends_the_wait",
    "a_room_that_waits_is_published",
    "an_edit_can_end_a_wait",
    "an_edit_can_bring_the_former_host_back",
)
def the_mark_of_the_wait_stays(room: Room) -> Room:
    """Keep the extra field after a user has joined."""
    return end_wait(room).with_extra({"isWaiting": True})


@MUTANTS.breaks((rules, "replace"), "an_edit_can_end_a_wait", "an_edit_can_bring_the_former_host_back")
def an_edit_does_not_end_the_wait(room: Room, new: Room) -> Room:
    """Keep the mark of the wait and the host when an edit adds users."""
    if not (new.users and has_waited(new)):
        return replace(room, new)
    return new.model_copy(update={"rev": room.rev + 1})


@MUTANTS.breaks((rules, "_end_wait"), "an_edit_can_end_a_wait")
def the_last_of_several_users_becomes_host(room: Room) -> Room:
    """Make the last user host instead of the first, if the former host is not in the room."""
    turned = end_wait(room.model_copy(update={"users": room.users[::-1]}))
    return turned.model_copy(update={"users": turned.users[::-1]})


@MUTANTS.breaks((rules, "_end_wait"), "an_edit_can_bring_the_former_host_back")
def the_first_user_replaces_the_former_host(room: Room) -> Room:
    """Make the first user host, also if the former host is among the others."""
    first = room.users[0]
    if first.id == room.host_id:
        return end_wait(room)
    return end_wait(room.model_copy(update={"host_id": first.id, "host_name": first.name}))


@REDIS_MUTANTS.breaks((RoomTtls, "chat"), "a_write_ends_a_wait_in_which_another_client_added_users")
def only_a_room_without_users_has_waited(self: RoomTtls, before: Room, after: Room) -> timedelta | None:
    """Leave the short TTL of the chat unchanged if another client has added users."""
    return None if before.users and not is_waiting(after) else chat_ttl(self, before, after)


@REDIS_MUTANTS.breaks((rules, "_revised"), "a_write_ends_a_wait_in_which_another_client_added_users")
def a_wait_that_has_users_goes_on(room: Room, *args: Any, **changes: Any) -> Room:
    """Keep the mark and the former host if another client has added users."""
    if not (room.users and has_waited(room)):
        return revised(room, *args, **changes)
    return room.model_copy(update={**changes, "rev": room.rev + 1})


@MUTANTS.breaks((rules, "is_waiting"), "a_room_that_nobody_has_entered_does_not_wait")
def every_room_without_users_waits(room: Room) -> bool:
    """Treat a room that was created without users as one that its last user has left."""
    return not room.users


@MUTANTS.breaks((RoomTtls, "room"), "a_write_renews_the_wait")
def a_write_ends_the_short_ttl(self: RoomTtls, after: Room) -> timedelta:
    """Give a room that waits its ordinary TTL when it is written again."""
    ttl = room_ttl(self, after)
    return ttl if after.video_state.current_time != 7 else self._room_ttl  # the state that the clause writes


@MUTANTS.breaks((MemoryRoomStore, "_iter_ids"), "a_room_that_waits_is_listed")
async def a_room_that_waits_is_hidden(self: MemoryRoomStore) -> AsyncIterator[str]:
    """List only rooms that do not wait."""
    async for room_id in iter_ids(self):
        entry = self._rooms.get(room_id)
        if entry is not None and not is_waiting(entry.value):
            yield room_id
