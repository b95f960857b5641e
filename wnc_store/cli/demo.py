"""The command `wnc-store demo`, which shows the life cycle of a room."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import timedelta
from uuid import uuid4

from rich.text import Text

from wnc_store.cli.output import format_ttl, out
from wnc_store.cli.store import StoreOptions, with_key_prefix
from wnc_store.clock import ManualClock
from wnc_store.errors import RoomNotFoundError
from wnc_store.factory import open_store
from wnc_store.protocols import Store
from wnc_store.records.models import ChatMessage, Room, User, VideoState
from wnc_store.settings import StoreSettings

_ROOM = "DEMO42"
_SHORT_TTL = timedelta(seconds=1)


async def run_demo(options: StoreOptions) -> None:
    """Run the demo. In memory it advances a manual clock; on a server it waits for a room with a TTL of one second."""
    if options.url in {None, "memory://"}:
        clock = ManualClock()

        async def advance_clock() -> None:
            clock.advance(timedelta(hours=24))

        async with open_store("memory://", settings=StoreSettings(), clock=clock) as store:
            await _print_room(store, "24 hours later (the clock is advanced)", advance_clock)
        return
    settings = options.settings()
    settings = with_key_prefix(settings, f"{options.key_prefix or ''}wnc-demo-{uuid4().hex[:12]}:")
    async with open_store(options.url, settings=settings) as store:
        short_settings = settings.model_copy(update={"room_ttl": _SHORT_TTL, "chat_ttl": _SHORT_TTL})

        async def wait_for_expiry() -> None:
            async with open_store(options.url, settings=short_settings) as short_lived_store:
                await short_lived_store.rooms.update_video_state(_ROOM, VideoState())
                deadline = time.monotonic() + 10 * _SHORT_TTL.total_seconds()
                # Polled, because the server does not report that a key expired.
                while await short_lived_store.rooms.room_exists(_ROOM) and time.monotonic() < deadline:  # noqa: ASYNC110
                    await asyncio.sleep(0.05)

        try:
            await _print_room(store, "one second later (the room has a TTL of one second)", wait_for_expiry)
        finally:
            await store.rooms.delete_room(_ROOM)


async def _print_room(store: Store, expiry_heading: str, expire: Callable[[], Awaitable[None]]) -> None:
    ada, grace, linus = (User(id=name.lower(), name=name) for name in ("Ada", "Grace", "Linus"))

    _heading("a host creates a room, and guests join")
    room = Room.hosted_by(ada, room_id=_ROOM)
    await store.rooms.create_room(room)
    await store.rooms.add_user_to_room(_ROOM, grace)
    room = await store.rooms.add_user_to_room(_ROOM, linus)
    _fact("users", ", ".join(f"{user.name}{' (host)' if user.is_host else ''}" for user in room.users))
    _fact("a wrong host token is accepted", room.verify_host_token("guess"))
    _fact("TTL of the room", format_ttl(await store.rooms.room_ttl(_ROOM)))

    _heading("they watch a video")
    room = await store.rooms.set_video_url(_ROOM, "https://www.youtube.com/watch?v=dQw4w9WgXcQ")
    _fact("video", room.video_url)
    room = await store.rooms.update_video_state(_ROOM, VideoState(is_playing=True, current_time=42.5, duration=212))
    _fact("playing", f"at {room.video_state.current_time} of {room.video_state.duration} seconds")

    _heading("they send 25 messages; the last 20 are kept")
    for number in range(1, 26):
        await store.chat.add_message(
            ChatMessage(id=f"m{number}", room_id=_ROOM, user_id="grace", user_name="Grace", message=f"message {number}")
        )
    messages = await store.chat.get_messages(_ROOM)
    _fact("messages", f"{len(messages)}, from {messages[0].message!r} to {messages[-1].message!r}")

    _heading("the host leaves")
    room = await store.rooms.remove_user_from_room(_ROOM, "ada")
    _fact("host is now", room.host_name if room else None)
    _fact("the room keeps its host token", room is not None and bool(room.host_token))

    _heading(expiry_heading)
    await expire()
    _fact("room exists", await store.rooms.room_exists(_ROOM))
    try:
        await store.rooms.add_user_to_room(_ROOM, ada)
    except RoomNotFoundError as error:
        _fact("Ada tries to join again", error)

    _heading("a new room, and its last user leaves")
    await store.rooms.create_room(Room.hosted_by(grace, room_id=_ROOM))
    _fact("messages in the new room", len(await store.chat.get_messages(_ROOM)))
    _fact("room after the last user left", await store.rooms.remove_user_from_room(_ROOM, "grace"))
    _fact("active rooms", [room_id async for room_id in store.rooms.active_room_ids()])


def _heading(text: str) -> None:
    out.print(Text(f"\n{text}", style="bold"))


def _fact(name: str, value: object) -> None:
    out.print(Text.assemble(f"  {name}: ", (str(value), "cyan")))
