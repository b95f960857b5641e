"""Moderation of a room: pure functions for `edit_room`, and the `join` function of presence.

The state is kept in extra fields of the room. `banned` and `readOnly` contain ids of users, `locked` and `quiet` are
booleans, and `passwordHash` is the salted hash of the room's password. Guests receive only the fields in `PUBLIC`.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import secrets
from collections.abc import Callable
from functools import partial

from wnc_store import Room, User, UserNotFoundError, rules

PUBLIC = frozenset({"locked", "quiet", "readOnly"})
"""Names of the extra fields that guests may see."""


class RefusedError(Exception):
    """Raised when a request is not allowed. The message is for the page."""


def check_moderator(room: Room, user_id: str) -> None:
    """Raise `RefusedError` unless the user is the host or a co-host, and is in the room."""
    user = room.user(user_id)
    if user is None or not user.is_host:
        raise RefusedError("Only a host can do this.")


def check_writer(room: Room, user_id: str) -> User:
    """Return the user of the room. Raise `RefusedError` if the user may not write messages."""
    user = room.user(user_id)
    if user is None:
        raise RefusedError("You are no longer in the room.")
    if not user.is_host and (room.model_extra.get("quiet") or user_id in _ids(room, "readOnly")):
        raise RefusedError("You can only read.")
    return user


def kick(room: Room, *, by: str, user_id: str) -> Room:
    """Remove a user from the room."""
    _check_target(room, by=by, user_id=user_id)
    return room.replace(users=tuple(user for user in room.users if user.id != user_id))


def ban(room: Room, *, by: str, user_id: str) -> Room:
    """Remove a user from the room, and refuse the user from now on. The user need not be in the room."""
    room = kick(room, by=by, user_id=user_id)
    return room.with_extra({"banned": [*_ids(room, "banned", without=user_id), user_id]})


def unban(room: Room, *, by: str, user_id: str) -> Room:
    """Admit a user again."""
    check_moderator(room, by)
    return room.with_extra({"banned": _ids(room, "banned", without=user_id)})


def mute(room: Room, *, by: str, user_id: str) -> Room:
    """Make a guest read-only, also after the guest has left and joined again."""
    _check_target(room, by=by, user_id=user_id)
    return room.with_extra({"readOnly": [*_ids(room, "readOnly", without=user_id), user_id]})


def unmute(room: Room, *, by: str, user_id: str) -> Room:
    """Let a guest write again."""
    check_moderator(room, by)
    return room.with_extra({"readOnly": _ids(room, "readOnly", without=user_id)})


def promote(room: Room, *, by: str, user_id: str) -> Room:
    """Make a user of the room a co-host. Only the host can do this."""
    return _set_host_flag(room, by=by, user_id=user_id, is_host=True)


def demote(room: Room, *, by: str, user_id: str) -> Room:
    """Make a co-host a guest. Only the host can do this."""
    return _set_host_flag(room, by=by, user_id=user_id, is_host=False)


def lock(room: Room, *, by: str, on: bool) -> Room:
    """Refuse everybody who is not in the room, or admit guests again."""
    check_moderator(room, by)
    return room.with_extra({"locked": on})


def quiet(room: Room, *, by: str, on: bool) -> Room:
    """Make all guests read-only, or let them write again."""
    check_moderator(room, by)
    return room.with_extra({"quiet": on})


def set_password(room: Room, *, by: str, password_hash: str | None) -> Room:
    """Require a password from everybody who is not in the room. None requires no password."""
    check_moderator(room, by)
    return room.with_extra({"passwordHash": password_hash})


def join(room: Room, *, user: User, matched_hash: str | None) -> Room:
    """Add a user, unless the user is banned, the room is locked, or its password is another one.

    Args:
        room: The current room.
        user: The user.
        matched_hash: The hash that the user's password matches. None if the password is wrong or was not checked.
    """
    if user.id != room.host_id:  # the former host may return to a room that waits for users
        if user.id in _ids(room, "banned"):
            raise RefusedError("You are banned from this room.")
        if room.model_extra.get("locked"):
            raise RefusedError("This room is locked.")
        if room.model_extra.get("passwordHash") not in (None, matched_hash):
            raise RefusedError("Enter the password of this room.")
    return rules.join(room, user)


async def admit(room: Room, user: User, password: str) -> Callable[[Room], Room]:
    """Check a password, and return the `join` function for `Presence.connected`.

    The password of a user who is in the room, for example after a reload, is not checked.
    """
    matched_hash: str | None = room.model_extra.get("passwordHash")
    if matched_hash is not None:
        is_known = room.user(user.id) is not None or user.id == room.host_id
        if is_known or not await _matches(matched_hash, password):
            matched_hash = None  # `join` refuses the user if the user is not in the room any more
    return partial(join, user=user, matched_hash=matched_hash)


async def hash_password(password: str) -> str:
    """Return a salted hash of a password, as `salt$hash`."""
    salt = secrets.token_bytes(16)
    return f"{salt.hex()}${(await _scrypt(password, salt)).hex()}"


async def _matches(stored: str, password: str) -> bool:
    salt, _, expected = stored.partition("$")
    return hmac.compare_digest(await _scrypt(password, bytes.fromhex(salt)), bytes.fromhex(expected))


async def _scrypt(password: str, salt: bytes) -> bytes:
    # A hash takes some tenths of a second, so it is computed in a thread and never inside a function for `edit_room`.
    encoded = password.encode("utf-8", "surrogatepass")  # JavaScript strings may contain half an emoji
    return await asyncio.to_thread(hashlib.scrypt, encoded, salt=salt, n=2**14, r=8, p=5)


def _check_target(room: Room, *, by: str, user_id: str) -> None:
    """Raise `RefusedError` unless `by` may moderate the user: hosts moderate guests, the host also co-hosts."""
    check_moderator(room, by)
    target = room.user(user_id)
    if user_id == room.host_id or (target is not None and target.is_host and by != room.host_id):
        raise RefusedError("You cannot do this to a host.")


def _set_host_flag(room: Room, *, by: str, user_id: str, is_host: bool) -> Room:
    if by != room.host_id or user_id == room.host_id:
        raise RefusedError("Only the host can do this, and only to others.")
    if room.user(user_id) is None:
        raise UserNotFoundError(room.id, user_id)
    return room.replace(
        users=tuple(user.replace(is_host=is_host) if user.id == user_id else user for user in room.users)
    )


def _ids(room: Room, name: str, *, without: str | None = None) -> list[str]:
    """Return the ids of users in an extra field."""
    return [user_id for user_id in room.model_extra.get(name) or () if user_id != without]


USER_ACTIONS: dict[str, Callable[..., Room]] = {
    action.__name__: action for action in (kick, ban, unban, mute, unmute, promote, demote)
}
ROOM_ACTIONS: dict[str, Callable[..., Room]] = {"lock": lock, "quiet": quiet}
