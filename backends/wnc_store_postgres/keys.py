"""Names of records, as messages contain them, and of channels."""

from __future__ import annotations

import hashlib
import random
from datetime import timedelta
from functools import partial

_MILLISECOND = timedelta(milliseconds=1)
_random = random.SystemRandom()


class Keys:
    """The names of the records of one store. They equal the keys of the Redis backend.

    Attributes:
        channel: the channel of NOTIFY. Channels do not belong to a schema, so stores in two schemas of one database
            need different prefixes.
    """

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix
        self.channel = f"wnc_store_{hashlib.blake2b(prefix.encode(), digest_size=16).hexdigest()}"

    def room(self, room_id: str) -> str:
        """Return the name of a room."""
        return f"{self.prefix}room:{room_id}"

    def chat(self, room_id: str) -> str:
        """Return the name of a chat."""
        return f"{self.prefix}chat:{room_id}"

    def connections(self, key: str) -> str:
        """Return the name of the leases of a client."""
        return f"{self.prefix}connections:{key}"

    def rate_limit(self, key: str) -> str:
        """Return the name of the count of a client."""
        return f"{self.prefix}rl:{key}"


new_version = partial(_random.getrandbits, 63)
"""Return a random version of a record."""


def to_millis(ttl: timedelta) -> int:
    """Return a TTL in whole milliseconds."""
    return ttl // _MILLISECOND


def to_ttl(rows: list[tuple[int | None]]) -> timedelta | None:
    """Return the TTL of a record from the rows of a query: None if there is no row, `timedelta.max` for NULL."""
    if not rows:
        return None
    (remaining,) = rows[0]
    return timedelta.max if remaining is None else timedelta(milliseconds=remaining)
