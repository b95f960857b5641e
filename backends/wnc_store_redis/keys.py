"""The names of the keys: those of the Node app, behind a prefix."""

from __future__ import annotations


class Keys:
    """The keys of one namespace, and its channels.

    Args:
        prefix: goes before every key and channel.
        database: whose keys they are. Channels are the same in all databases of a server, so those of another database
            than 0 have its number in their names.
        is_sharded: whether channels are in the slots of keys, as on a cluster. Neither prefixes nor ids hold braces, so
            a key in braces is what a channel's slot goes by.

    Attributes:
        active_rooms: the key of the index of active rooms: a set.
        publish: the command that publishes in these channels.
    """

    def __init__(self, prefix: str, database: int, *, is_sharded: bool = False) -> None:
        self._room = f"{prefix}room:".encode()
        self._chat = f"{prefix}chat:".encode()
        self._connections = f"{prefix}connections:".encode()
        self._rate_limit = f"{prefix}rl:".encode()
        self._notifications = f"__keyspace@{database}__:".encode() + self._room
        self._events = f"{prefix}events{f'@{database}' if database else ''}:".encode()
        self._is_sharded = is_sharded
        self.active_rooms = f"{prefix}active-rooms".encode()
        self.publish = b"SPUBLISH" if is_sharded else b"PUBLISH"

    def room(self, room_id: str | bytes) -> bytes:
        """Return the key of a room: a string of JSON."""
        return self._room + _bytes(room_id)

    def connections(self, key: str) -> bytes:
        """Return the key of a client's leases: a sorted set, scored by the end of each in epoch milliseconds."""
        return self._connections + key.encode()

    def rate_limit(self, key: str) -> bytes:
        """Return the key of a client's hits: a plain integer."""
        return self._rate_limit + key.encode()

    def chat(self, room_id: str | bytes) -> bytes:
        """Return the key of a room's chat: a list of JSON, oldest first."""
        return self._chat + _bytes(room_id)

    def events(self, room_id: str) -> bytes:
        """Return the channel of a room's events: JSON."""
        return self._channel(self.room(room_id)) if self._is_sharded else self._events + room_id.encode()

    def chat_events(self, room_id: str) -> bytes:
        """Return the channel of the events of a room's chat: that of the room, or another where channels have slots."""
        return self._channel(self.chat(room_id)) if self._is_sharded else self.events(room_id)

    def notifications(self, room_id: str) -> bytes:
        """Return the channel on which the server tells what happens to a room's key."""
        return self._notifications + room_id.encode()

    def room_of_channel(self, channel: bytes) -> tuple[str, bool]:
        """Return the room that a channel is about, and whether it is the one of the server's notifications."""
        is_notified = channel.startswith(self._notifications)
        name = channel.removeprefix(self._notifications if is_notified else self._events)
        if self._is_sharded:
            key = self.key_for_channel(channel)
            name = key.removeprefix(self._chat if key.startswith(self._chat) else self._room)
        return name.decode(), is_notified

    def channel_for_key(self, key: bytes) -> bytes | None:
        """Return the channel in the slot of a room's key, or its chat's; None for another key."""
        return self._channel(key) if key.startswith((self._room, self._chat)) else None

    def key_for_channel(self, channel: bytes) -> bytes:
        """Return the key whose slot a sharded channel is in."""
        return channel.removeprefix(self._events)[1:-1]

    def _channel(self, key: bytes) -> bytes:
        return self._events + b"{" + key + b"}"


def text(key: bytes) -> str:
    """Return a key as errors show it."""
    return key.decode("utf-8", "replace")


def _bytes(room_id: str | bytes) -> bytes:
    return room_id.encode() if isinstance(room_id, str) else room_id
