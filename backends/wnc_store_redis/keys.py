"""Names of keys and channels: those of the Node app, with a prefix."""

from __future__ import annotations


class Keys:
    """The keys and channels of one prefix and database.

    Args:
        prefix: the start of every key and channel name.
        database: the number of the database. The databases of a server share their channels, so the channel names of
            every database except 0 contain its number.
        is_sharded: whether the name of a channel contains its key in braces, as a hash tag, so that both have the same
            cluster slot. Neither prefixes nor ids contain braces.

    Attributes:
        active_rooms: the key of the index of active rooms: a set of room ids.
        publish: the command that publishes to these channels.
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
        """Return the key of a client's leases: a sorted set, scored by expiry time in epoch milliseconds."""
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
        """Return the channel of a chat's events: that of the room, or on a cluster a separate one."""
        return self._channel(self.chat(room_id)) if self._is_sharded else self.events(room_id)

    def notifications(self, room_id: str) -> bytes:
        """Return the channel of the server's keyspace notifications for a room's key."""
        return self._notifications + room_id.encode()

    def room_of_channel(self, channel: bytes) -> tuple[str, bool]:
        """Return the room id of a channel, and whether the channel is that of keyspace notifications."""
        is_notification = channel.startswith(self._notifications)
        name = channel.removeprefix(self._notifications if is_notification else self._events)
        if self._is_sharded:
            key = self.key_for_channel(channel)
            name = key.removeprefix(self._chat if key.startswith(self._chat) else self._room)
        return name.decode(), is_notification

    def channel_for_key(self, key: bytes) -> bytes | None:
        """Return the channel in the same slot as the key of a room or a chat; None for another key."""
        return self._channel(key) if key.startswith((self._room, self._chat)) else None

    def key_for_channel(self, channel: bytes) -> bytes:
        """Return the key in the same slot as a sharded channel."""
        return channel.removeprefix(self._events)[1:-1]

    def _channel(self, key: bytes) -> bytes:
        return self._events + b"{" + key + b"}"


def text(key: bytes) -> str:
    """Return a key as text, for error messages."""
    return key.decode("utf-8", "replace")


def _bytes(room_id: str | bytes) -> bytes:
    return room_id.encode() if isinstance(room_id, str) else room_id
