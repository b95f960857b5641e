"""Events as they happen, a line each."""

from __future__ import annotations

import json

from wnc_store.cli.output import err, out, sanitize
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
    """Print the events of a room.

    Args:
        store: what to listen to.
        room_id: the room; it need not live.
        limit: end after so many events; 0 never ends.
        as_json: a line of JSON for each, in ASCII: what guests wrote may hold anything.
    """
    async with store.events.subscribe(room_id) as events:
        err.print(sanitize(f"watching room {room_id}: what writers with publish_changes on tell; end with Ctrl-C"))
        if not await store.rooms.room_exists(room_id):
            err.print("there is no such room now; if it begins, that is told")
        seen = 0
        async for event in events:
            if as_json:
                print(json.dumps(event.to_json()), flush=True)  # noqa: T201 - rich would wrap the lines
            else:
                revision = "" if event.rev is None else f" (rev {event.rev})"
                out.print(sanitize(f"{_told(event)}{revision}"), soft_wrap=True)
            seen += 1
            if seen == limit:
                return


_IN_WORDS: dict[type[RoomEvent], str] = {
    RoomChanged: "the room changed",
    RoomClosed: "the room is closed",
    Resync: "events are missing here: read the room and its chat",
}


def _told(event: RoomEvent) -> str:
    match event:
        case UserJoined(user=user):
            words = f"{user.name} ({user.id}) joined"
        case UserLeft(user=user):
            words = f"{user.name} ({user.id}) left"
        case HostChanged(host_name=name, host_id=host_id):
            words = f"{name} ({host_id}) is host"
        case VideoStateChanged(video_state=state):
            words = _state(state)
        case VideoSet(video_url=url, video_type=kind, video_state=state):
            words = f"the video is {url} ({kind}), {_state(state)}" if url else "there is no video any more"
        case MessageAdded(message=message):
            words = f"{message.user_name}: {message.message}"
        case AppEvent(name=name, value=value):
            words = f"the app's {name}: {json.dumps(value)}"
        case _:
            words = _IN_WORDS[type(event)]
    return words


def _state(state: VideoState) -> str:
    return f"{'playing' if state.is_playing else 'paused'} at {state.current_time} of {state.duration} s"
