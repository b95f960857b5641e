"""Leases of users, and the conditions for removing a user from a room."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import NamedTuple
from uuid import uuid4

from wnc_store import rules
from wnc_store.errors import OutcomeUnknownError, StoreUnavailableError
from wnc_store.protocols import Store
from wnc_store.records.models import Room, User

_FIELD = "presence"
_MIN_POLL_SECONDS = 0.02
_MAX_POLL_SECONDS = 0.25
_REMOVAL_TTL = timedelta(seconds=30)
"""Duration of the lease of a removal. A removal whose process crashed delays new connections of the user until then.

It is longer than reading and a write whose outcome is unknown: 1 s and three times `operation_timeout`, which is 5 s.
"""
_MAX_READ_SECONDS = 1
"""A removal that has not begun to write after this time is abandoned. The rest of its lease is for its write."""


def tracked(user: User) -> User:
    """Return a copy of a user whom `Presence` removes when the user has had no connection for the grace period.

    `Presence.connected` tracks its user. If the app adds the user beforehand, for example with `create_room`, then
    adding the tracked user saves a second write. A tracked user who never connects is removed, too.
    """
    return user.with_extra({_FIELD: True})


def is_tracked(user: User) -> bool:
    """Return whether a user is tracked."""
    return (user.__pydantic_extra__ or {}).get(_FIELD) is True


class Member(NamedTuple):
    """A user of a room."""

    room_id: str
    user_id: str


class Keys(NamedTuple):
    """The keys in `store.connections` for one user of one room.

    Attributes:
        open: One lease for each open connection. It lasts the grace period and is renewed.
        grace: One lease for each connection that was closed less than the grace period ago. It lasts the grace period.
        removal: One lease for each removal in progress.
    """

    open: str
    grace: str
    removal: str


def keys_of(member: Member) -> Keys:
    """Return the keys of a user, whose id may contain characters that keys may not."""
    # Ids contain no control characters, so different pairs have different texts. A digest also limits the length.
    digest = hashlib.sha256("\0".join(member).encode()).hexdigest()
    return Keys(*(f"presence:{kind}:{digest}" for kind in Keys._fields))


class Membership:
    """Adds users to rooms, and removes users without leases.

    A removal and a new connection exclude each other without a lock on the server: each first writes its own lease and
    then reads the leases of the other. If a removal runs, the new connection waits until its lease ends, and then adds
    the user again. If a connection was opened, the removal is abandoned.

    A removal releases its lease when the outcome of its write is final. If the outcome is unknown, the lease ends by
    itself. The lease lasts 30 s, so this holds for an `operation_timeout` of up to 9 s.

    Args:
        store: The store.
        is_open_here: Whether a user has an open connection to this process. Its lease may have ended, because the store
            was unavailable or a test has moved the clock.
    """

    def __init__(self, store: Store, is_open_here: Callable[[Member], bool]) -> None:
        self._rooms = store.rooms
        self._connections = store.connections
        self._is_open_here = is_open_here

    async def add(self, room_id: str, user: User, join: Callable[[Room], Room] | None) -> Room:
        """Add a tracked user to a room, unless the user is in the room. Return the room.

        Raises:
            RoomNotFoundError: The room does not exist.
            ValueError: `join` did not add the user.
        """
        room = await self._rooms.get_room(room_id)
        present = None if room is None else room.user(user.id)
        if room is not None and present is not None and is_tracked(present):
            return room
        join = join or partial(rules.join, user=user)
        return await self._rooms.edit_room(room_id, partial(_enter, user_id=user.id, join=join))

    async def wait_for_removal(self, keys: Keys, is_closed: Callable[[], bool]) -> bool:
        """Wait until no removal is in progress. Call it after the lease of the connection was acquired.

        Args:
            keys: The keys of the user.
            is_closed: Whether the connection was closed, so that waiting is of no use.

        Returns:
            False if the connection was closed while a removal was in progress.
        """
        seconds = _MIN_POLL_SECONDS
        while await self._connections.count(keys.removal):
            if is_closed():
                return False
            await asyncio.sleep(seconds)
            seconds = min(2 * seconds, _MAX_POLL_SECONDS)
        return True

    async def is_connected(self, member: Member) -> bool:
        """Return whether a user has an open connection to any process."""
        return self._is_open_here(member) or await self._connections.count(keys_of(member).open) > 0

    async def is_absent(self, member: Member) -> bool:
        """Return whether a user has neither an open connection nor one that was closed within the grace period."""
        return not await self.is_connected(member) and not await self._connections.count(keys_of(member).grace)

    async def remove(self, member: Member, *, despite_grace: bool) -> bool:
        """Remove a tracked user without leases from the room.

        Whether the user is tracked is read before the write, because only `remove_user_from_room` can also delete the
        room. If another client replaces the user by an untracked one in between, that user is removed.

        Args:
            member: The room and the user.
            despite_grace: Whether only open connections keep the user in the room.

        Returns:
            Whether the user had no lease.

        Raises:
            StoreUnavailableError: The store failed, or was too slow. If it was too slow, nothing was written.
        """
        room_id, user_id = member
        keys, removal_id = keys_of(member), uuid4().hex
        loop = asyncio.get_running_loop()
        give_up_at = loop.time() + _MAX_READ_SECONDS
        is_final = True
        try:
            await self._connections.acquire(keys.removal, removal_id, ttl=_REMOVAL_TTL)
            if await self.is_connected(member) if despite_grace else not await self.is_absent(member):
                return False
            room = await self._rooms.get_room(room_id)
            user = None if room is None else room.user(user_id)
            if user is not None and is_tracked(user):
                if loop.time() >= give_up_at:
                    message = (
                        f"removing a user from room {room_id} was abandoned, because reading it and the leases of the "
                        f"user took longer than {_MAX_READ_SECONDS} s: try again when the server is faster"
                    )
                    raise StoreUnavailableError(message)
                try:
                    await self._rooms.remove_user_from_room(room_id, user_id)
                except (OutcomeUnknownError, asyncio.CancelledError):
                    is_final = False  # the write may still happen
                    raise
            return True
        finally:
            if is_final:
                await self._connections.release(keys.removal, removal_id)


def _enter(room: Room, *, user_id: str, join: Callable[[Room], Room]) -> Room:
    """Add the user by `join` unless the user is in the room, and track the user."""
    if room.user(user_id) is None:
        room = join(room)
    if room.user(user_id) is None:
        raise ValueError(f"join must return a room with user {user_id!r}, or raise an error to refuse the user")
    users = tuple(tracked(user) if user.id == user_id else user for user in room.users)
    return room.model_copy(update={"users": users})
