"""The names of keys and channels: a prefix and the name that the Node app uses, with a hash tag on a cluster.

A cluster runs a script only if all its keys share a slot. Slots depend on the part of a key in braces, the hash tag. So
on a cluster rooms are spread over buckets, and all keys of a bucket carry its tag:

    room:ABC  chat:ABC  active-rooms  events:ABC                                on a single server
    room:{0840}:ABC  chat:{0840}:ABC  active-rooms:{0840}  events:{0840}:ABC    on a cluster

Neither prefixes nor ids contain braces, so the tag is the first pair of braces in a key.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from zlib import crc32

_BUCKETS = 1024

_TAGS = tuple(b"{%04d}" % number for number in range(_BUCKETS))
_TAG_SIZE = len(_TAGS[0])


_PROBE = b"!health"


class Keys:
    """The keys and channels of one namespace.

    Args:
        prefix: The start of every key and channel.
        database: The number of the database. Channels are shared by all databases of a server, so the names of channels
            contain the number unless it is 0.
        is_bucketed: Whether rooms are spread over buckets, as on a cluster.

    Attributes:
        buckets: The hash tags of all buckets. On a single server, one empty tag.
        publish: The command that publishes in these channels.
    """

    def __init__(self, prefix: str, database: int, *, is_bucketed: bool = False) -> None:
        self._room = f"{prefix}room:".encode()
        self._chat = f"{prefix}chat:".encode()
        self._active_rooms = f"{prefix}active-rooms".encode()
        self._connections = f"{prefix}connections:".encode()
        self._rate_limit = f"{prefix}rl:".encode()
        self._notifications = f"__keyspace@{database}__:".encode() + self._room
        self._events = f"{prefix}events{f'@{database}' if database else ''}:".encode()
        self._is_bucketed = is_bucketed
        self._name: Callable[[str], bytes] = _tagged if is_bucketed else str.encode
        self.buckets: Sequence[bytes] = _TAGS if is_bucketed else (b"",)
        self.publish = b"SPUBLISH" if is_bucketed else b"PUBLISH"

    def bucket(self, room_id: str) -> bytes:
        """Return the hash tag of a room's bucket."""
        return _TAGS[crc32(room_id.encode()) % _BUCKETS] if self._is_bucketed else b""

    def active_rooms(self, bucket: bytes) -> bytes:
        """Return the key of the index of a bucket's active rooms: a set of ids."""
        return self._active_rooms + b":" + bucket if bucket else self._active_rooms

    def index_ttl(self, room_ttl: timedelta) -> timedelta:
        """Return the minimum TTL of an index after a write of a room with this TTL.

        The index of a bucket lists few rooms, often one. It outlives them, so that a sweep finds and counts them.
        """
        return 2 * room_ttl if self._is_bucketed else room_ttl

    def of_probe(self, bucket: bytes) -> tuple[list[bytes], bytes]:
        """Return the keys and the channel for a health check: the index, and names with an invalid id."""
        name = bucket + b":" + _PROBE if bucket else _PROBE
        kinds = self._room, self._chat, self._connections, self._rate_limit
        return [*(kind + name for kind in kinds), self.active_rooms(bucket)], self._events + name

    def listed_room(self, bucket: bytes, entry: bytes) -> bytes:
        """Return the key of the room that an entry of a bucket's index names. It is in the slot of the index."""
        return self._room + bucket + b":" + entry if bucket else self._room + entry

    def of_room(self, room_id: str) -> list[bytes]:
        """Return the keys of a room, of the index that lists it, and of its chat."""
        name = self._name(room_id)
        return [self._room + name, self.active_rooms(self.bucket(room_id)), self._chat + name]

    def of_update(self, room_id: str) -> list[bytes]:
        """Return the keys of a room and of the index that lists it."""
        if self._is_bucketed:
            return self.of_room(room_id)[:2]
        return [self._room + room_id.encode(), self._active_rooms]

    def room(self, room_id: str) -> bytes:
        """Return the key of a room: a string of JSON."""
        return self._room + self._name(room_id)

    def connections(self, key: str) -> bytes:
        """Return the key of a client's leases: a sorted set, scored by the end of each in epoch milliseconds."""
        return self._connections + key.encode()

    def rate_limit(self, key: str) -> bytes:
        """Return the key of a client's hits: a plain integer."""
        return self._rate_limit + key.encode()

    def chat(self, room_id: str) -> bytes:
        """Return the key of a room's chat: a list of JSON, in the order of the setting `chat_order`."""
        return self._chat + self._name(room_id)

    def events(self, room_id: str) -> bytes:
        """Return the channel of a room's events: JSON."""
        return self._events + self._name(room_id)

    def notifications(self, room_id: str) -> bytes:
        """Return the channel of the server's notifications about a room's key."""
        return self._notifications + self._name(room_id)

    def notifications_for_channel(self, channel: bytes) -> bytes:
        """Return the channel of the server's notifications about the room whose events a channel carries."""
        return self._notifications + channel.removeprefix(self._events)

    def room_of_channel(self, channel: bytes) -> tuple[str, bool]:
        """Return the id of a channel's room, and whether it is a channel of the server's notifications."""
        is_notified = channel.startswith(self._notifications)
        name = channel.removeprefix(self._notifications if is_notified else self._events)
        return (name[_TAG_SIZE + 1 :] if self._is_bucketed else name).decode(), is_notified

    def channel_for_key(self, key: bytes) -> bytes | None:
        """Return the channel of the room that has this key or whose chat has it; None for another key."""
        for start in (self._room, self._chat):
            if key.startswith(start):
                return self._events + key.removeprefix(start)
        return None

    def key_for_channel(self, channel: bytes) -> bytes:
        """Return the key of the room whose events a channel carries; on a cluster they share a slot."""
        return self._room + channel.removeprefix(self._events)


def _tagged(room_id: str) -> bytes:
    encoded = room_id.encode()
    return _TAGS[crc32(encoded) % _BUCKETS] + b":" + encoded


def text(key: bytes) -> str:
    """Return a key as errors show it."""
    return key.decode("utf-8", "replace")
