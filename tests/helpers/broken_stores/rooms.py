"""Mutants of room primitives: create, update, delete."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Mapping
from typing import Any, cast
from unittest.mock import patch

from broken_stores.mutant import Mutants
from wnc_store import Record, Room, RoomNotFoundError, User, rules
from wnc_store.base import rooms
from wnc_store.rules import edit  # bound before a mutant replaces rules.edit
from wnc_store_memory.rooms import MemoryRoomStore

MUTANTS = Mutants()

update = MemoryRoomStore._update
edit_room, set_video_url = MemoryRoomStore.edit_room, MemoryRoomStore.set_video_url
create, delete, update_room = MemoryRoomStore._create, MemoryRoomStore._delete, MemoryRoomStore.update_room
add_user_to_room, remove_user_from_room = MemoryRoomStore.add_user_to_room, MemoryRoomStore.remove_user_from_room
delays = itertools.count(1000, -1)
FOREVER_MS = 10**15


@MUTANTS.breaks(
    (MemoryRoomStore, "_create"),
    "create_rejects_the_id_of_a_live_room",
    "a_rejected_create_keeps_the_chat",
    "one_of_many_creates_succeeds",
    "one_of_two_clients_creates_a_room",
    "calls_without_effect_are_not_published",
    "a_code_in_use_is_not_given_again",
    "if_all_codes_are_in_use_no_room_is_created",
)
async def a_create_overwrites_a_live_room(self: MemoryRoomStore, room: Room) -> bool:
    """Replace a live room of the same id."""
    self._rooms.pop(room.id)
    return await create(self, room)


@MUTANTS.breaks(
    (MemoryRoomStore, "_create"),
    "create_clears_a_leftover_chat",
    "a_new_room_is_published",
    "expiry_is_not_published",
    "a_room_with_a_code_begins_without_messages",
)
async def a_create_keeps_the_old_chat(self: MemoryRoomStore, room: Room) -> bool:
    """Keep the chat of an earlier room of the same id."""
    if self._rooms.get(room.id) is not None:
        return False
    self._rooms.set(room.id, room, self._room_ttl_ms)
    return True


@MUTANTS.breaks((MemoryRoomStore, "_create"), "a_cancelled_create_clears_the_chat_atomically")
async def a_create_takes_two_steps(self: MemoryRoomStore, room: Room) -> bool:
    """Delete the old chat before the room is stored."""
    if self._rooms.get(room.id) is None:
        self._chats.pop(room.id)
        await asyncio.sleep(0)
    return await create(self, room)


@MUTANTS.breaks((MemoryRoomStore, "_delete"), "a_cancelled_delete_removes_the_chat_atomically")
async def a_delete_takes_two_steps(self: MemoryRoomStore, room_id: str) -> bool:
    """Delete the chat before the room."""
    self._chats.pop(room_id)
    await asyncio.sleep(0)
    return await delete(self, room_id)


@MUTANTS.breaks((MemoryRoomStore, "_update"), "a_cancelled_last_leave_removes_the_chat_atomically")
async def a_last_leave_takes_two_steps(
    self: MemoryRoomStore, room_id: str, rule: Callable[[Room], Room | None]
) -> Room | None:
    """Delete the chat of a room that can still be joined."""
    before = self._rooms.get(room_id)
    if before is not None and rule(before.value) is None:
        self._chats.pop(room_id)
        await asyncio.sleep(0)
    return await update(self, room_id, rule)


@MUTANTS.breaks(
    (MemoryRoomStore, "_update"),
    "a_cancelled_update_is_atomic",
    "a_cancelled_edit_is_atomic",
    "a_cancelled_join_is_atomic",
    "a_cancelled_leave_is_atomic",
    "a_cancelled_transfer_is_atomic",
    "a_cancelled_video_state_is_atomic",
    "a_cancelled_video_url_is_atomic",
)
async def an_update_renews_in_a_second_step(
    self: MemoryRoomStore, room_id: str, rule: Callable[[Room], Room | None]
) -> Room | None:
    """Store the room with its old TTL, then renew the TTL."""
    remaining = self._rooms.remaining_ms(room_id)
    after = await update(self, room_id, rule)
    if remaining is not None and (written := self._rooms.get(room_id)) is not None:
        self._rooms.set(room_id, written.value, remaining)
        await asyncio.sleep(0)
        if (written := self._rooms.get(room_id)) is not None:
            self._rooms.set(room_id, written.value, self._room_ttl_ms)
    return after


@MUTANTS.breaks(
    (MemoryRoomStore, "_create"), "a_cancelled_create_is_atomic", "a_cancelled_create_clears_the_chat_atomically"
)
async def a_new_rooms_ttl_is_set_in_a_second_step(self: MemoryRoomStore, room: Room) -> bool:
    """Store the room without a TTL, then set the TTL."""
    created = await create(self, room)
    if created:
        self._rooms.set(room.id, room, FOREVER_MS)
        await asyncio.sleep(0)
        if (written := self._rooms.get(room.id)) is not None:
            self._rooms.set(room.id, written.value, self._room_ttl_ms)
    return created


def mutable_copy(value: Any) -> Any:
    """Return a copy of a JSON value that can be changed in place."""
    if isinstance(value, dict):
        return {key: mutable_copy(member) for key, member in cast("dict[str, Any]", value).items()}
    return [mutable_copy(item) for item in cast("list[Any]", value)] if isinstance(value, list) else value


@MUTANTS.breaks((MemoryRoomStore, "_create"), "returned_records_are_copied")
async def stored_records_are_mutable(self: MemoryRoomStore, room: Room) -> bool:
    """Store extra fields that can be changed in place."""
    return await create(self, room.with_extra(mutable_copy(room.model_extra)))


@MUTANTS.breaks(
    (MemoryRoomStore, "update_room"),
    "update_does_not_create_a_room",
    "update_does_not_recreate_a_deleted_room",
    "writes_ignore_an_expired_room",
    "calls_without_effect_are_not_published",
)
async def an_update_creates_a_room(self: MemoryRoomStore, room_id: str, room: Room) -> None:
    """Store a room that does not exist, as the Node app does."""
    try:
        await update_room(self, room_id, room)
    except RoomNotFoundError:
        self._rooms.set(room_id, room, self._room_ttl_ms)


@MUTANTS.breaks(
    (MemoryRoomStore, "delete_room"),
    "delete_removes_the_chat",
    "a_deleted_room_is_published",
    "a_cancelled_write_of_a_room_publishes_its_event",
    "a_change_can_be_read_when_its_event_arrives",
    "delete_removes_a_chat_without_a_room",
)
async def delete_room_keeps_the_chat(self: MemoryRoomStore, room_id: str) -> bool:
    """Delete a room by id but keep its chat."""
    self._lifecycle.check(("room id", room_id))
    return self._rooms.pop(room_id) is not None


@MUTANTS.breaks(
    (MemoryRoomStore, "_remove"),
    "the_last_leave_deletes_the_chat",
    "delete_removes_the_chat",
    "delete_removes_a_chat_without_a_room",
)
def every_deletion_keeps_the_chat(self: MemoryRoomStore, room_id: str) -> bool:
    """Keep the chat, however the room is deleted."""
    return self._rooms.pop(room_id) is not None


@MUTANTS.breaks(
    (MemoryRoomStore, "_delete"),
    "delete_returns_whether_it_deleted",
    "one_of_many_deletes_succeeds",
    "one_of_two_clients_deletes_a_room",
    "writes_ignore_an_expired_room",
    "calls_without_effect_are_not_published",
    "delete_removes_a_chat_without_a_room",
)
async def a_delete_always_returns_true(self: MemoryRoomStore, room_id: str) -> bool:
    """Return True even if the room did not exist."""
    await delete(self, room_id)
    return True


@MUTANTS.breaks(
    (MemoryRoomStore, "_update"),
    "concurrent_joins_are_all_kept",
    "concurrent_joins_of_two_clients_are_all_kept",
    "concurrent_changes_of_two_clients_are_all_kept",
    "a_base_exception_affects_only_its_caller",
    "a_concurrent_last_leave_and_join_are_consistent",
    "a_failing_edit_affects_only_its_caller",
    "a_cancelled_call_affects_no_other_call",
    "concurrent_edits_are_all_applied",
    "concurrent_leaves_delete_the_room",
    "concurrent_changes_of_two_clients_are_ordered",
    "concurrent_joins_are_all_published",
    "one_of_many_rotations_prevails",
)
async def a_lost_update(self: MemoryRoomStore, room_id: str, rule: Callable[[Room], Room | None]) -> Room | None:
    """Overwrite changes made between the read and the write."""
    before = await self._get(room_id)
    if before is None:
        return None
    after = rule(before)
    await asyncio.sleep(0)
    current = self._rooms.get(room_id)
    if current is not None and after is not before:
        self._replace(room_id, current, after)
    return after


@MUTANTS.breaks((MemoryRoomStore, "remove_user_from_room"), "the_host_is_always_a_user_of_the_room")
async def a_host_change_takes_two_steps(self: MemoryRoomStore, room_id: str, user_id: str) -> Room | None:
    """Remove the user, then set the host a while later; the first call waits longest."""
    before = self._rooms.get(room_id)
    after = await remove_user_from_room(self, room_id, user_id)
    if after is None or before is None or before.value.host_id == after.host_id:
        return after
    for _ in range(next(delays)):
        await asyncio.sleep(0)
    current = self._rooms.get(room_id)
    if current is not None:
        new_host = {"host_id": after.host_id, "host_name": after.host_name}
        self._rooms.set(room_id, current.value.model_copy(update=new_host), self._room_ttl_ms)
    return after


@MUTANTS.breaks((MemoryRoomStore, "add_user_to_room"), "a_late_join_does_not_recreate_the_room")
async def a_late_join_recreates_the_room(self: MemoryRoomStore, room_id: str, user: User) -> Room:
    """Recreate a room that was deleted during the join."""
    self._lifecycle.check(("room id", room_id))
    before = await self._get(room_id)
    await asyncio.sleep(0)
    if before is not None and await self._get(room_id) is None:
        self._rooms.set(room_id, before, self._room_ttl_ms)
    return await add_user_to_room(self, room_id, user)


@MUTANTS.breaks(
    (MemoryRoomStore, "_create"),
    "one_of_many_creates_succeeds",
    "one_of_two_clients_creates_a_room",
    "a_code_in_use_is_not_given_again",
)
async def a_create_checks_in_a_separate_step(self: MemoryRoomStore, room: Room) -> bool:
    """Let other callers run between the check and the write."""
    if self._rooms.get(room.id) is not None:
        return False
    await asyncio.sleep(0)
    self._rooms.pop(room.id)
    return await create(self, room)


@MUTANTS.breaks(
    (MemoryRoomStore, "_update"), "a_concurrent_last_leave_and_join_are_consistent", "a_deleted_room_is_published"
)
async def a_last_leave_deletes_unconditionally(
    self: MemoryRoomStore, room_id: str, rule: Callable[[Room], Room | None]
) -> Room | None:
    """Delete the room even if a user has joined since the read."""
    before = self._rooms.get(room_id)
    if before is None or rule(before.value) is not None:
        return await update(self, room_id, rule)
    await asyncio.sleep(0)
    await self._delete(room_id)
    return None


@MUTANTS.breaks((rooms, "validated"), "create_rejects_an_invalid_room", "writes_reject_invalid_records")
def written_records_are_not_validated(record: Record, _kind: type[Record]) -> Record:
    """Store whatever the caller passes."""
    return record


@MUTANTS.breaks(
    (rules, "edit"),
    "an_edit_must_return_a_room",
    "a_refused_room_with_a_code_is_not_stored",
)
def an_edit_accepts_none(room: Room, change: Callable[[Room], Room | None]) -> Room:
    """Treat a change that returns None as no change."""
    changed = change(room)
    return room if changed is None else edit(room, lambda _room: changed)


@MUTANTS.breaks((Record, "with_extra"), "extra_fields_never_set_attributes")
def extra_fields_set_attributes(self: Record, fields: Mapping[str, Any]) -> Record:
    """Let an extra field set the attribute of the same name."""
    return self.model_copy(update=dict(fields))


@MUTANTS.breaks((MemoryRoomStore, "update_room"), "a_room_without_users_stays")
async def an_update_without_users_deletes(self: MemoryRoomStore, room_id: str, room: Room) -> None:
    """Delete a room whose users an update removes."""
    await update_room(self, room_id, room)
    if not room.users:
        await self._delete(room_id)


@MUTANTS.breaks((MemoryRoomStore, "_delete"), "delete_removes_a_chat_without_a_room")
async def a_chat_without_a_room_is_not_deleted(self: MemoryRoomStore, room_id: str) -> bool:
    """Delete the chat only if the room is live."""
    return self._rooms.get(room_id) is not None and await delete(self, room_id)


@MUTANTS.breaks((MemoryRoomStore, "set_video_url"), "writes_reject_invalid_records")
async def a_video_url_is_converted_to_text(
    self: MemoryRoomStore, room_id: str, video_url: object, video_type: object = "youtube"
) -> Room:
    """Accept a URL of any type."""
    return await set_video_url(self, room_id, str(video_url), str(video_type))


@MUTANTS.breaks((MemoryRoomStore, "edit_room"), "invalid_user_ids_are_rejected")
async def an_edit_accepts_any_user_id(self: MemoryRoomStore, room_id: str, change: Callable[[Room], Room]) -> Room:
    """Do not check the ids of users and the host that an edit writes."""
    self._lifecycle.check(("room id", room_id))
    with patch.object(rooms, "check_id"):
        return await edit_room(self, room_id, change)
