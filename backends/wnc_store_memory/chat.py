"""Chat store in memory.

Primitives contain no `await`, so they are atomic on their event loop.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from wnc_store import ChatMessage, StoreSettings
from wnc_store.base import BaseChatStore, Lifecycle, MessageEdit
from wnc_store_memory.chat_history import ChatHistory
from wnc_store_memory.database import Namespace
from wnc_store_memory.ttl_map import to_timedelta

_MILLISECOND = timedelta(milliseconds=1)


class MemoryChatStore(BaseChatStore):
    """Chats in memory."""

    def __init__(self, namespace: Namespace, settings: StoreSettings, lifecycle: Lifecycle) -> None:
        super().__init__(settings, lifecycle)
        self._chats = namespace.chats
        self._dispatch = namespace.dispatch
        self._chat_ttl_ms = settings.chat_ttl // _MILLISECOND

    async def _add(self, message: ChatMessage) -> None:
        entry = self._chats.get(message.room_id)
        history = ChatHistory() if entry is None else entry.value
        if history.append(message, self._settings.chat_history_limit):
            self._chats.set(message.room_id, history, self._chat_ttl_ms)
            if self._change_events.enabled:
                self._dispatch(self._change_events.for_message(message))

    async def _edit(self, room_id: str, message_id: str, edit: MessageEdit, /) -> ChatMessage | None:
        entry = self._chats.get(room_id)
        edited = None if entry is None else entry.value.edit(message_id, edit, self._settings.chat_history_limit)
        if entry is not None and edited is not None:
            self._chats.set(room_id, entry.value, self._chat_ttl_ms)
            self._dispatch(self._change_events.for_edit(room_id, edited))
        return edited

    async def _remove(self, room_id: str, message_id: str) -> bool:
        entry = self._chats.get(room_id)
        if entry is None or not entry.value.remove(message_id, self._settings.chat_history_limit):
            return False
        if entry.value.is_empty:
            self._chats.pop(room_id)
        else:
            self._chats.set(room_id, entry.value, self._chat_ttl_ms)
        self._dispatch(self._change_events.for_removal(room_id, message_id))
        return True

    async def _get_messages(self, room_id: str) -> Sequence[ChatMessage]:
        entry = self._chats.get(room_id)
        return () if entry is None else entry.value.newest(self._settings.chat_history_limit)

    async def _delete_messages(self, room_id: str) -> None:
        if self._chats.pop(room_id) is not None:
            self._dispatch(self._change_events.for_clear(room_id))

    async def _get_ttl(self, room_id: str) -> timedelta | None:
        return to_timedelta(self._chats.remaining_ms(room_id))
