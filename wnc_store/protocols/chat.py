"""Protocols of the chats of rooms."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Protocol

from wnc_store.records.models import ChatMessage


class ChatReader(Protocol):
    """The methods of `ChatStore` that only read."""

    async def get_messages(self, room_id: str, limit: int | None = None) -> list[ChatMessage]:
        """Return the stored messages of a room, oldest first.

        An invalid entry is skipped and logged once.

        Args:
            room_id: Id of the room. The room does not have to exist.
            limit: Return only this number of newest messages. None returns all.

        Raises:
            ValueError: `limit` is not an integer (booleans are rejected), or is negative.
        """
        ...

    async def chat_ttl(self, room_id: str) -> timedelta | None:
        """Return the remaining TTL of a chat, with the same special values as `RoomReader.room_ttl`."""
        ...


class ChatStore(ChatReader, Protocol):
    """The last messages of each room.

    As in the Node app, a chat exists independently of its room, and deleting the room deletes the chat.
    """

    async def add_message(self, message: ChatMessage) -> None:
        """Append a message to the chat of its room and keep the last `chat_history_limit` messages.

        The method is idempotent: if a stored message has the same id, nothing changes.

        Raises:
            ValueError: The message contains a value that can't be stored.
        """
        ...

    async def edit_message(
        self, room_id: str, message_id: str, change: Callable[[ChatMessage], ChatMessage]
    ) -> ChatMessage | None:
        """Replace a message by the result of a function of its current content, atomically.

        The message keeps its id, its room and its author: `id`, `room_id` and `user_id` can't be changed. The other
        fields, such as the name of the author, can. The message also keeps its position. If another client stored
        several messages with this id, `change` gets the newest of them, and its result replaces each of them.

        Args:
            room_id: Id of the room. The room does not have to exist.
            message_id: Id of the message.
            change: A pure function, which is not async. It is called again with the newer message after each concurrent
                change. An exception that it raises propagates to the caller, and nothing is written.

        Returns:
            The message as written. None if no stored message has this id; nothing is written then.

        Raises:
            ConflictError: Concurrent changes made every attempt fail within `operation_timeout`.
            TypeError: `change` is async, or did not return a `ChatMessage`.
            ValueError: `change` returned a message with another id, room id or user id, or a message that can't be
                stored. Nothing is written.
        """
        ...

    async def remove_message(self, room_id: str, message_id: str) -> bool:
        """Remove a message, and each other stored message with the same id. The order of the others does not change.

        A removed message can be added again. A chat whose last message is removed does not exist any more.

        Returns:
            True if this call removed the message. False if no stored message has this id. Of several concurrent calls,
            only one returns True.

        Raises:
            ConflictError: Concurrent changes made every attempt fail within `operation_timeout`.
        """
        ...

    async def clear_messages(self, room_id: str) -> None:
        """Delete the messages of a room."""
        ...
