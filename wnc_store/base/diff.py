"""The events that a commit of a room makes: one pure function on the states before and after it."""

from __future__ import annotations

from collections.abc import Sequence

from wnc_store.events import (
    HostChanged,
    RoomChanged,
    RoomClosed,
    RoomEvent,
    UserJoined,
    UserLeft,
    VideoSet,
    VideoStateChanged,
)
from wnc_store.records.models import Room, User


def diff_rooms(before: Room | None, after: Room | None) -> Sequence[RoomEvent]:
    """Return what tells a reader who knows a room as it was `before` how it is `after`, in this order.

    Where the events that there are do not tell all of it, `RoomChanged` comes last. A state that is the very same
    object is no change; every other gives at least one event.

    Args:
        before: the room until now; None if it is new.
        after: the room by now; None if it is deleted.
    """
    if after is None:
        return () if before is None else (RoomClosed(room_id=before.id, rev=before.rev + 1),)
    if before is None:
        # Without a rev: a reader may know a room of the same id, long gone, with a higher one.
        return (RoomChanged(room_id=after.id),)
    if after is before:
        return ()
    room_id, rev = after.id, after.rev
    is_same_party = after.users is before.users
    left, joined = ((), ()) if is_same_party else (_left(before, after), _joined(before, after))
    events: list[RoomEvent] = []
    events += [UserLeft(room_id=room_id, rev=rev, user=user) for user in left]
    events += [UserJoined(room_id=room_id, rev=rev, user=user) for user in joined]
    if (after.host_id, after.host_name) != (before.host_id, before.host_name):
        events.append(HostChanged(room_id=room_id, rev=rev, host_id=after.host_id, host_name=after.host_name))
    state, url, kind = after.video_state, after.video_url, after.video_type
    if (url, kind) != (before.video_url, before.video_type):
        events.append(VideoSet(room_id=room_id, rev=rev, video_url=url, video_type=kind, video_state=state))
    elif state != before.video_state:
        events.append(VideoStateChanged(room_id=room_id, rev=rev, video_state=state))
    if not events or _apply_events(before, after, left, joined) != after:
        events.append(RoomChanged(room_id=room_id, rev=rev))
    return events


def _left(before: Room, after: Room) -> Sequence[User]:
    stay = {user.id for user in after.users}
    return [user for user in before.users if user.id not in stay]


def _joined(before: Room, after: Room) -> Sequence[User]:
    """Return who is new; or who came again: the last one, where the others are as they were."""
    known = {user.id for user in before.users}
    new = [user for user in after.users if user.id not in known]
    if new or not after.users:
        return new
    *others, last = after.users
    ids = {user.id for user in after.users}
    stay = [user for user in before.users if user.id in ids]
    if [user.id for user in stay if user.id != last.id] != [user.id for user in others]:
        return ()
    was = stay[-1]
    came_again = was.id != last.id or (was is not last and _without_host_flag(was) != _without_host_flag(last))
    return (last,) if came_again else ()


def _without_host_flag(user: User) -> User:
    return user.model_copy(update={"is_host": False})


def _apply_events(before: Room, after: Room, left: Sequence[User], joined: Sequence[User]) -> Room:
    """Return the room that a reader of the events knows."""
    moved = {user.id for user in (*left, *joined)}
    users = (*(user for user in before.users if user.id not in moved), *joined)
    if after.host_id != before.host_id:
        is_host = {before.host_id: False, after.host_id: True}
        users = tuple(user.model_copy(update={"is_host": is_host.get(user.id, user.is_host)}) for user in users)
    video = {"video_url": after.video_url, "video_type": after.video_type, "video_state": after.video_state}
    host = {"host_id": after.host_id, "host_name": after.host_name}
    return before.model_copy(update={"users": users, **host, **video, "rev": after.rev})
