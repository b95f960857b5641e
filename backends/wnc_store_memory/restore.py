"""Restoring snapshots into memory."""

from __future__ import annotations

from datetime import timedelta

from wnc_store import RoomExistsError, Snapshot, StoreSettings
from wnc_store.base import ChangeEvents
from wnc_store_memory.chat_history import ChatHistory
from wnc_store_memory.database import Namespace

_MILLISECOND = timedelta(milliseconds=1)


def restore(namespace: Namespace, settings: StoreSettings, snapshot: Snapshot, *, replace: bool) -> None:
    """Implement `SupportsRestore.restore`. The function contains no `await`, so it is atomic on its event loop."""
    room = snapshot.room
    if not replace and namespace.rooms.get(room.id) is not None:
        raise RoomExistsError(room.id)
    namespace.chats.pop(room.id)
    namespace.rooms.set(room.id, room, _milliseconds(snapshot.room_ttl, settings.room_ttl))
    messages = snapshot.messages[-settings.chat_history_limit :]
    if messages and snapshot.chat_ttl is not None:
        namespace.chats.set(room.id, ChatHistory(messages), _milliseconds(snapshot.chat_ttl, settings.chat_ttl))
    namespace.dispatch(ChangeEvents(settings).for_reset(room.id))


def _milliseconds(ttl: timedelta, full_ttl: timedelta) -> int:
    return (full_ttl if ttl == timedelta.max else ttl) // _MILLISECOND
