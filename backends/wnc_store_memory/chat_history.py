"""The messages that a chat keeps."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from wnc_store import ChatMessage


class ChatHistory:
    """The messages of a chat, oldest first.

    An append does what `rules.append` says, in place: however many are kept, it touches only the new message and what
    has to go.
    """

    __slots__ = ("_ids", "_messages")

    def __init__(self, messages: Iterable[ChatMessage] = ()) -> None:
        self._messages = list(messages)
        self._ids: dict[str, int] = dict(Counter(message.id for message in self._messages))

    def append(self, message: ChatMessage, limit: int) -> bool:
        """Add a message and keep the last `limit`; False, with nothing changed, if one of its id is among these."""
        messages, ids = self._messages, self._ids
        if message.id in ids and any(one.id == message.id for one in messages[-limit:]):
            return False
        messages.append(message)
        ids[message.id] = ids.get(message.id, 0) + 1
        for gone in messages[:-limit]:
            ids[gone.id] -= 1
            if not ids[gone.id]:
                del ids[gone.id]
        del messages[:-limit]
        return True

    def newest(self, limit: int) -> Sequence[ChatMessage]:
        """Return the last `limit` messages, as they are until the next append."""
        return self._messages if len(self._messages) <= limit else self._messages[-limit:]
