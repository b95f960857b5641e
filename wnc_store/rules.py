"""The rules of a watch party, each in one place: pure functions on frozen models.

A rule takes the state before and returns the state after; no clock, no I/O. Every rule that changes a room raises its
`rev` by one. A rule that returns the very room it was given has changed nothing, and nothing is written.

Source: the Node app's room and chat services. Where a rule differs from them, its docstring says so.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from wnc_store.errors import UserNotFoundError
from wnc_store.records.codec import validated
from wnc_store.records.models import ChatMessage, RecordT, Room, User, VideoState
from wnc_store.records.user_index import extend_index, find, propagate_size


def create(room: Room) -> Room:
    """Return the first state of a room that is stored."""
    return _revised(room)


def join(room: Room, user: User) -> Room:
    """Put a user at the end; one of the same id goes first (a rejoin), and leaves only its unknown fields."""
    former = find(room, user.id)
    if former is None:
        after = _revised(room, users=(*room.users, user))
        extend_index(room, after, user)
        return after
    user = _inherit_extra_fields(former, user)
    after = _revised(room, users=(*_without(room.users, user.id), user))
    if len(after.users) == len(room.users):  # else an id stood there twice
        propagate_size(room, after, former, user)
    return after


def leave(room: Room, user_id: str) -> Room | None:
    """Take a user out: None when that was the last one, and if the host left, the first of the others becomes host.

    A user who is not in the room leaves it as it is (the original deletes a room that has nobody in it yet).
    """
    users = _without(room.users, user_id)
    if len(users) == len(room.users):
        return room
    if not users:
        return None
    if user_id != room.host_id:
        return _revised(room, users=users)
    successor = users[0].model_copy(update={"is_host": True})
    return _revised(room, users=(successor, *users[1:]), host_id=successor.id, host_name=successor.name)


def transfer_host(room: Room, user_id: str) -> Room:
    """Make a user of the room its host; the host until now is none any more, other hosts stay what they are.

    Raises:
        UserNotFoundError: the user is not in the room.
    """
    new_host = room.user(user_id)
    if new_host is None:
        raise UserNotFoundError(room.id, user_id)
    is_host = {room.host_id: False, user_id: True}
    users = tuple(user.model_copy(update={"is_host": is_host.get(user.id, user.is_host)}) for user in room.users)
    return _revised(room, users=users, host_id=new_host.id, host_name=new_host.name)


def update_video_state(room: Room, state: VideoState) -> Room:
    """Replace the video state; only the unknown fields of the old one stay."""
    return _revised(room, video_state=_inherit_extra_fields(room.video_state, state))


def set_video(room: Room, video_url: str, video_type: str, *, now_ms: int) -> Room:
    """Choose a video and start it anew: paused, at 0 of 0 seconds, as of `now_ms`."""
    state = VideoState(is_playing=False, current_time=0, duration=0, last_update_time=now_ms)
    state = _inherit_extra_fields(room.video_state, state)
    return _revised(room, video_state=state, video_url=video_url, video_type=video_type)


def replace(room: Room, new: Room) -> Room:
    """Replace all of a room but its `rev`, which counts on."""
    return new.model_copy(update={"rev": room.rev + 1})


def edit(room: Room, change: Callable[[Room], Room]) -> Room:
    """Replace a room by what `change` makes of it.

    Raises:
        TypeError: `change` returned no Room.
        ValueError: `change` returned another room's id, or what can't be stored.
    """
    changed = validated(change(room), Room)
    if changed.id != room.id:
        message = f"the change for room {room.id!r} returned a room of id {changed.id!r}: an id can't be changed"
        raise ValueError(message)
    return replace(room, changed)


def append(kept: Sequence[ChatMessage], message: ChatMessage, limit: int) -> tuple[ChatMessage, ...] | None:
    """Add a message at the end and keep the last `limit`; None if one of that id is among the kept ones already."""
    kept = kept[-limit:]
    if message.id in [one.id for one in kept]:
        return None
    return (*kept, message)[-limit:]


def _revised(room: Room, **changes: object) -> Room:
    changes["rev"] = room.rev + 1
    return room.model_copy(update=changes)


def _without(users: tuple[User, ...], user_id: str) -> tuple[User, ...]:
    return tuple([user for user in users if user.id != user_id])


def _inherit_extra_fields(old: RecordT, new: RecordT) -> RecordT:
    """Carry over what the other writers of a record keep in it and this library does not know."""
    if not old.__pydantic_extra__:
        return new
    missing = {name: value for name, value in old.model_extra.items() if name not in new.model_extra}
    return new.with_extra(missing) if missing else new
