"""The command `wnc-store watch`, which prints the events of a room."""

from __future__ import annotations

import json

from wnc_store.cli.output import out, print_notice, sanitize
from wnc_store.events import (
    AppEvent,
    HostChanged,
    MessageAdded,
    Resync,
    RoomChanged,
    RoomClosed,
    RoomEvent,
    UserJoined,
    UserLeft,
    VideoSet,
    VideoStateChanged,
)
from wnc_store.protocols import Store
from wnc_store.records.models import VideoState


async def watch_room(store: Store, room_id: str, limit: int, *, as_json: bool) -> None:
    """Print one line per event of a room.

    Args:
        store: The store to subscribe to.
        room_id: The room. It does not have to exist.
        limit: Return after this many events; 0 means no limit.
        as_json: Print JSON in ASCII, because texts of guests may contain any character.
    """
    async with store.events.subscribe(room_id) as events:
        print_notice(
            f"Watching room {room_id}. Changes by stores without publish_changes=True are not shown. Stop with Ctrl-C."
        )
        if not await store.rooms.room_exists(room_id):
            print_notice(f"Room {room_id} not found. Waiting for it to be created.")
        printed = 0
        async for event in events:
            if as_json:
                print(json.dumps(event.to_json()), flush=True)  # noqa: T201 - rich would wrap the lines
            else:
                revision = "" if event.rev is None else f" (rev {event.rev})"
                out.print(sanitize(f"{_describe(event)}{revision}"), soft_wrap=True)
            printed += 1
            if printed == limit:
                return


_FIXED_TEXTS: dict[type[RoomEvent], str] = {
    RoomChanged: "room changed",
    RoomClosed: "room closed",
    Resync: "events may be missing: read the room and its chat again",
}


def _describe(event: RoomEvent) -> str:
    match event:
        case UserJoined(user=user):
            text = f"{user.name} ({user.id}) joined"
        case UserLeft(user=user):
            text = f"{user.name} ({user.id}) left"
        case HostChanged(host_name=name, host_id=host_id):
            text = f"{name} ({host_id}) is now host"
        case VideoStateChanged(video_state=state):
            text = _state(state)
        case VideoSet(video_url=url, video_type=kind, video_state=state):
            text = f"video set to {url} ({kind}), {_state(state)}" if url else "video removed"
        case MessageAdded(message=message):
            text = f"{message.user_name}: {message.message}"
        case AppEvent(name=name, value=value):
            text = f"app event {name}: {json.dumps(value)}"
        case _:
            text = _FIXED_TEXTS[type(event)]
    return text


def _state(state: VideoState) -> str:
    return f"{'playing' if state.is_playing else 'paused'} at {state.current_time} of {state.duration} s"
