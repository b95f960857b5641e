"""State transitions of rooms and chats: pure functions on frozen models.

A transition takes the current state and returns the next one. It uses no clock and no I/O. A transition that changes a
room increments its `rev` by one. A transition that changes nothing returns the same object, and nothing is written.

The transitions follow the room and chat services of the Node app. Differences are documented in the docstrings.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from datetime import datetime

from wnc_store.errors import UserNotFoundError
from wnc_store.records.codec import validated
from wnc_store.records.encode import MAX_BYTES_PER_CHAR
from wnc_store.records.models import ChatMessage, RecordT, Room, User, VideoState

_FIXED_BYTES = 256
"""Upper bound of the encoded size in bytes of a user without id, name and extra fields, and of the growth of `rev`."""

_STATE_BYTES = 16 * 1024
"""Upper bound of the encoded size of a video state in bytes, without extra fields. An integer has up to 4000 digits."""

# Direct access to the slots, because pydantic's attribute lookup is slow for missing attributes.
_get_user_ids: Callable[[Room], tuple[str, ...]] = Room.__dict__["_user_ids"].__get__
_get_max_bytes: Callable[[Room], float] = Room.__dict__["_max_bytes"].__get__
_set = object.__setattr__


def create(room: Room) -> Room:
    """Return the first stored state of a new room."""
    return _revised(_with_host_flag(room))


def join(room: Room, user: User) -> Room:
    """Append a user. A user with the same id is removed first (a rejoin); only its extra fields are carried over.

    The user whom `host_id` names is a host, also if `user.is_host` is false.
    """
    if user.id == room.host_id and not user.is_host:
        user = user.model_copy(update={"is_host": True})
    user_id, users, former = user.id, room.users, None
    try:
        user_ids = _get_user_ids(room)
    except AttributeError:
        user_ids = tuple([one.id for one in users])
    # Only fields with values of a known size are counted. The extra fields of a former user are already in the room.
    is_bounded = type(user.joined_at) is datetime and not user.__pydantic_extra__
    growth = _FIXED_BYTES + MAX_BYTES_PER_CHAR * len(user_id + user.name) if is_bounded else math.inf
    while user_id in user_ids:  # another client may have written the id twice
        at = user_ids.index(user_id)
        former = former or users[at]
        users, user_ids = users[:at] + users[at + 1 :], user_ids[:at] + user_ids[at + 1 :]
    if former is not None and former.__pydantic_extra__:
        user = _inherit_extra_fields(former, user)
    after = _revised(room, growth, users=(*users, user))
    _set(after, "_user_ids", (*user_ids, user_id))
    return after


def leave(room: Room, user_id: str) -> Room | None:
    """Remove a user. Return None if no user remains. If the host leaves, the first remaining user becomes host.

    If the user is not in the room, nothing changes. (The Node app deletes a room that has no users yet.)
    """
    users = _without(room.users, user_id)
    if len(users) == len(room.users):
        return room
    if not users:
        return None
    if user_id != room.host_id:
        return _revised(room, _FIXED_BYTES, users=users)
    successor = users[0].model_copy(update={"is_host": True})
    return _revised(room, users=(successor, *users[1:]), host_id=successor.id, host_name=successor.name)


def transfer_host(room: Room, user_id: str) -> Room:
    """Make a user of the room its host and clear `is_host` of the previous host. Other users keep their `is_host`.

    Raises:
        UserNotFoundError: The user is not in the room.
    """
    new_host = room.user(user_id)
    if new_host is None:
        raise UserNotFoundError(room.id, user_id)
    is_host = {room.host_id: False, user_id: True}
    users = tuple(user.model_copy(update={"is_host": is_host.get(user.id, user.is_host)}) for user in room.users)
    return _revised(room, users=users, host_id=new_host.id, host_name=new_host.name)


def update_video_state(room: Room, state: VideoState) -> Room:
    """Replace the video state. Only the extra fields of the old state are carried over."""
    growth = math.inf if state.__pydantic_extra__ else _STATE_BYTES
    return _revised(room, growth, video_state=_inherit_extra_fields(room.video_state, state))


def set_video(room: Room, video_url: str, video_type: str, *, now_ms: int) -> Room:
    """Set the video and reset the video state: paused, position 0 s, duration 0 s, updated at `now_ms`."""
    state = VideoState(is_playing=False, current_time=0, duration=0, last_update_time=now_ms)
    state = _inherit_extra_fields(room.video_state, state)
    growth = _STATE_BYTES + MAX_BYTES_PER_CHAR * len(video_url + video_type)
    return _revised(room, growth, video_state=state, video_url=video_url, video_type=video_type)


def replace(room: Room, new: Room) -> Room:
    """Replace a room. `rev` continues from the stored room."""
    return _with_host_flag(new).model_copy(update={"rev": room.rev + 1})


def edit(room: Room, change: Callable[[Room], Room]) -> Room:
    """Replace a room by the result of `change`.

    Raises:
        TypeError: `change` did not return a `Room`.
        ValueError: `change` returned a room with another id, or a room that can't be stored.
    """
    changed = validated(change(room), Room)
    if changed.id != room.id:
        message = f"change must return room {room.id!r}, got room {changed.id!r}: the id of a room can't be changed"
        raise ValueError(message)
    return replace(room, changed)


def append(messages: Sequence[ChatMessage], message: ChatMessage, limit: int) -> tuple[ChatMessage, ...] | None:
    """Append a message and keep the last `limit`. Return None if a kept message has the same id."""
    messages = messages[-limit:]
    if message.id in [existing.id for existing in messages]:
        return None
    return (*messages, message)[-limit:]


def max_encoded_bytes(room: Room) -> float:
    """Return an upper bound of the encoded size of a room in bytes. Infinity if it is unknown."""
    try:
        return _get_max_bytes(room)
    except AttributeError:
        return math.inf


def remember_size(room: Room, encoded_bytes: int) -> None:
    """Remember the encoded size of a room, from which transitions derive the upper bounds of its successors."""
    _set(room, "_max_bytes", encoded_bytes)


def _revised(room: Room, growth: float = math.inf, /, **changes: object) -> Room:
    """Return the successor of a room. Its encoded size is larger by at most `growth` bytes."""
    changes["rev"] = room.rev + 1
    after = room.model_copy(update=changes)
    try:  # noqa: SIM105 - `suppress` is slower
        _set(after, "_max_bytes", _get_max_bytes(room) + growth)
    except AttributeError:  # the size of `room` is unknown
        pass
    return after


def _with_host_flag(room: Room) -> Room:
    """Set `is_host` of the user whom `host_id` names."""
    if all(user.is_host or user.id != room.host_id for user in room.users):
        return room
    users = [
        user.model_copy(update={"is_host": True}) if user.id == room.host_id else user  # the others may be co-hosts
        for user in room.users
    ]
    return room.model_copy(update={"users": tuple(users)})


def _without(users: tuple[User, ...], user_id: str) -> tuple[User, ...]:
    return tuple([user for user in users if user.id != user_id])


def _inherit_extra_fields(old: RecordT, new: RecordT) -> RecordT:
    """Copy the extra fields of the old record, which other clients wrote, unless the new record has them."""
    if not old.__pydantic_extra__:
        return new
    missing = {name: value for name, value in old.model_extra.items() if name not in new.model_extra}
    return new.with_extra(missing) if missing else new
