"""The command `wnc-store watch`, which prints the events of a room."""

from __future__ import annotations

from wnc_store import events
from wnc_store.cli.output import ascii_json, format_state, out, print_notice, sanitize
from wnc_store.protocols import Store


async def watch_room(store: Store, room_id: str, limit: int, *, as_json: bool) -> None:
    """Print one line per event of a room, which does not have to exist. Return after `limit` events; 0 means unlimited.

    JSON is printed in ASCII, because texts of guests may contain any character.
    """
    async with store.events.subscribe(room_id) as received:
        print_notice(
            f"Watching room {room_id}. Changes by stores without publish_changes=True are not shown. Stop with Ctrl-C."
        )
        if not await store.rooms.room_exists(room_id):
            print_notice(f"Room {room_id} not found. Waiting for it to be created.")
        printed = 0
        async for event in received:
            if as_json:
                print(ascii_json(event.to_json()), flush=True)  # noqa: T201 - rich would wrap the lines
            else:
                revision = "" if event.rev is None else f" (rev {event.rev})"
                out.print(sanitize(f"{_describe(event)}{revision}"), soft_wrap=True)
            printed += 1
            if printed == limit:
                return


_FIXED_TEXTS: dict[type[events.RoomEvent], str] = {
    events.RoomChanged: "room changed",
    events.RoomClosed: "room closed",
    events.MessagesCleared: "all messages deleted",
    events.Resync: "events may be missing: read the room and its chat again",
}


def _describe(event: events.RoomEvent) -> str:
    match event:
        case events.UserJoined(user=user):
            text = f"{user.name} ({user.id}) joined"
        case events.UserLeft(user=user):
            text = f"{user.name} ({user.id}) left"
        case events.HostChanged(host_name=name, host_id=host_id):
            text = f"{name} ({host_id}) is now host"
        case events.VideoStateChanged(video_state=state):
            text = format_state(state)
        case events.VideoSet(video_url=url, video_type=kind, video_state=state):
            text = f"video set to {url} ({kind}), {format_state(state)}" if url else "video removed"
        case events.MessageAdded(message=message):
            text = f"{message.user_name}: {message.message}"
        case events.MessageChanged(message=message):
            text = f"message {message.id} edited: {message.user_name}: {message.message}"
        case events.MessageRemoved(message_id=message_id):
            text = f"message {message_id} removed"
        case events.AppEvent(name=name, value=value):
            text = f"app event {name}: {ascii_json(value)}"
        case _:
            text = _FIXED_TEXTS[type(event)]
    return text
