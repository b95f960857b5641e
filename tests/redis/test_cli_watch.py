"""The command `wnc-store watch`."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from processes import SECONDS, WNC_STORE, start
from redis_server import RedisServer
from wnc_store import AppEvent, Resync, Store, StoreSettings, VideoState, open_store
from wnc_store.cli.watch import watch_room
from wnc_store_contract.factories import message, room, user

SECRET = "SECRET-5d2e"
WATCHING = "Watching room A. Changes by stores without publish_changes=True are not shown. Stop with Ctrl-C.\n"
NO_ROOM = "Room A not found. Waiting for it to be created.\n"
PUBLISHING = StoreSettings(publish_changes=True)


@pytest.fixture
def url(redis_server: RedisServer) -> str:
    """The URL of a database that only these tests use."""
    return redis_server.url.replace("/0", "/12")


async def watched(url: str, work: Callable[[Store], Awaitable[object]], limit: int, *, as_json: bool = False) -> None:
    """Watch room A until `limit` events have arrived, while another store does the work."""
    async with open_store(url, settings=PUBLISHING) as writer, open_store(url) as store:
        subscribed = asyncio.Event()
        room_exists = store.rooms.room_exists

        async def signal_subscription(room_id: str) -> bool:  # watch_room calls this first after subscribing
            try:
                return await room_exists(room_id)
            finally:
                subscribed.set()

        store.rooms.room_exists = signal_subscription
        watching = asyncio.ensure_future(watch_room(store, "A", limit, as_json=as_json))
        await asyncio.wait([watching, asyncio.ensure_future(subscribed.wait())], return_when=asyncio.FIRST_COMPLETED)
        await work(writer)
        await watching


async def publish_all_kinds(store: Store) -> None:
    """Publish an event of each kind."""
    await store.rooms.create_room(room("A", "host", "guest", host_token=SECRET))
    await store.rooms.add_user_to_room("A", user("new"))
    await store.rooms.remove_user_from_room("A", "host")
    await store.rooms.update_video_state("A", VideoState(is_playing=True, current_time=5, duration=60))
    await store.rooms.set_video_url("A", "https://video.example/1")
    await store.rooms.edit_room("A", lambda found: found.model_copy(update={"video_url": None, "video_type": None}))
    await store.chat.add_message(message(1, "A", message="\x1b[2J[red]x[/red]\n\ud83d"))
    await store.chat.edit_message("A", "m1", lambda found: found.model_copy(update={"message": "edited\n"}))
    await store.chat.add_message(message(2, "A"))
    await store.chat.remove_message("A", "m2")
    await store.chat.clear_messages("A")
    await store.events.publish("A", AppEvent(room_id="A", name="typing", value={"by": "guest"}))
    await store.events.publish("A", Resync(room_id="A"))
    await store.rooms.delete_room("A")


async def test_watch_prints_each_event(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    """`watch` prints one line per event, without the host token and without markup or control characters of guests."""
    await watched(url, publish_all_kinds, 15)
    shown = capsys.readouterr().out
    assert SECRET not in shown
    assert shown.splitlines() == [
        "room changed",
        "Name of new (new) joined (rev 2)",
        "Name of host (host) left (rev 3)",
        "Name of guest (guest) is now host (rev 3)",
        "playing at 0:00:05 / 0:01:00 (rev 4)",
        "video set to https://video.example/1 (youtube), paused at 0:00:00 (rev 5)",
        "video removed (rev 6)",
        "Host: �[2J[red]x[/red]��",
        "message m1 edited: Host: edited�",
        "Host: text 2",
        "message m2 removed",
        "all messages deleted",
        'app event typing: {"by":"guest"}',
        "events may be missing: read the room and its chat again",
        "room closed",
    ]


async def test_watch_prints_json_lines(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    """`watch --json` prints each event in its wire format, as one line of ASCII."""

    async def chat(store: Store) -> None:
        await store.chat.add_message(message(1, "A", message="é\n"))
        await store.chat.clear_messages("A")

    await watched(url, chat, 2, as_json=True)
    shown = capsys.readouterr().out
    added, cleared = (json.loads(line) for line in shown.splitlines())
    assert shown.isascii()
    assert (added["type"], added["message"]["message"]) == ("messageAdded", "é\n")
    assert cleared == {"roomId": "A", "type": "messagesCleared"}


async def test_watch_reports_a_missing_room(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    """`watch` reports that the room does not exist, and prints its events once it is created."""

    async def create(store: Store) -> None:
        await store.rooms.create_room(room("A"))

    await watched(url, create, 1)
    shown = capsys.readouterr()
    assert shown.err == WATCHING + NO_ROOM
    assert shown.out == "room changed\n"
    async with open_store(url) as store:
        await store.rooms.delete_room("A")


async def test_watch_ends_with_ctrl_c(url: str) -> None:
    """Events are printed as they arrive, and Ctrl-C ends the command with exit code 0."""
    with start(*WNC_STORE, "watch", "A", "--url", url) as process:
        assert process.stderr is not None
        assert process.stdout is not None
        # Read both lines here: `communicate` does not return what `readline` has buffered.
        assert await asyncio.to_thread(process.stderr.readline) == WATCHING
        assert await asyncio.to_thread(process.stderr.readline) == NO_ROOM
        async with open_store(url) as store:
            await store.events.publish("A", Resync(room_id="A"))
        assert "missing" in await asyncio.to_thread(process.stdout.readline)
        process.send_signal(signal.SIGINT)
        rest: Any = process.communicate(timeout=SECONDS)
    assert (process.returncode, rest) == (0, ("", ""))
