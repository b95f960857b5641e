"""Mutants that only the state machine kills: each needs several operations in a certain order."""

from __future__ import annotations

from collections.abc import Sequence

from broken_stores.mutant import Mutants
from wnc_store import ChatMessage, HostChanged, Room, RoomEvent, rules
from wnc_store.base import events
from wnc_store.base.diff import diff_rooms
from wnc_store_memory.chat import MemoryChatStore

MUTANTS = Mutants()

leave, add = rules.leave, MemoryChatStore._add


@MUTANTS.breaks((rules, "leave"), "any_sequence_of_operations")
def a_leave_after_a_new_video_loses_its_type(room: Room, user_id: str) -> Room | None:
    """Drop the type of the video when a user leaves."""
    after = leave(room, user_id)
    return after if after is None or after is room else after.model_copy(update={"video_type": None})


@MUTANTS.breaks((events, "diff_rooms"), "any_sequence_of_operations")
def a_new_host_of_a_playing_room_is_not_published(before: Room | None, after: Room | None) -> Sequence[RoomEvent]:
    """Do not publish HostChanged if the room has a video."""
    found = diff_rooms(before, after)
    if before is None or before.video_url is None or len(found) == 1:
        return found
    return [event for event in found if not isinstance(event, HostChanged)]


@MUTANTS.breaks((MemoryChatStore, "_add"), "any_sequence_of_operations")
async def a_message_does_not_renew_a_full_chat(self: MemoryChatStore, message: ChatMessage) -> None:
    """Keep the TTL of a chat when a message displaces another one."""
    entry = self._chats.get(message.room_id)
    is_full = entry is not None and len(entry.value.newest(100)) == self._settings.chat_history_limit
    await add(self, message)
    if entry is not None and is_full:
        self._chats.set(message.room_id, entry.value, entry.expires_ms - self._chats._now_ms())
