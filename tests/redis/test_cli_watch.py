"""`wnc-store watch`: events as they happen."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from typing import Any

import pytest

from redis_server import RedisServer
from wnc_store import AppEvent, Resync, Store, StoreSettings, VideoState, open_store
from wnc_store_contract.samples import message, room, user

SECRET = "SECRET-5d2e"
NO_ROOM = "there is no such room now; if it begins, that is told\n"
PUBLISHING = StoreSettings(publish_changes=True)


@pytest.fixture
def url(redis_server: RedisServer) -> str:
    """A database for these tests alone."""
    return redis_server.url.replace("/0", "/12")


@contextmanager
def watching(url: str, *arguments: str) -> Generator[subprocess.Popen[str]]:
    """Run the command, and wait until it watches."""
    command = [
        sys.executable,
        "-W",
        "error",
        "-c",
        "from wnc_store.cli import main; main()",
        "watch",
        "A",
        "--url",
        url,
    ]
    pipe = subprocess.PIPE
    with subprocess.Popen([*command, *arguments], stdout=pipe, stderr=pipe, text=True) as process:  # noqa: S603
        try:
            assert process.stderr is not None
            assert (
                process.stderr.readline()
                == "watching room A: what writers with publish_changes on tell; end with Ctrl-C\n"
            )
            yield process
        finally:
            process.kill()


def happen(url: str, work: Callable[[Store], Awaitable[object]]) -> None:
    """Do something with a store that publishes its changes."""

    async def do() -> None:
        async with open_store(url, settings=PUBLISHING) as store:
            await work(store)

    asyncio.run(do())


async def life(store: Store) -> None:
    """Let every kind of event happen."""
    await store.rooms.create_room(room("A", "host", "guest", host_token=SECRET))
    await store.rooms.add_user_to_room("A", user("new"))
    await store.rooms.remove_user_from_room("A", "host")
    await store.rooms.update_video_state("A", VideoState(is_playing=True, current_time=5, duration=60))
    await store.rooms.set_video_url("A", "https://video.example/1")
    await store.rooms.edit_room("A", lambda one: one.model_copy(update={"video_url": None, "video_type": None}))
    await store.chat.add_message(message(1, "A", message="\x1b[2J[red]x[/red]\n\ud83d"))
    await store.events.publish("A", AppEvent(room_id="A", name="typing", value={"by": "guest"}))
    await store.events.publish("A", Resync(room_id="A"))
    await store.rooms.delete_room("A")


def test_watch_tells_what_happens(url: str) -> None:
    """`watch` prints a line for each event, without the host token, markup or control characters of guests."""
    with watching(url, "--limit", "11") as process:
        happen(url, life)
        shown, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    assert SECRET not in shown
    assert shown.splitlines() == [
        "the room changed",
        "Name of new (new) joined (rev 2)",
        "Name of host (host) left (rev 3)",
        "Name of guest (guest) is host (rev 3)",
        "playing at 5 of 60 s (rev 4)",
        "the video is https://video.example/1 (youtube), paused at 0 of 0 s (rev 5)",
        "there is no video any more (rev 6)",
        "Host: �[2J[red]x[/red]��",
        'the app\'s typing: {"by": "guest"}',
        "events are missing here: read the room and its chat",
        "the room is closed",
    ]


def test_watch_prints_json_lines(url: str) -> None:
    """`watch --json` prints each event as it is on the wire, in a line of ASCII."""
    with watching(url, "--json", "--limit", "2") as process:
        happen(url, lambda store: store.chat.add_message(message(1, "A", message="é\n")))
        happen(url, lambda store: store.chat.clear_messages("A"))
        shown, _ = process.communicate(timeout=60)
    added, cleared = (json.loads(line) for line in shown.splitlines())
    assert shown.isascii()
    assert (added["type"], added["message"]["message"]) == ("messageAdded", "é\n")
    assert cleared == {"roomId": "A", "type": "resync"}


def test_watch_says_that_there_is_no_room(url: str) -> None:
    """Who watches a room that is not there is told so, as the id may be wrong; what happens is told all the same."""
    with watching(url, "--limit", "1") as process:
        assert process.stderr is not None
        assert process.stderr.readline() == NO_ROOM
        happen(url, lambda store: store.rooms.create_room(room("A")))
        out, _ = process.communicate(timeout=30)
        assert out == "the room changed\n"
        happen(url, lambda store: store.rooms.delete_room("A"))


def test_watch_ends_with_ctrl_c(url: str) -> None:
    """Events are printed when they happen, not at the end, and Ctrl-C ends the command without complaint."""
    with watching(url) as process:
        happen(url, lambda store: store.events.publish("A", Resync(room_id="A")))
        assert process.stdout is not None
        assert "missing" in process.stdout.readline()
        process.send_signal(signal.SIGINT)
        rest: Any = process.communicate(timeout=60)
    assert (process.returncode, rest) == (0, ("", NO_ROOM))
