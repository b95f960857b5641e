"""State transitions of rooms and chats: pure functions on frozen models.

A transition takes the current state and returns the next one. It uses no clock and no I/O. A transition that changes a
room increments its `rev` by one. A transition that changes nothing returns the same object, and nothing is written.

The transitions follow the room and chat services of the Node app. Differences are documented in the docstrings.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Sequence
from datetime import datetime

from wnc_store.errors import UserNotFoundError
from wnc_store.records.codec import validated
from wnc_store.records.encode import MAX_BYTES_PER_CHAR, share_frame
from wnc_store.records.models import ChatMessage, Room, User, VideoState
from wnc_store.records.record import RecordT
from wnc_store.records.secret import Secret

_FIXED_BYTES = 256
"""Upper bound of the encoded size in bytes of a user without id, name and extra fields, and of the growth of `rev`."""

_STATE_BYTES = 16 * 1024
"""Upper bound of the encoded size of a video state in bytes, without extra fields. An integer has up to 4000 digits."""

_USERS_AND_REV = {"users", "rev"}

_WAITING = "isWaiting"
"""Extra field of a room that its last user has left, and that waits for users. Its value is true.

A room with users has it only if another client has added them. The next transition ends the wait.
"""

# Direct access to the slots, because pydantic's attribute lookup is slow for missing attributes.
_get_users_by_id: Callable[[Room], dict[str, User]] = Room.__dict__["_users_by_id"].__get__
_get_max_bytes: Callable[[Room], float] = Room.__dict__["_max_bytes"].__get__
_set = object.__setattr__
_delete = object.__delattr__


def create(room: Room) -> Room:
    """Return the first stored state of a new room."""
    return _revised(_with_host_flag(room))


def join(room: Room, user: User) -> Room:
    """Append a user. A user with the same id is removed first (a rejoin); only its extra fields are carried over.

    The user whom `host_id` names is a host, also if `user.is_host` is false. The first user who joins a room that waits
    (see `leave`) becomes host.
    """
    if user.id == room.host_id and not user.is_host:
        user = user.model_copy(update={"is_host": True})
    user_id = user.id
    # Only fields with values of a known size are counted. The extra fields of a former user are already in the room.
    is_bounded = type(user.joined_at) is datetime and not user.__pydantic_extra__
    growth = _FIXED_BYTES + MAX_BYTES_PER_CHAR * len(user_id + user.name) if is_bounded else math.inf
    # A room hands the dictionary of its users on to its successor, so that many joins take linear time.
    try:
        by_id = _get_users_by_id(room)
        _delete(room, "_users_by_id")
    except AttributeError:
        by_id = {one.id: one for one in room.users}
    is_unique = len(by_id) == len(room.users)  # another client may write several users with the same id
    former = by_id.pop(user_id, None) if is_unique else room.user(user_id)
    if former is not None and former.__pydantic_extra__:
        user = _inherit_extra_fields(former, user)
    if not is_unique:
        return _revised(room, growth, users=(*_without(room.users, user_id), user))
    by_id[user_id] = user
    users = tuple(by_id.values())
    after = _revised(room, growth, users=users)
    if after.users is users:  # the end of a wait makes one of them host
        _set(after, "_users_by_id", by_id)
    return after


def leave(room: Room, user_id: str, *, keep_empty: bool = False) -> Room | None:
    """Remove a user. If the host leaves, the first remaining user becomes host.

    If no user remains, return None, or with `keep_empty` the room without users, which then waits for users. Its host
    stays the same, and is host again if they are the first to return.

    If the user is not in the room, nothing changes. (In this case, the Node app deletes a room without users.)
    """
    users = _without(room.users, user_id)
    if len(users) == len(room.users):
        return room
    if not users:
        return _revised(room.with_extra({_WAITING: True}), users=()) if keep_empty else None
    if user_id != room.host_id:
        return _revised(room, _FIXED_BYTES, users=users)
    successor = users[0].model_copy(update={"is_host": True})
    return _revised(room, users=(successor, *users[1:]), host_id=successor.id, host_name=successor.name)


def is_waiting(room: Room) -> bool:
    """Return whether the last user has left the room, so that it waits for users.

    A room that was created without users does not wait.
    """
    return not room.users and has_waited(room)


def has_waited(room: Room) -> bool:
    """Return whether the room waits for users, or did so until another client added users."""
    return (room.__pydantic_extra__ or {}).get(_WAITING) is True


def transfer_host(room: Room, user_id: str, *, host_token: str | None = None) -> Room:
    """Make a user of the room its host and clear `is_host` of the previous host. Other users keep their `is_host`.

    Args:
        room: The current room.
        user_id: Id of the new host.
        host_token: The new host token. None keeps the stored one.

    Raises:
        UserNotFoundError: The user is not in the room.
    """
    new_host = room.user(user_id)
    if new_host is None:
        raise UserNotFoundError(room.id, user_id)
    is_host = {room.host_id: False, user_id: True}
    users = tuple(user.model_copy(update={"is_host": is_host.get(user.id, user.is_host)}) for user in room.users)
    token = {} if host_token is None else {"host_token": Secret(host_token)}
    return _revised(room, users=users, host_id=new_host.id, host_name=new_host.name, **token)


def rotate_host_token(room: Room, host_token: str) -> Room:
    """Replace the host token."""
    return _revised(room, host_token=Secret(host_token))


def update_video_state(room: Room, state: VideoState) -> Room:
    """Replace the video state. Only the extra fields of the old state are carried over."""
    growth = math.inf if state.__pydantic_extra__ else _STATE_BYTES
    return _revised(room, growth, video_state=_inherit_extra_fields(room.video_state, state))


def set_video(room: Room, video_url: str, video_type: str, *, now_ms: int) -> Room:
    """Set the video and reset the video state: paused, position 0 s, duration 0 s, updated at `now_ms`."""
    state = _inherit_extra_fields(room.video_state, VideoState(last_update_time=now_ms))
    growth = _STATE_BYTES + MAX_BYTES_PER_CHAR * len(video_url + video_type)
    return _revised(room, growth, video_state=state, video_url=video_url, video_type=video_type)


def replace(room: Room, new: Room) -> Room:
    """Replace a room. `rev` continues from the stored room. If the room waits, users in the new one end the wait."""
    if new.users and (has_waited(room) or has_waited(new)):
        new = _end_wait(new)
    return _with_host_flag(new).model_copy(update={"rev": room.rev + 1})


def edit(room: Room, change: Callable[[Room], Room]) -> Room:
    """Replace a room by the result of `change`.

    Raises:
        TypeError: `change` is async, or did not return a `Room`.
        ValueError: `change` returned a room with another id, or a room that can't be stored.
    """
    changed = _validate_change(change(room), Room)
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


def newest(messages: Sequence[ChatMessage], message_id: str, limit: int) -> ChatMessage | None:
    """Return the newest message with this id among the last `limit`, or None."""
    return next((message for message in reversed(messages[-limit:]) if message.id == message_id), None)


def edit_message(message: ChatMessage, change: Callable[[ChatMessage], ChatMessage]) -> ChatMessage:
    """Return the result of `change`.

    Raises:
        TypeError: `change` is async, or did not return a `ChatMessage`.
        ValueError: `change` returned a message with another id, room id or user id, or a message that can't be stored.
    """
    changed = _validate_change(change(message), ChatMessage)
    for name in ("id", "room_id", "user_id"):
        before, after = getattr(message, name), getattr(changed, name)
        if after != before:
            hint = f"the {name} of a message can't be changed"
            raise ValueError(f"change must return a message with {name} {before!r}, got {after!r}: {hint}")
    return changed


def replace_message(
    messages: Sequence[ChatMessage], message_id: str, new: ChatMessage | None, limit: int
) -> tuple[ChatMessage, ...]:
    """Keep the last `limit` messages, and replace each message with this id. None removes it."""
    kept = messages[-limit:]
    if new is None:
        return tuple(message for message in kept if message.id != message_id)
    return tuple(new if message.id == message_id else message for message in kept)


def max_encoded_bytes(room: Room) -> float:
    """Return an upper bound of the encoded size of a room in bytes. Infinity if it is unknown."""
    try:
        return _get_max_bytes(room)
    except AttributeError:
        return math.inf


def remember_size(room: Room, encoded_bytes: int) -> None:
    """Remember the encoded size of a room, from which transitions derive the upper bounds of its successors."""
    _set(room, "_max_bytes", encoded_bytes)


def _validate_change(changed: RecordT, kind: type[RecordT]) -> RecordT:
    """Return the result of a change, as `validated` does. The coroutine of an async change is closed."""
    result: object = changed
    if inspect.iscoroutine(result):
        result.close()  # otherwise Python warns that it was never awaited
        message = (
            f"change must be a function that returns a {kind.__name__}, got an async function: it may be called "
            "several times, so await what it needs before the edit"
        )
        raise TypeError(message)
    return validated(changed, kind)


def _revised(room: Room, growth: float = math.inf, /, **changes: object) -> Room:
    """Return the successor of a room. Its encoded size is larger by at most `growth` bytes."""
    changes["rev"] = room.rev + 1
    after = room.model_copy(update=changes)
    if changes.keys() == _USERS_AND_REV:
        share_frame(room, after)
    if after.__pydantic_extra__ and after.users and has_waited(after):
        return _end_wait(after)
    try:  # noqa: SIM105 - `suppress` is slower
        _set(after, "_max_bytes", _get_max_bytes(room) + growth)
    except AttributeError:  # the size of `room` is unknown
        pass
    return after


def _end_wait(room: Room) -> Room:
    """Return a room that has users again without the mark of the wait, and with one of its users as host.

    If the former host is in the room, they stay host, and the name of the host stays. Otherwise the first user is host.
    """
    first = room.users[0]
    has_host = any(user.id == room.host_id for user in room.users)
    room = room.model_copy(update={} if has_host else {"host_id": first.id, "host_name": first.name})
    room = _with_host_flag(room)
    extra = {name: value for name, value in (room.__pydantic_extra__ or {}).items() if name != _WAITING}
    _set(room, "__pydantic_extra__", extra)
    return room


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
