"""The messages of a chat."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from wnc_store import ChatMessage, rules
from wnc_store.base import MessageEdit


class ChatHistory:
    """The messages of a chat, oldest first.

    `append` is the in-place form of `rules.append`. Its cost does not depend on the number of messages.
    """

    __slots__ = ("_ids", "_messages")

    def __init__(self, messages: Iterable[ChatMessage] = ()) -> None:
        self._set(messages)

    def _set(self, messages: Iterable[ChatMessage]) -> None:
        self._messages = list(messages)
        self._ids: dict[str, int] = dict(Counter(message.id for message in self._messages))

    def append(self, message: ChatMessage, limit: int) -> bool:
        """Append a message and keep the last `limit`. Return False and change nothing if a kept one has the same id."""
        messages, ids = self._messages, self._ids
        if message.id in ids and any(existing.id == message.id for existing in messages[-limit:]):
            return False
        messages.append(message)
        ids[message.id] = ids.get(message.id, 0) + 1
        for dropped in messages[:-limit]:
            ids[dropped.id] -= 1
            if not ids[dropped.id]:
                del ids[dropped.id]
        del messages[:-limit]
        return True

    def edit(self, message_id: str, edit: MessageEdit, limit: int) -> ChatMessage | None:
        """Replace the messages with an id by the result of `edit`. Return it, or None if there are none."""
        current = rules.newest(self._messages, message_id, limit)
        if current is None:
            return None
        edited = edit(current)
        self._set(rules.replace_message(self._messages, message_id, edited, limit))
        return edited

    def remove(self, message_id: str, limit: int) -> bool:
        """Remove the messages with an id. Return whether there were any."""
        if rules.newest(self._messages, message_id, limit) is None:
            return False
        self._set(rules.replace_message(self._messages, message_id, None, limit))
        return True

    @property
    def is_empty(self) -> bool:
        """Whether no message is left."""
        return not self._messages

    def newest(self, limit: int) -> Sequence[ChatMessage]:
        """Return the last `limit` messages. The result is valid until the next append."""
        return self._messages if len(self._messages) <= limit else self._messages[-limit:]
