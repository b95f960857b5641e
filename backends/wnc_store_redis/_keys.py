"""The names of the keys: those of the Node app, behind a prefix."""

from __future__ import annotations


class Keys:
    """The keys of one namespace.

    Args:
        prefix: goes before every key.
    """

    def __init__(self, prefix: str) -> None:
        self._room = f"{prefix}room:".encode()
        self._chat = f"{prefix}chat:".encode()
        self._connections = f"{prefix}connections:".encode()
        self._rate_limit = f"{prefix}rl:".encode()
        self.active_rooms = f"{prefix}active-rooms".encode()

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


def text(key: bytes) -> str:
    """Return a key as errors show it."""
    return key.decode("utf-8", "replace")


def _bytes(room_id: str | bytes) -> bytes:
    return room_id.encode() if isinstance(room_id, str) else room_id
