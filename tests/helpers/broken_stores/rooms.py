"""Mistakes in how a room is created, changed and deleted: the primitives of the memory backend."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Mapping
from typing import Any, cast

from broken_stores.mutant import Mistakes
from wnc_store import Record, Room, RoomNotFoundError, User, rules
from wnc_store.base import rooms
from wnc_store.rules import edit  # the right one, whatever is broken
from wnc_store_memory.rooms import MemoryRoomStore

MUTANTS = Mistakes()

mutate = MemoryRoomStore._update
insert, remove, update_room = MemoryRoomStore._create, MemoryRoomStore._delete, MemoryRoomStore.update_room
add_user_to_room, remove_user_from_room = MemoryRoomStore.add_user_to_room, MemoryRoomStore.remove_user_from_room
patience = itertools.count(1000, -1)
FOREVER_MS = 10**15


@MUTANTS.breaks(
    (MemoryRoomStore, "_create"),
    "create_rejects_the_id_of_a_live_room",
    "a_rejected_create_keeps_the_chat",
    "one_of_many_creates_succeeds",
    "one_of_two_clients_creates_a_room",
    "calls_without_effect_are_not_published",
)
async def a_create_overwrites(self: MemoryRoomStore, room: Room) -> bool:
    """Whatever room has that id is replaced."""
    self._rooms.pop(room.id)
    return await insert(self, room)


@MUTANTS.breaks(
    (MemoryRoomStore, "_create"), "create_clears_a_leftover_chat", "a_new_room_is_published", "expiry_is_not_published"
)
async def a_create_keeps_old_chat(self: MemoryRoomStore, room: Room) -> bool:
    """The chat of an earlier room becomes the new one's."""
    if self._rooms.get(room.id) is not None:
        return False
    self._rooms.set(room.id, room, self._room_ttl_ms)
    return True


@MUTANTS.breaks((MemoryRoomStore, "_create"), "a_cancelled_create_clears_the_chat_atomically")
async def a_create_is_two_steps(self: MemoryRoomStore, room: Room) -> bool:
    """The chat left behind is gone a moment before the room is there."""
    if self._rooms.get(room.id) is None:
        self._chats.pop(room.id)
        await asyncio.sleep(0)
    return await insert(self, room)


@MUTANTS.breaks((MemoryRoomStore, "_delete"), "a_cancelled_delete_removes_the_chat_atomically")
async def a_deletion_is_two_steps(self: MemoryRoomStore, room_id: str) -> bool:
    """The chat is gone a moment before the room is."""
    self._chats.pop(room_id)
    await asyncio.sleep(0)
    return await remove(self, room_id)


@MUTANTS.breaks((MemoryRoomStore, "_update"), "a_cancelled_last_leave_removes_the_chat_atomically")
async def the_last_one_out_takes_two_steps(
    self: MemoryRoomStore, room_id: str, rule: Callable[[Room], Room | None]
) -> Room | None:
    """The chat is gone a moment before the room is, which somebody may still join."""
    before = self._rooms.get(room_id)
    if before is not None and rule(before.value) is None:
        self._chats.pop(room_id)
        await asyncio.sleep(0)
    return await mutate(self, room_id, rule)


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
async def a_change_is_renewed_a_moment_later(
    self: MemoryRoomStore, room_id: str, rule: Callable[[Room], Room | None]
) -> Room | None:
    """A room is written with what was left of its TTL, and is given the full one in a second step."""
    left = self._rooms.remaining_ms(room_id)
    after = await mutate(self, room_id, rule)
    if left is not None and (written := self._rooms.get(room_id)) is not None:
        self._rooms.set(room_id, written.value, left)
        await asyncio.sleep(0)
        if (written := self._rooms.get(room_id)) is not None:
            self._rooms.set(room_id, written.value, self._room_ttl_ms)
    return after


@MUTANTS.breaks(
    (MemoryRoomStore, "_create"), "a_cancelled_create_is_atomic", "a_cancelled_create_clears_the_chat_atomically"
)
async def a_new_room_is_given_its_end_a_moment_later(self: MemoryRoomStore, room: Room) -> bool:
    """A room is written without an end, and given one in a second step."""
    inserted = await insert(self, room)
    if inserted:
        self._rooms.set(room.id, room, FOREVER_MS)
        await asyncio.sleep(0)
        if (written := self._rooms.get(room.id)) is not None:
            self._rooms.set(room.id, written.value, self._room_ttl_ms)
    return inserted


def thawed(value: Any) -> Any:
    """Return a JSON value that can be changed in place."""
    if isinstance(value, dict):
        return {key: thawed(member) for key, member in cast("dict[str, Any]", value).items()}
    return [thawed(item) for item in cast("list[Any]", value)] if isinstance(value, list) else value


@MUTANTS.breaks((MemoryRoomStore, "_create"), "returned_records_are_copied")
async def state_is_shared(self: MemoryRoomStore, room: Room) -> bool:
    """What is kept can be changed in place."""
    return await insert(self, room.with_extra(thawed(room.model_extra)))


@MUTANTS.breaks(
    (MemoryRoomStore, "update_room"),
    "update_does_not_create_a_room",
    "update_does_not_recreate_a_deleted_room",
    "writes_ignore_an_expired_room",
    "calls_without_effect_are_not_published",
)
async def an_update_makes_a_ghost(self: MemoryRoomStore, room_id: str, room: Room) -> None:
    """A room that is not there is written, as the original does."""
    try:
        await update_room(self, room_id, room)
    except RoomNotFoundError:
        self._rooms.set(room_id, room, self._room_ttl_ms)


@MUTANTS.breaks((MemoryRoomStore, "delete_room"), "delete_removes_the_chat", "a_deleted_room_is_published")
async def a_deletion_leaves_the_chat(self: MemoryRoomStore, room_id: str) -> bool:
    """A room that is deleted by name leaves its chat."""
    self._check(room_id)
    return self._rooms.pop(room_id) is not None


@MUTANTS.breaks((MemoryRoomStore, "_remove"), "the_last_leave_deletes_the_chat", "delete_removes_the_chat")
def the_last_one_out_leaves_the_chat(self: MemoryRoomStore, room_id: str) -> bool:
    """A room leaves its chat, however it is deleted."""
    return self._rooms.pop(room_id) is not None


@MUTANTS.breaks(
    (MemoryRoomStore, "_delete"),
    "delete_returns_whether_it_deleted",
    "one_of_many_deletes_succeeds",
    "one_of_two_clients_deletes_a_room",
    "writes_ignore_an_expired_room",
    "calls_without_effect_are_not_published",
)
async def everybody_deleted_the_room(self: MemoryRoomStore, room_id: str) -> bool:
    """Whoever asks is told that it was them."""
    await remove(self, room_id)
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
)
async def a_lost_update(self: MemoryRoomStore, room_id: str, rule: Callable[[Room], Room | None]) -> Room | None:
    """What was made of the room as read is written a moment later, whatever the room is by then."""
    before = await self._get(room_id)
    if before is None:
        return None
    after = rule(before.room)
    await asyncio.sleep(0)
    current = await self._get(room_id)
    if current is not None and after is not before.room:
        await self._compare_and_set(current, after)
    return after


@MUTANTS.breaks((MemoryRoomStore, "remove_user_from_room"), "the_host_is_always_a_user_of_the_room")
async def a_handover_in_two_steps(self: MemoryRoomStore, room_id: str, user_id: str) -> Room | None:
    """The user goes, and whoever should be host then becomes it a while later: the sooner asked, the later."""
    before = self._rooms.get(room_id)
    after = await remove_user_from_room(self, room_id, user_id)
    if after is None or before is None or before.value.host_id == after.host_id:
        return after
    for _ in range(next(patience)):
        await asyncio.sleep(0)
    current = self._rooms.get(room_id)
    if current is not None:
        handed_over = {"host_id": after.host_id, "host_name": after.host_name}
        self._rooms.set(room_id, current.value.model_copy(update=handed_over), self._room_ttl_ms)
    return after


@MUTANTS.breaks((MemoryRoomStore, "add_user_to_room"), "a_late_join_does_not_recreate_the_room")
async def a_late_join_revives(self: MemoryRoomStore, room_id: str, user: User) -> Room:
    """The room that was there a moment ago is brought back, to be joined."""
    self._check(room_id)
    before = await self._get(room_id)
    await asyncio.sleep(0)
    if before is not None and await self._get(room_id) is None:
        self._rooms.set(room_id, before.room, self._room_ttl_ms)
    return await add_user_to_room(self, room_id, user)


@MUTANTS.breaks((MemoryRoomStore, "_create"), "one_of_many_creates_succeeds", "one_of_two_clients_creates_a_room")
async def a_create_looks_too_early(self: MemoryRoomStore, room: Room) -> bool:
    """Others may come in between the look and the write."""
    if self._rooms.get(room.id) is not None:
        return False
    await asyncio.sleep(0)
    self._rooms.pop(room.id)
    return await insert(self, room)


@MUTANTS.breaks(
    (MemoryRoomStore, "_update"), "a_concurrent_last_leave_and_join_are_consistent", "a_deleted_room_is_published"
)
async def the_last_one_out_does_not_look_back(
    self: MemoryRoomStore, room_id: str, rule: Callable[[Room], Room | None]
) -> Room | None:
    """The room is deleted even if somebody has joined meanwhile."""
    before = self._rooms.get(room_id)
    if before is None or rule(before.value) is not None:
        return await mutate(self, room_id, rule)
    await asyncio.sleep(0)
    await self._delete(room_id)
    return None


@MUTANTS.breaks((rooms, "validated"), "create_rejects_an_invalid_room", "writes_reject_invalid_records")
def what_is_written_is_not_checked(record: Record, _kind: type[Record]) -> Record:
    """Whatever a caller passes is stored."""
    return record


@MUTANTS.breaks((rules, "edit"), "an_edit_must_return_a_room")
def an_edit_takes_nothing_for_no_change(room: Room, change: Callable[[Room], Room | None]) -> Room:
    """A change that returns nothing has changed nothing."""
    changed = change(room)
    return room if changed is None else edit(room, lambda _room: changed)


@MUTANTS.breaks((Record, "with_extra"), "extra_fields_never_set_attributes")
def unknown_fields_become_known(self: Record, fields: Mapping[str, Any]) -> Record:
    """An unknown field that is named like an attribute sets it."""
    return self.model_copy(update=dict(fields))
