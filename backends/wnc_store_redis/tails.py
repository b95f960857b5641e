"""What is known of the end of chats: the newest entry, and the ids of the entries before it.

While the newest entry is the one that is known here, nothing was appended since, so the server need not look through
the kept messages for the id of a new one. Nothing is taken on trust: the server compares the entry, and no two that
this library writes are equal (see `_marks`).
"""

from __future__ import annotations

from collections.abc import Sequence

from cachetools import LRUCache

from wnc_store import ChatMessage

_ID_BYTES = 32
"""What an id takes, about."""


class _Tail:
    """The end of a chat.

    Attributes:
        last: the newest entry.
        messages: what the chat kept when it was read, if nothing was appended since; the ids are taken from it only
            when there is something to append.
        is_whole: whether the ids are all that the chat keeps, and not only the newest.
        most_bytes: of the newest entries so far.
    """

    __slots__ = ("_ids", "has_all_ids", "last", "messages", "most_bytes")

    def __init__(self, last: bytes, messages: Sequence[ChatMessage] | None) -> None:
        self.last = last
        self.messages = messages
        self.has_all_ids = messages is not None
        self.most_bytes = len(last)
        self._ids: dict[str, None] | None = None

    @property
    def ids(self) -> dict[str, None]:
        """The ids of messages, oldest first."""
        if self._ids is None:
            self._ids = dict.fromkeys(message.id for message in self.messages or ())
        return self._ids


class Tails:
    """The ends of the chats that were used last, up to so many bytes.

    Args:
        most_bytes: of all ends together; 0 remembers nothing.
        limit: how many messages a chat keeps.
    """

    def __init__(self, most_bytes: int, limit: int) -> None:
        self._limit = limit
        self._tails: LRUCache[str, _Tail] = LRUCache(most_bytes, lambda tail: tail.most_bytes + _ID_BYTES * limit)

    def append_hint(self, room_id: str, message_id: str) -> tuple[bytes, bytes]:
        """Return what is known of a chat to which a message is to be appended.

        Returns:
            The newest entry, if no message of the chat has that id as long as it is the newest, else b""; and the
            newest entry in any case, or b"" if none is known.
        """
        tail = self._tails.get(room_id)
        if tail is None:
            return b"", b""
        is_new = tail.has_all_ids and message_id not in tail.ids
        return tail.last if is_new else b"", tail.last

    def record_append(self, room_id: str, message_id: str, entry: bytes, previous: bytes, kept: int) -> None:
        """Remember an entry that was appended after `previous`, and makes the chat keep so many."""
        tail = self._tails.get(room_id)
        if tail is None or tail.last != previous:
            tail = _Tail(entry, None)
            self._keep(room_id, tail)
        ids = tail.ids
        ids.pop(message_id, None)  # of a message that is kept no more: it is the newest now
        ids[message_id] = None
        if len(ids) > self._limit:
            del ids[next(iter(ids))]
        tail.last, tail.messages = entry, None
        tail.has_all_ids = tail.has_all_ids or len(ids) >= kept
        if len(entry) > tail.most_bytes:
            tail.most_bytes = len(entry)
            self._keep(room_id, tail)

    def read(self, room_id: str, entries: Sequence[bytes], messages: Sequence[ChatMessage]) -> None:
        """Remember all that a chat keeps: its entries, and those that could be read."""
        if not entries:
            self._tails.pop(room_id, None)
            return
        tail = self._tails.get(room_id)
        if tail is None or tail.messages is not messages:
            self._keep(room_id, _Tail(entries[-1], messages))

    def _keep(self, room_id: str, tail: _Tail) -> None:
        try:
            self._tails[room_id] = tail
        except ValueError:  # more than all that may be remembered
            self._tails.pop(room_id, None)
