"""Chat store with six primitives."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from datetime import timedelta

from wnc_store import rules
from wnc_store.base.events import ChangeEvents
from wnc_store.base.lifecycle import Lifecycle
from wnc_store.base.size_limits import SizeLimits, check_depth
from wnc_store.records.codec import validated
from wnc_store.records.models import ChatMessage
from wnc_store.settings import StoreSettings

MessageEdit = Callable[[ChatMessage], ChatMessage]
"""A function that takes the current message and returns the new one, with the same id, room id and user id."""


class BaseChatStore(ABC):
    """`ChatStore` with six primitives. The contract of the public methods is in `ChatStore`."""

    def __init__(self, settings: StoreSettings, lifecycle: Lifecycle) -> None:
        self._settings = settings
        self._lifecycle = lifecycle
        self._limits = SizeLimits(settings)
        self._change_events = ChangeEvents(settings)

    @abstractmethod
    async def _add(self, message: ChatMessage) -> None:
        """Atomically apply `rules.append` to the chat of the message's room and renew its TTL.

        If `rules.append` returns None, change nothing.
        """

    @abstractmethod
    async def _edit(self, room_id: str, message_id: str, edit: MessageEdit, /) -> ChatMessage | None:
        """Atomically replace a message by the result of `edit`, as `rules.replace_message` does, and renew the TTL.

        Call `edit` on the current message (`rules.newest`). If another client changes the message before the commit,
        call it again on the newer message. If `edit` raises, change nothing.

        Returns:
            The result of `edit`. None if no stored message has the id; change nothing then.

        Raises:
            ConflictError: Concurrent changes made every attempt fail within `operation_timeout`.
        """

    @abstractmethod
    async def _remove(self, room_id: str, message_id: str) -> bool:
        """Atomically remove a message, as `rules.replace_message` does, and renew the TTL.

        Delete the chat if no message remains. Return False, and change nothing, if no stored message has the id.
        """

    @abstractmethod
    async def _get_messages(self, room_id: str) -> Sequence[ChatMessage]:
        """Return the valid messages of a live chat, oldest first. Use `ChatDecoder` to skip invalid entries."""

    @abstractmethod
    async def _delete_messages(self, room_id: str) -> None:
        """Delete the chat of a room."""

    @abstractmethod
    async def _get_ttl(self, room_id: str) -> timedelta | None:
        """Return the remaining TTL of a chat, with the special values of `RoomReader.room_ttl`."""

    async def add_message(self, message: ChatMessage) -> None:
        """See `ChatStore.add_message`."""
        message = validated(message, ChatMessage)
        self._lifecycle.check(("room id", message.room_id), ("message id", message.id), ("user id", message.user_id))
        if message.__pydantic_extra__:
            check_depth(message)
        self._limits.check_message(message)
        await self._add(message)

    async def get_messages(self, room_id: str, limit: int | None = None) -> list[ChatMessage]:
        """See `ChatReader.get_messages`."""
        self._lifecycle.check(("room id", room_id))
        if limit is not None and not (type(limit) is int and limit >= 0):
            message = f"limit must be None or an integer of at least 0, got {limit!r}"
            raise ValueError(message)
        messages = await self._get_messages(room_id)
        return list(messages if limit is None else messages[max(0, len(messages) - limit) :])

    async def edit_message(
        self, room_id: str, message_id: str, change: Callable[[ChatMessage], ChatMessage]
    ) -> ChatMessage | None:
        """See `ChatStore.edit_message`."""
        self._lifecycle.check(("room id", room_id), ("message id", message_id))
        return await self._edit(
            room_id, message_id, lambda message: self._validate_edit(message, rules.edit_message(message, change))
        )

    async def remove_message(self, room_id: str, message_id: str) -> bool:
        """See `ChatStore.remove_message`."""
        self._lifecycle.check(("room id", room_id), ("message id", message_id))
        return await self._remove(room_id, message_id)

    async def clear_messages(self, room_id: str) -> None:
        """See `ChatStore.clear_messages`."""
        self._lifecycle.check(("room id", room_id))
        await self._delete_messages(room_id)

    async def chat_ttl(self, room_id: str) -> timedelta | None:
        """See `ChatReader.chat_ttl`."""
        self._lifecycle.check(("room id", room_id))
        return await self._get_ttl(room_id)

    def _validate_edit(self, before: ChatMessage, after: ChatMessage) -> ChatMessage:
        """Check the depth and sizes of an edited message. Values that `before` contains are accepted."""
        check_depth(after, before)
        self._limits.check_edit(before, after)
        return after
