"""What is known of the end of chats: the newest entry, and the ids of the entries before it.

While the newest entry is the one that is known here, nothing was appended since, so the server need not look through
the kept messages for the id of a new one. Nothing is taken on trust: the server compares the entry.
"""

from __future__ import annotations

from collections.abc import Sequence

from cachetools import LRUCache

from wnc_store import ChatMessage

_CHATS = 10_000
"""Chats of which the end is remembered."""


class _Tail:
    __slots__ = ("ids", "is_whole", "last")

    def __init__(self, last: bytes, ids: dict[str, None], *, is_whole: bool) -> None:
        self.last = last
        self.ids = ids  # oldest first
        self.is_whole = is_whole  # whether these are all that the chat keeps, and not only the newest


class Tails:
    """The ends of the chats that were used last.

    Args:
        limit: how many messages a chat keeps.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._tails: LRUCache[str, _Tail] = LRUCache(_CHATS)

    def before(self, room_id: str, message_id: str) -> tuple[bytes, str | None]:
        """Return what is known of a chat to which a message is to be appended.

        Returns:
            The newest entry, if no message of the chat has that id as long as it is the newest, else b""; and the id of
            the newest message.
        """
        tail = self._tails.get(room_id)
        if tail is None:
            return b"", None
        is_new = tail.is_whole and message_id not in tail.ids
        return tail.last if is_new else b"", next(reversed(tail.ids), None)

    def appended(self, room_id: str, message_id: str, entry: bytes, previous: bytes, kept: int) -> None:
        """Remember an entry that was appended after `previous`, and makes the chat keep so many."""
        tail = self._tails.get(room_id)
        if tail is None or tail.last != previous:
            tail = self._tails[room_id] = _Tail(entry, {}, is_whole=False)
        tail.last = entry
        tail.ids[message_id] = None
        if len(tail.ids) > self._limit:
            del tail.ids[next(iter(tail.ids))]
        tail.is_whole = tail.is_whole or len(tail.ids) >= kept

    def read(self, room_id: str, entries: Sequence[bytes], messages: Sequence[ChatMessage]) -> None:
        """Remember all that a chat keeps: its entries, and those that could be read."""
        if entries:
            ids = dict.fromkeys(message.id for message in messages)
            self._tails[room_id] = _Tail(entries[-1], ids, is_whole=True)
        else:
            self._tails.pop(room_id, None)
