"""Room store in memory.

Primitives that write contain no `await` before the write has completed, so they are atomic on their event loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

from wnc_store import Clock, ConflictError, Room, StoreSettings, rules
from wnc_store.base import BaseRoomStore, Lifecycle, Transition
from wnc_store_memory.database import Namespace
from wnc_store_memory.ttl_map import Entry, to_timedelta

_MILLISECOND = timedelta(milliseconds=1)

_MAX_ATTEMPTS = 100
"""Number of attempts of an update whose transition writes the room itself each time."""


class MemoryRoomStore(BaseRoomStore):
    """Rooms in memory."""

    def __init__(self, namespace: Namespace, settings: StoreSettings, clock: Clock, lifecycle: Lifecycle) -> None:
        super().__init__(settings, clock, lifecycle)
        self._rooms = namespace.rooms
        self._chats = namespace.chats
        self._dispatch = namespace.dispatch
        self._room_ttl_ms = settings.room_ttl // _MILLISECOND

    async def _get(self, room_id: str) -> Room | None:
        entry = self._rooms.get(room_id)
        return None if entry is None else entry.value

    async def _create(self, room: Room) -> bool:
        if self._rooms.get(room.id) is not None:
            return False
        self._chats.pop(room.id)
        self._rooms.set(room.id, room, self._room_ttl_ms)
        self._dispatch(self._change_events.for_commit(None, room))
        return True

    async def _update(self, room_id: str, transition: Transition, /) -> Room | None:
        for _ in range(_MAX_ATTEMPTS):
            entry = self._rooms.get(room_id)
            after = None if entry is None else transition(entry.value)
            if entry is None or after is entry.value or self._replace(room_id, entry, after):
                return after
            # The room expired during the transition, or the transition itself wrote the room.
        raise ConflictError(room_id, _MAX_ATTEMPTS)

    async def _delete(self, room_id: str) -> bool:
        existed = self._remove(room_id)
        if existed:
            self._dispatch(self._change_events.for_delete(room_id))
        return existed

    async def _get_ttl(self, room_id: str) -> timedelta | None:
        return to_timedelta(self._rooms.remaining_ms(room_id))

    async def _iter_ids(self) -> AsyncIterator[str]:
        for room_id in self._rooms.live_keys():
            yield room_id

    async def _prune_index(self) -> int:
        removed = 0
        for count in self._rooms.purge_expired():
            removed += count
            await asyncio.sleep(0)  # many rooms that expire at the same time must not block the event loop
        return removed

    def _replace(self, room_id: str, before: Entry[Room], after: Room | None) -> bool:
        """Replace or delete a room if its entry is still `before`. Return whether that is so."""
        old = before.value
        if after is None:
            committed = self._rooms.get(room_id) is before and self._remove(room_id)
        elif after.users and old.users and not (old.__pydantic_extra__ and rules.has_waited(old)):
            committed = self._rooms.replace(room_id, before, after, self._room_ttl_ms)
        else:  # the room waits for users, or did so, or was created without users
            committed = self._rooms.replace(room_id, before, after, self._ttls.room(after) // _MILLISECOND)
            chat_ttl, chat = self._ttls.chat(old, after), self._chats.get(room_id)
            if committed and chat is not None and chat_ttl is not None:
                self._chats.set(room_id, chat.value, chat_ttl // _MILLISECOND)
        if committed and self._change_events.enabled:
            self._dispatch(self._change_events.for_commit(old, after))
        return committed

    def _remove(self, room_id: str) -> bool:
        self._chats.pop(room_id)
        return self._rooms.pop(room_id) is not None
