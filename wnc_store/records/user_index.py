"""Index of the users of a large room, cached on the room.

Without the index, each join of a large room would read all of its users.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from wnc_store.records.encode import MAX_BYTES_PER_CHAR
from wnc_store.records.models import Room, User

_MAX_UNINDEXED = 32
"""Rooms with at most this number of users have no index."""

_FIXED = 256
"""Upper bound of the encoded size of a user in bytes, without id and name."""


class UserIndex(NamedTuple):
    """Positions and size of the users of a room.

    Attributes:
        index_by_id: Position of the first user with each id. Rooms that were extended from this one share the dict, so
            it may contain more users than the room. None if positions changed since they were computed.
        max_encoded_bytes: Upper bound of the encoded size of the users in bytes. Infinity if a user has extra fields,
            whose size is not bounded.
    """

    index_by_id: dict[str, int] | None
    max_encoded_bytes: float


def find(room: Room, user_id: str) -> User | None:
    """Return the user with this id, or None. Equivalent to `Room.user`."""
    index = _cached_index(room)
    if index is None or index.index_by_id is None:  # a single search is cheaper than building the index
        return room.user(user_id)
    position = index.index_by_id.get(user_id, len(room.users))
    return room.users[position] if position < len(room.users) else None


def max_encoded_bytes(room: Room) -> float:
    """Return an upper bound of the encoded size of a room's users in bytes, or infinity."""
    if len(room.users) <= _MAX_UNINDEXED:
        return _max_encoded_bytes(room.users)
    index = _cached_index(room) or _cache_index(room, UserIndex(None, _max_encoded_bytes(room.users)))
    return index.max_encoded_bytes


def extend_index(before: Room, after: Room, newcomer: User) -> None:
    """Derive the index of `after` from `before`. Between them, `newcomer` was appended to the users."""
    if len(before.users) <= _MAX_UNINDEXED:
        return
    index = _cached_index(before)
    index_by_id = index and index.index_by_id
    if index_by_id is None:
        index_by_id = {user.id: position for position, user in reversed([*enumerate(before.users)])}
        _cache_index(before, UserIndex(index_by_id, max_encoded_bytes(before)))
    # The lengths differ if another room was extended from `before`, or if an id is in the room twice.
    if len(index_by_id) == len(before.users):
        index_by_id[newcomer.id] = len(before.users)
        _cache_index(after, UserIndex(index_by_id, max_encoded_bytes(before) + _max_encoded_bytes((newcomer,))))


def propagate_size(before: Room, after: Room, former: User, user: User) -> None:
    """Derive the size of `after` from `before`. Between them, `former` was removed and `user` was appended."""
    index = _cached_index(before)
    if index is not None and math.isfinite(index.max_encoded_bytes):
        size = index.max_encoded_bytes - _max_encoded_bytes((former,)) + _max_encoded_bytes((user,))
        _cache_index(after, UserIndex(None, size))


def _cached_index(room: Room) -> UserIndex | None:
    return getattr(room, "_user_index", None) if len(room.users) > _MAX_UNINDEXED else None


def _cache_index(room: Room, index: UserIndex) -> UserIndex:
    object.__setattr__(room, "_user_index", index)
    return index


def _max_encoded_bytes(users: tuple[User, ...]) -> float:
    total = 0
    for user in users:
        if user.__pydantic_extra__:
            return math.inf
        total += _FIXED + MAX_BYTES_PER_CHAR * (len(user.id) + len(user.name))
    return total
