"""Rooms and chats in memory. No primitive that writes awaits anything, so each is atomic on its event loop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import timedelta

from wnc_store import ChatMessage, Clock, Room, StoreSettings
from wnc_store.base import BaseChatStore, BaseRoomStore, Lifecycle, VersionedRoom, VersionMismatch
from wnc_store_memory.chat_history import ChatHistory
from wnc_store_memory.database import Namespace
from wnc_store_memory.ttl_map import Entry

_MILLISECOND = timedelta(milliseconds=1)


class MemoryRoomStore(BaseRoomStore[Entry[Room]]):
    """Rooms in memory. The version of a room is its very entry."""

    def __init__(self, namespace: Namespace, settings: StoreSettings, clock: Clock, lifecycle: Lifecycle) -> None:
        super().__init__(settings, clock, lifecycle)
        self._rooms = namespace.rooms
        self._chats = namespace.chats
        self._dispatch = namespace.dispatch
        self._room_ttl_ms = settings.room_ttl // _MILLISECOND

    async def _get(self, room_id: str) -> VersionedRoom[Entry[Room]] | None:
        entry = self._rooms.get(room_id)
        return None if entry is None else VersionedRoom(entry.value, entry)

    async def _create(self, room: Room) -> bool:
        if self._rooms.get(room.id) is not None:
            return False
        self._chats.pop(room.id)
        self._rooms.set(room.id, room, self._room_ttl_ms)
        self._dispatch(self._change_events.for_commit(None, room))
        return True

    async def _compare_and_set(
        self, before: VersionedRoom[Entry[Room]], after: Room | None
    ) -> VersionMismatch[Entry[Room]] | None:
        if self._replace(before.room.id, before.version, after):
            return None
        return VersionMismatch(await self._get(before.room.id))

    async def _update(self, room_id: str, rule: Callable[[Room], Room | None]) -> Room | None:
        entry = self._rooms.get(room_id)
        after = None if entry is None else rule(entry.value)
        if entry is None or after is entry.value or self._replace(room_id, entry, after):
            return after
        return await super()._update(room_id, rule)  # meanwhile the room has ended, or the rule itself has changed it

    async def _delete(self, room_id: str) -> bool:
        lived = self._forget(room_id)
        if lived:
            self._dispatch(self._change_events.for_delete(room_id))
        return lived

    async def _get_ttl(self, room_id: str) -> timedelta | None:
        return _duration(self._rooms.remaining_ms(room_id))

    async def _iter_ids(self) -> AsyncIterator[str]:
        for room_id in self._rooms.live_keys():
            yield room_id

    async def _prune_index(self) -> int:
        removed = 0
        for freed in self._rooms.purge_expired():
            removed += freed
            await asyncio.sleep(0)  # many rooms that expire together must not stall the event loop
        return removed

    def _replace(self, room_id: str, before: Entry[Room], after: Room | None) -> bool:
        """Replace a room, or delete it, if it still is this very one; tell whether that was done."""
        if after is None:
            is_done = self._rooms.get(room_id) is before and self._forget(room_id)
        else:
            is_done = self._rooms.replace(room_id, before, after, self._room_ttl_ms)
        if is_done:
            self._dispatch(self._change_events.for_commit(before.value, after))
        return is_done

    def _forget(self, room_id: str) -> bool:
        self._chats.pop(room_id)
        return self._rooms.pop(room_id) is not None


class MemoryChatStore(BaseChatStore):
    """Chats in memory."""

    def __init__(self, namespace: Namespace, settings: StoreSettings, lifecycle: Lifecycle) -> None:
        super().__init__(settings, lifecycle)
        self._chats = namespace.chats
        self._dispatch = namespace.dispatch
        self._chat_ttl_ms = settings.chat_ttl // _MILLISECOND

    async def _add(self, message: ChatMessage) -> None:
        entry = self._chats.get(message.room_id)
        kept = ChatHistory() if entry is None else entry.value
        if kept.append(message, self._settings.chat_history_limit):
            self._chats.set(message.room_id, kept, self._chat_ttl_ms)
            self._dispatch(self._change_events.for_message(message))

    async def _get_messages(self, room_id: str) -> Sequence[ChatMessage]:
        entry = self._chats.get(room_id)
        return () if entry is None else entry.value.newest(self._settings.chat_history_limit)

    async def _delete_messages(self, room_id: str) -> None:
        if self._chats.pop(room_id) is not None:
            self._dispatch(self._change_events.for_reset(room_id))

    async def _get_ttl(self, room_id: str) -> timedelta | None:
        return _duration(self._chats.remaining_ms(room_id))


def _duration(milliseconds: int | None) -> timedelta | None:
    return None if milliseconds is None else milliseconds * _MILLISECOND
