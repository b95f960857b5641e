"""Who is in a large room, remembered with it: a crowd that joins costs no look at everybody for each of them."""

from __future__ import annotations

import math
from typing import NamedTuple

from wnc_store.models import Room, User
from wnc_store.text import MOST_BYTES

_FEW = 32
"""So many users are looked at one by one."""

_FIXED = 256
"""More bytes than a user takes beside id and name."""


class Roster(NamedTuple):
    """What a look at all users of a room finds.

    Attributes:
        places: where the first user of each id stands; rooms that grow from this one share it, so there may be more.
        most_bytes: more than the users take as JSON; infinity where one has unknown fields, which may be of any size.
    """

    places: dict[str, int]
    most_bytes: float


def find(room: Room, user_id: str) -> User | None:
    """Return the user of that id, or None; as `Room.user`."""
    if len(room.users) <= _FEW:
        return room.user(user_id)
    place = _roster(room).places.get(user_id, len(room.users))
    return room.users[place] if place < len(room.users) else None


def most_bytes(room: Room) -> float:
    """Return more bytes than the users of a room take as JSON, or infinity."""
    return _most_bytes(room.users) if len(room.users) <= _FEW else _roster(room).most_bytes


def carry(before: Room, after: Room, newcomer: User) -> None:
    """Remember of a room what is known of it as it was before, when one user less was in it."""
    if len(before.users) <= _FEW:
        return
    places, bytes_before = _roster(before)
    if len(places) == len(before.users):  # else another room has grown from that one, or an id stands there twice
        places[newcomer.id] = len(before.users)
        _remember(after, Roster(places, bytes_before + _most_bytes((newcomer,))))


def _roster(room: Room) -> Roster:
    known: Roster | None = getattr(room, "_roster", None)
    if known is None:
        places = {user.id: place for place, user in reversed([*enumerate(room.users)])}
        known = _remember(room, Roster(places, _most_bytes(room.users)))
    return known


def _remember(room: Room, roster: Roster) -> Roster:
    object.__setattr__(room, "_roster", roster)
    return roster


def _most_bytes(users: tuple[User, ...]) -> float:
    total = 0
    for user in users:
        if user.__pydantic_extra__:
            return math.inf
        total += _FIXED + MOST_BYTES * (len(user.id) + len(user.name))
    return total
