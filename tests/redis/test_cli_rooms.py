"""The commands `wnc-store rooms`, `wnc-store show` and `wnc-store delete` on a server."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest

from chaos.server import emptied
from command_line import on_redis, wnc_store
from redis_server import RedisServer
from wnc_store import StoreSettings, open_store
from wnc_store_contract.factories import message, room, user

LATEST = datetime(2026, 5, 1, tzinfo=UTC)
HASH = "pbkdf2-of-a-room"


@pytest.fixture
async def url(redis_server: RedisServer) -> AsyncIterator[str]:
    """Database 4 with three rooms: B is the oldest and has most users, C is the newest, A is the next to expire."""
    url = redis_server.url.replace("/0", "/4")
    async with emptied(url):
        async with (
            open_store(url) as store,
            open_store(url, settings=StoreSettings(room_ttl=timedelta(minutes=1))) as short_lived,
        ):
            guests = "host", "guest", "other"
            await store.rooms.create_room(room("B", *guests, created_at=LATEST - timedelta(days=2)))
            await store.rooms.create_room(room("C", created_at=LATEST))
            await short_lived.rooms.create_room(room("A", "host", "guest", created_at=LATEST - timedelta(days=1)))
        yield url


def listed(url: str, *options: str) -> str:
    """Return the ids of the listed rooms."""
    return "".join(entry["id"] for entry in json.loads(wnc_store("rooms", url, "--json", *options).stdout))


@pytest.mark.parametrize(
    ("options", "ids"),
    [
        ("", "CAB"),
        ("--sort created", "CAB"),
        ("--sort users", "BAC"),
        ("--sort ttl", "ABC"),
        ("--sort id", "ABC"),
        ("--sort id --limit 2", "AB"),
        ("--limit 1", "C"),
    ],
)
def test_rooms_are_sorted(url: str, options: str, ids: str) -> None:
    """`rooms` lists the newest rooms first, or in the order of --sort, and applies --limit after sorting."""
    assert listed(url, *options.split()) == ids


def test_rooms_can_be_listed_unsorted(url: str) -> None:
    """`rooms --sort none` lists rooms in any order, and does not count those beyond the limit."""
    assert sorted(listed(url, "--sort", "none")) == ["A", "B", "C"]
    result = wnc_store("rooms", url, "--sort", "none", "--limit", "2", "--json")
    assert len(json.loads(result.stdout)) == 2
    assert "The store has more than 2 rooms." in result.stderr


def test_more_rooms_than_one_page(url: str) -> None:
    """`rooms` sorts all rooms, also those that are read in different pages."""

    async def fill() -> None:
        async with open_store(url) as store:
            for number in range(70):
                created = LATEST - timedelta(days=10 + number)
                await store.rooms.create_room(room(f"N{number:02}", created_at=created))

    on_redis(url, lambda _: fill())
    result = wnc_store("rooms", url, "--limit", "5", "--json")
    assert [entry["id"] for entry in json.loads(result.stdout)] == ["C", "A", "B", "N00", "N01"]
    assert "Showing 5 of 73 rooms." in result.stderr
    assert len(json.loads(wnc_store("rooms", url, "--limit", "0", "--json").stdout)) == 73


def test_unreadable_rooms_are_last(url: str) -> None:
    """`rooms` lists unreadable rooms after the others."""
    on_redis(url, lambda plain: plain.set("room:0", "{"))
    on_redis(url, lambda plain: plain.sadd("active-rooms", "0"))
    assert listed(url) == "CAB0"


def test_an_empty_store(url: str) -> None:
    """`rooms` prints a sentence instead of an empty table, and an empty list as JSON."""
    on_redis(url, lambda plain: plain.flushdb())
    assert wnc_store("rooms", url).stdout == "No rooms.\n"
    assert json.loads(wnc_store("rooms", url, "--json").stdout) == []


def test_show_prints_extra_fields(url: str) -> None:
    """`show` prints the extra fields of the room, its video state and its users, but no host token."""

    async def write() -> None:
        async with open_store(url) as store:
            with_fields = user("host", is_host=True).with_extra({"role": "co-host", "muted": True})
            current = room("X", users=(with_fields, user("guest")))
            state = current.video_state.with_extra({"speed": 1.5})
            current = current.model_copy(update={"video_state": state})
            fields = {"passwordHash": HASH, "settings": {"locked": True}, "host_token": "SECRET"}
            await store.rooms.create_room(current.with_extra(fields))

    on_redis(url, lambda _: write())
    shown = wnc_store("show", url, "X").stdout
    for text in ("3 extra fields", "passwordHash", HASH, '{"locked":true}', "videoState.speed", "1.5"):
        assert text in shown
    assert 'role: "co-host", muted: true' in shown
    assert "SECRET" not in shown
    assert "extra field" not in wnc_store("show", "A", url).stdout


def test_show_reports_a_room_without_users(url: str) -> None:
    """`show` prints a sentence instead of an empty table of users."""

    async def write() -> None:
        async with open_store(url) as store:
            await store.rooms.create_room(room("X", users=()))

    on_redis(url, lambda _: write())
    assert "No users." in wnc_store("show", "X", url).stdout


def test_delete_asks_first(url: str) -> None:
    """`delete` describes the room and deletes it only after the answer yes."""
    refused = wnc_store("delete", "B", url, code=1, stdin=b"n\n")
    assert "Delete room B of Name of host with 3 users? [y/N]" in refused.stderr
    wnc_store("delete", "B", url, code=1)  # standard input is empty
    assert listed(url) == "CAB"
    assert "deleted room B of Name of host" in wnc_store("delete", "B", "--url", url, stdin=b"y\n").stdout
    assert listed(url) == "CA"


def test_delete_without_a_question(url: str) -> None:
    """`delete --yes` deletes a room with its chat without asking, and prints JSON for scripts."""

    async def write() -> None:
        async with open_store(url) as store:
            await store.chat.add_message(message(1, "A"))

    on_redis(url, lambda _: write())
    result = wnc_store("delete", "A", url, "--yes", "--json")
    assert json.loads(result.stdout) == {"id": "A", "deleted": True}
    assert "Delete" not in result.stderr
    assert on_redis(url, lambda plain: plain.exists("room:A", "chat:A")) == 0
    assert "room 'A' not found" in wnc_store("delete", "A", url, "--yes", code=1).stderr


def test_delete_of_remains(url: str) -> None:
    """`delete` removes an unreadable room, and a chat whose room does not exist."""
    on_redis(url, lambda plain: plain.set("room:A", "{"))
    on_redis(url, lambda plain: plain.rename("room:B", "elsewhere"))
    on_redis(url, lambda plain: plain.rpush("chat:B", "{}"))
    assert "deleted the unreadable room A" in wnc_store("delete", "A", url, "--yes").stdout
    assert "deleted the chat of room B" in wnc_store("delete", "B", url, "--yes").stdout
    assert on_redis(url, lambda plain: plain.exists("room:A", "chat:B")) == 0
