"""LRU caches of decoded rooms and chats.

A cached value is used only after the server's bytes were compared with the cached bytes, by a read or by a script. The
caches save decoding, and they let a commit start without a read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from cachetools import LRUCache

from wnc_store import ChatMessage
from wnc_store.base import ChatDecoder, VersionedRoom, decode_room
from wnc_store_redis.codec import has_nonce
from wnc_store_redis.keys import text
from wnc_store_redis.transport.statistics import Statistics

_ID_BYTES = 32
"""Approximate size of a message id in memory."""


class RoomCache:
    """The most recently used rooms, with at most `max_bytes` of stored bytes together; 0 disables the cache."""

    def __init__(self, max_bytes: int, statistics: Statistics) -> None:
        self._statistics = statistics
        self._rooms: LRUCache[str, VersionedRoom[bytes]] = LRUCache(max_bytes, lambda stored: len(stored.version))

    def get(self, room_id: str) -> VersionedRoom[bytes] | None:
        """Return the cached room, which may be out of date, or None."""
        return self._rooms.get(room_id)

    def put(self, stored: VersionedRoom[bytes]) -> None:
        """Cache a room. A room that exceeds the limit is removed from the cache instead."""
        try:
            self._rooms[stored.room.id] = stored
        except ValueError:  # larger than the whole cache
            self._rooms.pop(stored.room.id, None)

    def discard(self, room_id: str) -> None:
        """Remove a room from the cache, if it is cached."""
        self._rooms.pop(room_id, None)

    def read(self, key: bytes, room_id: str, data: bytes) -> VersionedRoom[bytes]:
        """Return the room that `data` encodes. Decode it only if the cached bytes differ.

        Raises:
            CorruptRecordError: `data` is not a room with this id. The error names the key.
        """
        cached = self._rooms.get(room_id)
        if cached is not None and cached.version == data:
            self._statistics.cache_hits += 1
            return cached
        self._statistics.cache_misses += 1
        cached = VersionedRoom(decode_room(text(key), room_id, data), data)
        self.put(cached)
        return cached


class _CachedChat:
    """A chat as it was last read, and what was appended since.

    Attributes:
        entries: the stored entries at the last read, oldest first.
        messages: the messages that could be decoded from `entries`.
        by_entry: the message of each entry.
        newest: the newest entry, including appends since the last read.
        has_all_ids: whether `ids` contains the id of every stored message, and not only of the newest ones.
        entries_size: size of `entries` in bytes, plus one for each entry.
    """

    __slots__ = ("_ids", "by_entry", "entries", "entries_size", "has_all_ids", "messages", "newest")

    def __init__(
        self, entries: Sequence[bytes], messages: Sequence[ChatMessage], by_entry: Mapping[bytes, ChatMessage]
    ) -> None:
        self.entries = entries
        self.messages = messages
        self.by_entry = by_entry
        self.entries_size = sum(map(len, entries), len(entries))
        self.restart_ids(entries[-1] if entries else b"", None)

    def restart_ids(self, newest: bytes, ids: dict[str, None] | None) -> None:
        """Set the newest entry and the known ids; None takes the ids from `messages`, when they are first needed."""
        self.newest = newest
        self.has_all_ids = ids is None
        self._ids = ids

    @property
    def ids(self) -> dict[str, None]:
        """The ids of messages, oldest first."""
        if self._ids is None:
            # An id that occurs twice takes its last position, so that it is not dropped while its entry is stored.
            self._ids = dict.fromkeys(reversed(dict.fromkeys(message.id for message in reversed(self.messages))))
        return self._ids


class ChatCache:
    """The most recently used chats.

    For each chat the cache also tracks the newest entry and the ids of the stored messages. As long as the newest
    entry is unchanged, nothing was appended, so the server need not search the chat for the id of a new message. The
    server compares the entry, and a nonce makes every entry that this library writes unique.

    Args:
        max_bytes: limit on the size of all chats together; 0 disables the cache.
        limit: how many messages a chat keeps.
        decoder: decodes entries that are not cached.
    """

    def __init__(self, max_bytes: int, limit: int, decoder: ChatDecoder, statistics: Statistics) -> None:
        self._limit = limit
        self._decoder = decoder
        self._statistics = statistics
        self._chats: LRUCache[str, _CachedChat] = LRUCache(
            max_bytes, lambda chat: chat.entries_size + len(chat.newest) + _ID_BYTES * limit
        )

    def read(self, key: bytes, room_id: str, entries: Sequence[bytes]) -> Sequence[ChatMessage]:
        """Return the messages of a chat from all its entries, oldest first. Decode only those that are not cached."""
        if not entries:
            self._chats.pop(room_id, None)
            return ()
        chat = self._chats.get(room_id)
        if chat is not None and chat.entries == entries:
            self._statistics.cache_hits += 1
            if chat.newest != entries[-1] or not chat.has_all_ids:
                chat.restart_ids(entries[-1], None)
            return chat.messages
        self._statistics.cache_misses += 1
        cached: Mapping[bytes, ChatMessage] = {} if chat is None else chat.by_entry
        by_entry: dict[bytes, ChatMessage] = {}
        messages: list[ChatMessage] = []
        for entry in entries:
            message = cached.get(entry) or self._decoder.decode(text(key), entry)
            if message is not None:
                by_entry[entry] = message
                messages.append(message)
        self._put(room_id, _CachedChat(entries, messages, by_entry))
        return messages

    def append_hint(self, room_id: str, message_id: str) -> tuple[bytes, bytes]:
        """Return what is known of a chat to which a message is about to be appended.

        Returns:
            The newest entry if no message of the chat has the id while that entry is the newest, else b""; and the
            newest entry in any case. Both are b"" unless the newest entry is known and has a nonce: another writer
            can store equal entries, which identify nothing.
        """
        chat = self._chats.get(room_id)
        if chat is None:
            return b"", b""
        anchor = chat.newest if has_nonce(chat.newest) else b""
        is_new = chat.has_all_ids and message_id not in chat.ids
        return anchor if is_new else b"", anchor

    def record_append(self, room_id: str, message_id: str, entry: bytes, previous: bytes, count: int) -> None:
        """Record that `entry` was appended after `previous`, and that the chat has `count` entries since."""
        chat = self._chats.get(room_id) or _CachedChat((), (), {})
        if chat.newest != previous or not has_nonce(previous):
            chat.restart_ids(entry, {})
        ids = chat.ids
        ids.pop(message_id, None)  # the id of a message that was trimmed: it moves to the end
        ids[message_id] = None
        if len(ids) > self._limit:
            del ids[next(iter(ids))]
        chat.newest = entry
        chat.has_all_ids = chat.has_all_ids or len(ids) >= count
        self._put(room_id, chat)

    def _put(self, room_id: str, chat: _CachedChat) -> None:
        try:
            self._chats[room_id] = chat
        except ValueError:  # larger than the whole cache
            self._chats.pop(room_id, None)
