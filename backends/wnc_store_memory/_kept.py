"""The messages that a chat keeps."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Sequence
from itertools import islice

from wnc_store import ChatMessage


class KeptMessages:
    """The messages of a chat, oldest first.

    An append does what `rules.append` says, in place: however many are kept, it touches only the new message and what
    has to go.
    """

    __slots__ = ("_ids", "_messages")

    def __init__(self, messages: Iterable[ChatMessage] = ()) -> None:
        self._messages = deque(messages)
        self._ids = Counter(message.id for message in self._messages)

    def append(self, message: ChatMessage, limit: int) -> bool:
        """Add a message and keep the last `limit`; False, with nothing changed, if one of its id is among these."""
        messages, ids = self._messages, self._ids
        if message.id in ids and any(one.id == message.id for one in islice(reversed(messages), limit)):
            return False
        messages.append(message)
        ids[message.id] += 1
        while len(messages) > limit:
            gone = messages.popleft().id
            ids[gone] -= 1
            if not ids[gone]:
                del ids[gone]
        return True

    def newest(self, limit: int) -> Sequence[ChatMessage]:
        """Return the last `limit` messages."""
        messages = list(self._messages)
        return messages if len(messages) <= limit else messages[-limit:]
