"""LRU caches of decoded rooms and chats.

A cached value is used only after the server's bytes were compared with the cached bytes, by a read or by a script. The
caches save decoding, and they let a commit start without a read.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence

from cachetools import LRUCache

from wnc_store import ChatMessage, Room, SecretBytes
from wnc_store.base import ChatDecoder, VersionedRoom, decode_room
from wnc_store_redis.codec import has_nonce
from wnc_store_redis.keys import text
from wnc_store_redis.transport.connection import Reply
from wnc_store_redis.transport.replies import UnexpectedReplyError, is_bytes
from wnc_store_redis.transport.statistics import Statistics

_ID_BYTES = 32
"""Approximate size of a message id in memory."""


class RoomCache(LRUCache[str, "VersionedRoom[bytes] | None"]):
    """The most recently used rooms by id, which may be out of date; None for a room that is not cached.

    Args:
        max_bytes: limit on the stored bytes of all rooms together; 0 disables the cache.
        statistics: the counters of the store.
    """

    def __init__(self, max_bytes: int, statistics: Statistics) -> None:
        super().__init__(max_bytes, lambda stored: 0 if stored is None else len(stored.version))
        self._statistics = statistics

    __repr__ = object.__repr__  # tools that record local variables would show all rooms

    def __missing__(self, _room_id: str) -> None:
        """Return None, and do not cache it."""

    def put(self, stored: VersionedRoom[bytes]) -> None:
        """Cache a room. A room that exceeds the limit is removed from the cache instead."""
        try:
            self[stored.room.id] = stored
        except ValueError:  # larger than the whole cache
            self.discard(stored.room.id)

    def discard(self, room_id: str) -> None:
        """Remove a room from the cache, if it is cached."""
        self.pop(room_id, None)

    def decode_room(self, key: bytes, room_id: str, data: Reply) -> Room | None:
        """Return the room that stored bytes encode; None for None. Parse them only if the cached bytes differ.

        Raises:
            CorruptRecordError: `data` is not a room with this id. The error names the key.
            UnexpectedReplyError: `data` is neither bytes nor None.
        """
        cached = self[room_id]
        if cached is not None and cached.version == data:
            self._statistics.cache_hits += 1
            return cached.room
        if data is None:
            self.discard(room_id)
            return None
        if not is_bytes(data):
            raise UnexpectedReplyError
        self._statistics.cache_misses += 1
        data = SecretBytes(data)
        room = decode_room(text(key), room_id, data)
        self.put(VersionedRoom(room, data))
        return room

    def decode(self, key: bytes, room_id: str, data: Reply) -> VersionedRoom[bytes] | None:
        """Return the room with its version; see `decode_room`."""
        data = SecretBytes(data) if is_bytes(data) else data
        room = self.decode_room(key, room_id, data)
        return None if room is None else VersionedRoom(room, data)


class CachedChat:
    """A chat as it was last read, and what was appended since.

    An append sends the newest entry as a hint. If the server still has the same newest entry, nothing was appended, and
    the server need not search the chat for the id of the new message. A nonce makes every entry of this library unique.

    Args:
        key: the key of the chat.
        limit: how many messages the chat keeps.

    Attributes:
        key: the key of the chat.
        entries: the stored entries at the last read, oldest first.
        messages: the messages that could be decoded from `entries`.
        by_entry: the message of each entry.
        size: size in bytes of these entries and of the largest appended one.
    """

    __slots__ = (
        *("_anchor", "_appended_size", "_has_all_ids", "_ids", "_limit"),
        *("by_entry", "entries", "key", "messages", "size"),
    )

    def __init__(self, key: bytes, limit: int) -> None:
        self._limit = limit
        self.key = key
        self.entries: Sequence[bytes] = ()
        self.messages: list[ChatMessage] = []
        self.by_entry: dict[bytes, ChatMessage] = {}
        self.size = self._appended_size = 0
        self._anchor = b""  # the newest entry, including appends since the last read; b"" unless it has a nonce
        self._ids: deque[str] | None = None  # the ids of the newest messages; None until they are needed after a read
        self._has_all_ids = False  # whether these are the ids of all stored messages

    def record_read(self) -> None:
        """Record that the server has exactly `entries`, which are not empty."""
        newest = self.entries[-1]
        if newest != self._anchor or not self._has_all_ids:
            self._anchor = SecretBytes(newest) if has_nonce(newest) else b""
            self._ids, self._has_all_ids = None, True

    def replace(self, entries: Sequence[bytes], decoder: ChatDecoder) -> None:
        """Replace the entries. Parse only those that are not known."""
        by_entry: dict[bytes, ChatMessage] = {}
        messages: list[ChatMessage] = []
        for entry in entries:
            message = self.by_entry.get(entry) or decoder.decode(text(self.key), entry)
            if message is not None:
                by_entry[entry] = message
                messages.append(message)
        self.by_entry, self.messages, self.entries = by_entry, messages, entries
        self.size, self._appended_size = sum(map(len, entries)), 0

    def append_hint(self, message_id: str) -> tuple[bytes, bytes]:
        """Return what is known before a message is appended.

        Returns:
            The hint, and the anchor for a retry. The anchor is the newest entry. The hint is the newest entry if the
            chat is known not to contain the id, else b"". Both are b"" if the newest entry is unknown or lacks a nonce,
            because another writer can store an equal entry again.
        """
        if self._ids is None:
            self._ids = deque([message.id for message in self.messages], self._limit)
        is_new = self._has_all_ids and message_id not in self._ids
        return self._anchor if is_new else b"", self._anchor

    def record_append(self, message_id: str, entry: bytes, previous: bytes, count: int) -> bool:
        """Record that `entry` was appended after `previous`, and that the chat then had `count` entries.

        Returns:
            Whether `size` has changed.
        """
        if self._ids is None or previous != self._anchor or not previous:
            self._ids, self._has_all_ids = deque(maxlen=self._limit), False
        self._ids.append(message_id)
        self._anchor = entry
        self._has_all_ids = self._has_all_ids or len(self._ids) >= count
        if len(entry) <= self._appended_size:
            return False
        self.size += len(entry) - self._appended_size
        self._appended_size = len(entry)
        return True


class ChatCache(LRUCache[str, CachedChat]):
    """The most recently used chats by the id of the room. Nothing is known of a chat that is not cached.

    Args:
        max_bytes: limit on the size of all chats together; 0 disables the cache.
        limit: how many messages a chat keeps.
        key_of: returns the key of a room's chat.
        decoder: decodes entries that are not cached.
        statistics: the counters of the store.
    """

    def __init__(
        self, max_bytes: int, limit: int, key_of: Callable[[str], bytes], decoder: ChatDecoder, statistics: Statistics
    ) -> None:
        super().__init__(max_bytes, lambda chat: chat.size + _ID_BYTES * limit)
        self._limit = limit
        self._key_of = key_of
        self._decoder = decoder
        self._statistics = statistics

    __repr__ = object.__repr__  # as in `RoomCache`

    def __missing__(self, room_id: str) -> CachedChat:
        """Return a chat of which nothing is known. It is cached at once, so that concurrent appends share it."""
        chat = CachedChat(self._key_of(room_id), self._limit)
        self.put(room_id, chat)
        return chat

    def put(self, room_id: str, chat: CachedChat) -> None:
        """Cache a chat, or cache it again because its size has changed. A chat that exceeds the limit is removed."""
        try:
            self[room_id] = chat
        except ValueError:  # larger than the whole cache
            self.pop(room_id, None)

    def decode(self, room_id: str, entries: Sequence[bytes]) -> Sequence[ChatMessage]:
        """Return the messages of a chat from all its entries, oldest first. Parse only those that are not cached."""
        if not entries:
            self.pop(room_id, None)
            return ()
        return self._read(room_id, entries).messages

    def find(self, room_id: str, entries: Sequence[bytes], message_id: str) -> Sequence[tuple[bytes, ChatMessage]]:
        """Return the entries of a chat with the id of a message, newest first, and their messages.

        Args:
            room_id: the id of the room.
            entries: all entries of the chat, oldest first.
            message_id: the id of the message.
        """
        if not entries:
            self.pop(room_id, None)
            return ()
        by_entry = self._read(room_id, entries).by_entry
        pairs = [(entry, by_entry[entry]) for entry in dict.fromkeys(reversed(entries)) if entry in by_entry]
        return [pair for pair in pairs if pair[1].id == message_id]

    def _read(self, room_id: str, entries: Sequence[bytes]) -> CachedChat:
        chat = self[room_id]
        if chat.entries == entries:
            self._statistics.cache_hits += 1
        else:
            self._statistics.cache_misses += 1
            chat.replace(entries, self._decoder)
            self.put(room_id, chat)
        chat.record_read()
        return chat
