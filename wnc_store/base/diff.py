"""Events that describe the difference between two states of a room."""

from __future__ import annotations

from collections.abc import Sequence

from wnc_store import events
from wnc_store.records.models import Room, User


def diff_rooms(before: Room | None, after: Room | None) -> Sequence[events.RoomEvent]:
    """Return the ordered events that turn `before` into `after`.

    If the events do not describe the whole difference, the last one is `RoomChanged`. The result is empty exactly if
    `before` and `after` are the same object.

    Args:
        before: The room before the commit. None if the room is new.
        after: The room after the commit. None if the room was deleted.
    """
    if after is None:
        return () if before is None else (events.RoomClosed(room_id=before.id, rev=before.rev + 1),)
    if before is None:
        # Without a rev: a subscriber may have read an earlier room with the same id and a higher rev.
        return (events.RoomChanged(room_id=after.id),)
    if after is before:
        return ()
    room_id, rev = after.id, after.rev
    same_users = after.users is before.users
    left, joined = ((), ()) if same_users else (_left(before, after), _joined(before, after))
    changes: list[events.RoomEvent] = [events.UserLeft(room_id=room_id, rev=rev, user=user) for user in left]
    changes += [events.UserJoined(room_id=room_id, rev=rev, user=user) for user in joined]
    if (after.host_id, after.host_name) != (before.host_id, before.host_name):
        changes.append(events.HostChanged(room_id=room_id, rev=rev, host_id=after.host_id, host_name=after.host_name))
    state, url, kind = after.video_state, after.video_url, after.video_type
    if (url, kind) != (before.video_url, before.video_type):
        changes.append(events.VideoSet(room_id=room_id, rev=rev, video_url=url, video_type=kind, video_state=state))
    elif state != before.video_state:
        changes.append(events.VideoStateChanged(room_id=room_id, rev=rev, video_state=state))
    if not changes or _apply_events(before, after, left, joined) != after:
        changes.append(events.RoomChanged(room_id=room_id, rev=rev))
    return changes


def _left(before: Room, after: Room) -> Sequence[User]:
    remaining_ids = {user.id for user in after.users}
    return [user for user in before.users if user.id not in remaining_ids]


def _joined(before: Room, after: Room) -> Sequence[User]:
    """Return the users who joined. If nobody joined, but the last user rejoined, return this user."""
    known = {user.id for user in before.users}
    new = [user for user in after.users if user.id not in known]
    if new or not after.users:
        return new
    *others, last = after.users
    ids = {user.id for user in after.users}
    remaining = [user for user in before.users if user.id in ids]
    if [user.id for user in remaining if user.id != last.id] != [user.id for user in others]:
        return ()
    former_last = remaining[-1]
    rejoined = former_last.id != last.id or (
        former_last is not last and _without_host_flag(former_last) != _without_host_flag(last)
    )
    return (last,) if rejoined else ()


def _without_host_flag(user: User) -> User:
    return user.model_copy(update={"is_host": False})


def _apply_events(before: Room, after: Room, left: Sequence[User], joined: Sequence[User]) -> Room:
    """Return the room that a subscriber reconstructs from `before` and the events."""
    moved = {user.id for user in (*left, *joined)}
    users = (*(user for user in before.users if user.id not in moved), *joined)
    if after.host_id != before.host_id:
        is_host = {before.host_id: False, after.host_id: True}
        users = tuple(user.model_copy(update={"is_host": is_host.get(user.id, user.is_host)}) for user in users)
    video = {"video_url": after.video_url, "video_type": after.video_type, "video_state": after.video_state}
    host = {"host_id": after.host_id, "host_name": after.host_name}
    return before.model_copy(update={"users": users, **host, **video, "rev": after.rev})
