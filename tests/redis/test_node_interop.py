"""Tests of the Node app and the Python store on one Redis."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import pytest_asyncio

from chaos.server import emptied
from node import NodeApp, node_app
from redis_server import RedisServer
from wnc_store import ChatMessage, ManualClock, Room, VideoState, from_wire
from wnc_store_contract.factories import message, node_record, node_records, parsed, room, user
from wnc_store_redis import RedisStore

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.timeout(400),  # the first test of a clean clone waits for npm
]

_DATABASE = 5
_ID = "A3X9K2"
_DAY = timedelta(hours=24)
_NOW = datetime(2026, 1, 1, tzinfo=UTC)
_NOW_MS = 1767225600000


@dataclass(frozen=True)
class Shared:
    """One database with the Node app, a store, and a redis-py client."""

    node: NodeApp
    store: RedisStore
    redis: Any

    async def assert_all_expire(self, *keys: str) -> None:
        """Check that the database contains exactly these keys, and that each expires within 24 hours."""
        assert sorted(key.decode() for key in await self.redis.keys()) == sorted(keys)
        for key in keys:
            assert 0 < await self.redis.ttl(key) <= _DAY.total_seconds(), key

    async def python_room(self) -> Room:
        """Return the room as Python reads it."""
        found = await self.store.rooms.get_room(_ID)
        assert found is not None
        return found


def _url(server: RedisServer) -> str:
    return f"redis://127.0.0.1:{server.port}/{_DATABASE}"


@pytest_asyncio.fixture(scope="module", loop_scope="module", name="node")
async def _node(redis_server: RedisServer) -> AsyncIterator[NodeApp]:
    """The Node app: one process for all tests of the module, because its start is slow."""
    async with node_app(_url(redis_server)) as node:
        yield node


@pytest_asyncio.fixture(loop_scope="module", name="shared")
async def _shared(redis_server: RedisServer, node: NodeApp) -> AsyncIterator[Shared]:
    """A separate database, emptied after the test."""
    url = _url(redis_server)
    async with emptied(url) as redis, RedisStore.from_url(url, clock=ManualClock(_NOW)) as store:
        yield Shared(node, store, redis)


def _node_user(user_id: str, **more: Any) -> dict[str, Any]:
    return {"id": user_id, "name": f"N {user_id}", "isHost": False, "joinedAt": "2026-01-01T00:00:00.000Z", **more}


def _node_room(*user_ids: str, **more: Any) -> dict[str, Any]:
    host, *others = user_ids
    return {
        **parsed(node_record("room_new")),
        "hostId": host,
        "hostName": f"N {host}",
        "users": [_node_user(host, isHost=True), *map(_node_user, others)],
        **more,
    }


def _node_message(number: int) -> dict[str, Any]:
    return {**parsed(node_record("message_plain")), "id": f"m{number}", "message": f"text {number}"}


async def test_node_creates_and_python_joins(shared: Shared) -> None:
    """Python lists and joins a room that Node created, and Node reads the result."""
    created = _node_room("ada")
    await shared.node("createRoom", created)
    assert [room_id async for room_id in shared.store.rooms.active_room_ids()] == [_ID]
    await shared.store.rooms.add_user_to_room(_ID, user("guest"))
    guest = {"id": "guest", "name": "Name of guest", "isHost": False, "joinedAt": "2026-01-01T12:00:00.125Z"}
    joined = {**created, "users": [*created["users"], guest], "rev": 1}
    assert await shared.node("getRoom", _ID) == joined
    assert await shared.node("holds", f"room:{_ID}", json.dumps(joined))
    await shared.assert_all_expire(f"room:{_ID}", "active-rooms")


async def test_python_creates_and_node_joins(shared: Shared) -> None:
    """Node joins a room that Python created, and Python reads the result."""
    created = room(_ID, "ada")
    await shared.store.rooms.create_room(created)
    await shared.node("addUser", _ID, _node_user("guest"))
    found = await shared.python_room()
    assert [one.id for one in found.users] == ["ada", "guest"]
    assert found.users[1].name == "N guest"
    assert found == created.model_copy(update={"rev": 1, "users": found.users})
    assert found.users[0] == created.users[0]
    await shared.assert_all_expire(f"room:{_ID}", "active-rooms")


async def test_both_update_a_room(shared: Shared) -> None:
    """Node and Python update the video of one room alternately, and each reads the other's update."""
    await shared.node("createRoom", _node_room("ada"))
    await shared.store.rooms.set_video_url(_ID, "https://video.example/1", "m3u8")
    assert (await shared.node("getRoom", _ID))["videoUrl"] == "https://video.example/1"
    playing = {"isPlaying": True, "currentTime": 12.5, "duration": 60, "lastUpdateTime": 1767225600000}
    await shared.node("updateVideoState", _ID, playing)
    assert (await shared.python_room()).video_state.to_json() == playing
    await shared.store.rooms.update_video_state(_ID, VideoState.model_validate({**playing, "currentTime": 1e-7}))
    assert (await shared.node("getRoom", _ID))["videoState"] == {**playing, "currentTime": 1e-7}
    await shared.node("setVideoUrl", _ID, "https://video.example/2", "youtube")
    found = await shared.python_room()
    assert (found.video_url, found.video_type) == ("https://video.example/2", "youtube")
    assert (found.video_state.is_playing, found.video_state.current_time) == (False, 0)


async def test_node_keeps_the_revision(shared: Shared) -> None:
    """Writes of Node keep `rev`, and the next commit of Python increments it."""
    await shared.store.rooms.create_room(room(_ID, "ada", "bob"))
    await shared.node("addUser", _ID, _node_user("guest"))
    await shared.node("removeUser", _ID, "ada")
    await shared.node("setVideoUrl", _ID, "https://video.example/1", "youtube")
    assert (await shared.python_room()).rev == 1
    assert (await shared.store.rooms.transfer_host(_ID, "guest")).rev == 2
    assert (await shared.node("getRoom", _ID))["rev"] == 2


async def test_the_chat_alternates(shared: Shared) -> None:
    """Both apps read the same last 20 messages of a chat that they write alternately."""
    for number in range(1, 26):
        if number % 2:
            await shared.node("addMessage", _node_message(number))
        else:
            await shared.store.chat.add_message(message(number))
        expected = [f"m{index}" for index in range(max(1, number - 19), number + 1)]
        read_by_node = await shared.node("getMessages", _ID)
        read_by_python = await shared.store.chat.get_messages(_ID)
        assert [one["id"] for one in read_by_node] == expected
        assert [one.to_json() for one in read_by_python] == read_by_node
    await shared.assert_all_expire(f"chat:{_ID}")


async def test_extra_fields_survive_python(shared: Shared) -> None:
    """Extra fields of a room are deep-equal in Node after each operation of Python."""
    meta: dict[str, Any] = {"headers": {}, "tracks": [], "confidence": 0.9, "big": 9007199254740992}
    ada = _node_user("ada", isHost=True, avatar=None, tags=[])
    bob = _node_user("bob", mood={"👍": [1, 2.5]})
    state = {"isPlaying": False, "currentTime": 0, "duration": 0, "lastUpdateTime": 1, "playbackRate": 1.25}
    expected = _node_room("ada", users=[ada, bob], videoState=state, videoMeta=meta, subtitles=[], settings={"": None})
    await shared.node("createRoom", expected)
    guest = user("guest")
    rejoined = {**bob, "name": "Name of bob", "joinedAt": "2026-01-01T12:00:00.125Z"}
    playing = VideoState(is_playing=True, current_time=0.1, duration=3, last_update_time=2)

    async def check(**changes: Any) -> None:
        expected.update(changes)
        assert await shared.node("holds", f"room:{_ID}", json.dumps(expected), "rev"), changes

    rooms = shared.store.rooms
    await check()
    await rooms.add_user_to_room(_ID, guest)
    await check(users=[ada, bob, guest.to_json()])
    await rooms.add_user_to_room(_ID, user("bob"))
    await check(users=[ada, guest.to_json(), rejoined])
    await rooms.update_video_state(_ID, playing)
    await check(videoState={**playing.to_json(), "playbackRate": 1.25})
    await rooms.set_video_url(_ID, "https://video.example/1")
    await check(
        videoUrl="https://video.example/1", videoType="youtube", videoState={**state, "lastUpdateTime": _NOW_MS}
    )
    await rooms.edit_room(_ID, lambda current: current.replace(host_name="Ada L."))
    await check(hostName="Ada L.")
    await rooms.update_room(_ID, (await shared.python_room()).replace(video_type="m3u8"))
    await check(videoType="m3u8")
    await rooms.remove_user_from_room(_ID, "guest")
    await check(users=[ada, rejoined])
    await rooms.transfer_host(_ID, "bob")
    rejoined["isHost"] = True
    await check(hostId="bob", hostName="Name of bob", users=[{**ada, "isHost": False}, rejoined])
    await rooms.remove_user_from_room(_ID, "ada")
    await check(users=[rejoined])


async def test_dates_are_the_same_in_both(shared: Shared) -> None:
    """A date that either app wrote is, in the other, a date of the same millisecond, and is not changed by a join."""
    await shared.node("createRoom", _node_room("ada", createdAt="2026-01-01T00:00:00.001Z"))
    joined = datetime(2026, 2, 3, 4, 5, 6, 789999, tzinfo=UTC)
    await shared.store.rooms.add_user_to_room(_ID, user("bob", joined_at=joined))
    found = await shared.python_room()
    dates = [found.created_at, *(one.joined_at for one in found.users)]
    assert dates[-1] == joined.replace(microsecond=789000)
    assert {date.tzinfo for date in dates} == {UTC}
    written = [round(date.timestamp() * 1000) for date in dates]
    assert await shared.node("dates", _ID) == written
    assert written[:2] == [1767225600001, 1767225600000]


async def test_half_an_emoji_survives(shared: Shared) -> None:
    """Lone surrogates, which JavaScript's slice() leaves of an emoji, survive the writes of both apps."""
    half, other = await shared.node("slice", "hi 😀", 0, 4), await shared.node("slice", "😀!", 1, 3)
    assert (half, other) == ("hi \ud83d", "\ude00!")
    created = _node_room("ada", hostName=half, settings={other: half})
    await shared.node("createRoom", created)
    joined = await shared.store.rooms.add_user_to_room(_ID, user("bob", name=other))
    assert (joined.host_name, joined.users[1].name) == (half, other)
    expected = {**created, "users": [*created["users"], joined.users[1].to_json()]}
    assert await shared.node("holds", f"room:{_ID}", json.dumps(expected), "rev")
    await shared.node("addMessage", {**_node_message(1), "message": half})
    await shared.store.chat.add_message(message(2, message=other))
    assert [one["message"] for one in await shared.node("getMessages", _ID)] == [half, other]
    assert [one.message for one in await shared.store.chat.get_messages(_ID)] == [half, other]


@pytest.mark.parametrize("node_first", [True, False], ids=["Node first", "Python first"])
async def test_the_last_user_is_removed(shared: Shared, *, node_first: bool) -> None:
    """When one app removes the last user of the other's room, the database is empty."""
    if node_first:
        await shared.node("createRoom", _node_room("ada"))
        await shared.node("addMessage", _node_message(1))
    else:
        await shared.store.rooms.create_room(room(_ID, "ada"))
        await shared.store.chat.add_message(message(1))
    await shared.assert_all_expire(f"room:{_ID}", f"chat:{_ID}", "active-rooms")
    if node_first:
        assert await shared.store.rooms.remove_user_from_room(_ID, "ada") is None
    else:
        assert await shared.node("removeUser", _ID, "ada") is None
    assert await shared.node("getRoom", _ID) is None
    assert await shared.redis.keys() == []


@pytest.mark.parametrize("name", node_records("room"))
async def test_a_record_of_node_is_kept(shared: Shared, name: str) -> None:
    """A record of Node is deep-equal in Node after Python stores it or joins the room, except for users and rev."""
    record = node_record(name)
    created = from_wire(Room, record, key=name)
    key = f"room:{created.id}"
    await shared.store.rooms.create_room(created)
    assert await shared.node("holds", key, record.decode(), "rev")
    await shared.node("plainSet", key, record.decode())
    await shared.store.rooms.add_user_to_room(created.id, user("guest"))
    assert await shared.node("holds", key, record.decode(), "users", "rev")
    assert parsed(await shared.redis.get(key))["users"][:-1] == parsed(record)["users"]


@pytest.mark.parametrize("name", node_records("message"))
async def test_a_message_of_node_is_kept(shared: Shared, name: str) -> None:
    """A message record of Node that Python adds is deep-equal in Node."""
    record = node_record(name)
    await shared.store.chat.add_message(from_wire(ChatMessage, record, key=name))
    assert await shared.node("endsWith", f"chat:{_ID}", record.decode())


@pytest.mark.parametrize("node_first", [True, False], ids=["Node first", "Python first"])
async def test_hits_are_counted_together(shared: Shared, *, node_first: bool) -> None:
    """Hits by Node's script and by Python's on one key share one count and one window."""

    async def node() -> int:
        return await shared.node("hit", "1.2.3.4", 60_000)

    async def python() -> int:
        decision = await shared.store.rate_limits.hit("1.2.3.4")
        return decision.limit - decision.remaining

    calls = [node, python] if node_first else [python, node]
    assert [await call() for call in calls * 3] == [1, 2, 3, 4, 5, 6]
    assert 0 < await shared.redis.pttl("rl:1.2.3.4") <= 60_000
    assert (await shared.store.rate_limits.peek("1.2.3.4")).remaining == 354
