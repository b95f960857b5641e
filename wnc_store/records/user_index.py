"""Who is in a large room, remembered with it: a crowd that joins costs no look at everybody for each of them."""

from __future__ import annotations

import math
from typing import NamedTuple

from wnc_store.records.encode import MAX_BYTES_PER_CHAR
from wnc_store.records.models import Room, User

_FEW = 32
"""So many users are looked at one by one."""

_FIXED = 256
"""More bytes than a user takes beside id and name."""


class UserIndex(NamedTuple):
    """What a look at all users of a room finds.

    Attributes:
        places: where the first user of each id stands; rooms that grow from this one share it, so there may be more.
            None where users have changed their places since they were looked at.
        most_bytes: more than the users take as JSON; infinity where one has unknown fields, which may be of any size.
    """

    places: dict[str, int] | None
    most_bytes: float


def find(room: Room, user_id: str) -> User | None:
    """Return the user of that id, or None; as `Room.user`."""
    known = _known(room)
    if known is None or known.places is None:  # one look at all costs less than to remember where everybody stands
        return room.user(user_id)
    place = known.places.get(user_id, len(room.users))
    return room.users[place] if place < len(room.users) else None


def max_encoded_bytes(room: Room) -> float:
    """Return more bytes than the users of a room take as JSON, or infinity."""
    if len(room.users) <= _FEW:
        return _max_encoded_bytes(room.users)
    known = _known(room) or _remember(room, UserIndex(None, _max_encoded_bytes(room.users)))
    return known.most_bytes


def extend_index(before: Room, after: Room, newcomer: User) -> None:
    """Remember of a room what is known of it as it was before, when one user less was in it."""
    if len(before.users) <= _FEW:
        return
    known = _known(before)
    places = known and known.places
    if places is None:
        places = {user.id: place for place, user in reversed([*enumerate(before.users)])}
        _remember(before, UserIndex(places, max_encoded_bytes(before)))
    if len(places) == len(before.users):  # else another room has grown from that one, or an id stands there twice
        places[newcomer.id] = len(before.users)
        _remember(after, UserIndex(places, max_encoded_bytes(before) + _max_encoded_bytes((newcomer,))))


def propagate_size(before: Room, after: Room, former: User, user: User) -> None:
    """Remember what the users of a room take, where one of those before has come again and stands elsewhere."""
    known = _known(before)
    if known is not None and math.isfinite(known.most_bytes):
        _remember(
            after, UserIndex(None, known.most_bytes - _max_encoded_bytes((former,)) + _max_encoded_bytes((user,)))
        )


def _known(room: Room) -> UserIndex | None:
    return getattr(room, "_roster", None) if len(room.users) > _FEW else None


def _remember(room: Room, roster: UserIndex) -> UserIndex:
    object.__setattr__(room, "_roster", roster)
    return roster


def _max_encoded_bytes(users: tuple[User, ...]) -> float:
    total = 0
    for user in users:
        if user.__pydantic_extra__:
            return math.inf
        total += _FIXED + MAX_BYTES_PER_CHAR * (len(user.id) + len(user.name))
    return total
