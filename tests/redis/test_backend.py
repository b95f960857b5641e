"""What the contract does not ask of every backend, on a real server."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import sys
from datetime import timedelta
from typing import Any, cast

import pytest

from wnc_store import (
    ConflictError,
    CorruptRecordError,
    Room,
    StoreSettings,
)
from wnc_store_contract.redis import RedisHarness
from wnc_store_contract.samples import message, room, user
from wnc_store_redis import RedisStore
from wnc_store_redis._commands import Sent
from wnc_store_redis._scripts import COMMIT

SECRET = "SECRET-9f1c"


async def counts(client: Any, *commands: str) -> dict[str, int]:
    """Return how often the server has run commands."""
    stats = await client.info("commandstats")
    return {name: stats.get(f"cmdstat_{name}", {"calls": 0})["calls"] for name in commands}


async def test_the_keys_are_those_of_the_node_app(store: RedisStore, client: Any) -> None:
    """Rooms, chats and the index are under the original's names, each with a TTL of at most 24 hours."""
    await store.rooms.create_room(room("A"))
    await store.chat.add_message(message(1, "A"))
    assert sorted(await client.keys("*")) == [b"active-rooms", b"chat:A", b"room:A"]
    assert [await client.type(key) for key in ("active-rooms", "chat:A", "room:A")] == [b"set", b"list", b"string"]
    ttls = [await client.pttl(key) for key in ("active-rooms", "chat:A", "room:A")]
    assert all(86_390_000 < ttl <= 86_400_000 for ttl in ttls)


async def test_the_prefix_goes_before_every_key(url: str, client: Any) -> None:
    """Two prefixes share one database without seeing one another, also in listing and sweeping."""
    app, app2 = (RedisStore.from_url(url, StoreSettings(key_prefix=name)) for name in ("app:", "app2:"))
    async with app, app2:
        await app.rooms.create_room(room("A"))
        await app.chat.add_message(message(1, "A"))
        assert sorted(await client.keys("*")) == [b"app:active-rooms", b"app:chat:A", b"app:room:A"]
        assert [one async for one in app2.rooms.active_room_ids()] == []
        await client.delete("app:room:A")
        assert await app2.rooms.sweep_active_rooms() == 0
        assert await app.rooms.sweep_active_rooms() == 1


async def test_the_index_outlives_a_shorter_room(url: str, store: RedisStore, client: Any) -> None:
    """A room of a short TTL does not shorten the life of the index that longer rooms are in."""
    await store.rooms.create_room(room("long"))
    settings = StoreSettings(room_ttl=timedelta(minutes=1))
    async with RedisStore.from_url(url, settings) as brief:
        await brief.rooms.create_room(room("short"))
    assert await client.pttl("active-rooms") > 86_000_000


async def test_forgotten_scripts_are_loaded_again(store: RedisStore, client: Any) -> None:
    """After SCRIPT FLUSH every operation works as before."""
    await store.rooms.create_room(room("A"))
    await client.script_flush()
    await store.rooms.add_user_to_room("A", user("guest"))
    await client.script_flush()
    await store.chat.add_message(message(1, "A"))
    await client.script_flush()
    assert await store.rooms.sweep_active_rooms() == 0
    await client.script_flush()
    assert await store.rooms.delete_room("A") is True
    assert await client.keys("*") == []


async def test_a_change_by_another_writer_is_noticed(store: RedisStore, client: Any) -> None:
    """When Node wrote since the room was last seen here, the change is made again on what Node wrote."""
    await store.rooms.create_room(room("A"))
    seen: list[str] = []

    def change(found: Room) -> Room:
        seen.append(found.host_name)
        return found.model_copy(update={"video_url": "https://video.example/1"})

    data = cast("bytes", await client.get("room:A"))
    await client.set("room:A", data.replace(b"Name of host", b"Renamed by Node"))
    after = await store.rooms.edit_room("A", change)
    assert seen == ["Name of host", "Renamed by Node"]
    assert (after.host_name, after.video_url) == ("Renamed by Node", "https://video.example/1")


async def test_endless_conflicts_end(store: RedisStore, client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A room that others change before every commit is a ConflictError when operation_timeout is over, not written."""
    monkeypatch.setattr("wnc_store_redis._group_commit._GRACE", 60)  # the last attempt may take as long as it likes
    await store.rooms.create_room(room("A"))
    path: Any = cast("Any", store.rooms)._path
    deadline, send = path.deadline, path._send

    async def be_overtaken(commit: Any) -> Any:
        await client.append("room:A", " ")
        return await send(dataclasses.replace(commit, deadline=deadline())).reply

    def send_late(commit: Any) -> Any:
        reply = asyncio.ensure_future(be_overtaken(commit))
        return Sent(COMMIT, [b"room:A"], commit.arguments, commit.deadline, reply)

    monkeypatch.setattr(path, "deadline", lambda: asyncio.get_running_loop().time() + 0.1)
    monkeypatch.setattr(path, "_send", send_late)
    with pytest.raises(ConflictError, match="attempts"):
        await store.rooms.add_user_to_room("A", user("guest"))
    assert b"guest" not in await client.get("room:A")


@pytest.mark.parametrize("key", ["room:A", "active-rooms", "chat:A"])
async def test_keys_of_another_type_are_corrupt(store: RedisStore, client: Any, key: str) -> None:
    """A key of another type is a CorruptRecordError before anything is written."""
    other = {"room:A": client.rpush, "active-rooms": client.rpush, "chat:A": client.sadd}[key]
    await other(key, "x")
    with pytest.raises(CorruptRecordError):
        await (store.chat.add_message(message(1, "A")) if key == "chat:A" else store.rooms.create_room(room("A")))
    assert await client.keys("*") == [key.encode()]


async def test_a_corrupt_message_is_logged_once(
    store: RedisStore, client: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """A chat entry that can't be read is logged once, with its key and without its text."""
    await client.rpush("chat:A", f'{{"message":"{SECRET}"')
    with caplog.at_level(logging.WARNING, logger="wnc_store"):
        for _ in range(3):
            assert await store.chat.get_messages("A") == []
    assert len(caplog.records) == 1
    assert "chat:A" in caplog.text
    assert SECRET not in caplog.text


async def test_foreign_index_entries_are_not_listed(store: RedisStore, client: Any) -> None:
    """Index entries that are no ids, even no UTF-8, are never listed, and swept if no such room lives."""
    await client.sadd("active-rooms", b"\xff", "a b", "")
    await client.set("room:a b", "x")
    await store.rooms.create_room(room("A"))
    assert [one async for one in store.rooms.active_room_ids()] == ["A"]
    assert await store.rooms.sweep_active_rooms() == 2
    assert await client.smismember("active-rooms", ["a b", "A"]) == [1, 1]


async def test_a_rate_limit_is_one_round_trip(store: RedisStore, client: Any) -> None:
    """A hit is one script, and its key holds an integer that expires with the window."""
    await store.rate_limits.hit("ip")
    before = await counts(client, "evalsha", "get")
    await store.rate_limits.hit("ip")
    after = await counts(client, "evalsha", "get")
    assert {name: after[name] - before[name] for name in after} == {"evalsha": 1, "get": 1}
    assert await client.get("rl:ip") == b"2"
    assert 59_000 < await client.pttl("rl:ip") <= 60_000


async def test_a_peek_is_one_step(store: RedisStore, client: Any) -> None:
    """A peek is one script, which reads the count together with its end: they are never those of two windows."""
    await store.rate_limits.peek("ip")
    before = await counts(client, "evalsha", "get", "pttl")
    await store.rate_limits.peek("ip")
    after = await counts(client, "evalsha", "get", "pttl")
    assert {name: after[name] - before[name] for name in after} == {"evalsha": 1, "get": 1, "pttl": 1}


async def test_a_key_of_another_type_is_no_guard(store: RedisStore, client: Any) -> None:
    """Where a guard's key holds another type, every method is a CorruptRecordError, and the key is left alone."""
    await client.rpush("rl:ip", "x")
    await client.rpush("connections:ip", "x")
    for call in (store.rate_limits.hit, store.rate_limits.peek, store.connections.count):
        with pytest.raises(CorruptRecordError):
            await call("ip")
    for lease in (store.connections.acquire, store.connections.release):
        with pytest.raises(CorruptRecordError):
            await lease("ip", "c1")
    assert await client.lrange("rl:ip", 0, -1) == await client.lrange("connections:ip", 0, -1) == [b"x"]


LEASES = """
import asyncio, os, sys
from wnc_store import StoreSettings, open_store

async def main():
    store = open_store(sys.argv[1], settings=StoreSettings(connection_ttl=1))
    for number in range(50):
        await store.connections.acquire("ip", f"c{number}")
    print("acquired", flush=True)
    await asyncio.sleep(60)

asyncio.run(main())
"""


async def test_a_killed_process_leaks_nothing(url: str, store: RedisStore) -> None:
    """When a process with 50 leases is killed, the count is 0 after connection_ttl, by the server's own clock."""
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", LEASES, url, stdout=asyncio.subprocess.PIPE)
    assert process.stdout is not None
    assert await process.stdout.readline() == b"acquired\n"
    process.kill()
    await process.wait()
    held = [await store.connections.count("ip")]
    async with asyncio.timeout(5):
        while held[-1]:
            await asyncio.sleep(0.02)
            held.append(await store.connections.count("ip"))
    assert held[0] > 0
    assert held[-1] == 0


async def test_a_far_end_is_no_error(store: RedisStore, client: Any) -> None:
    """A key that another writer lets live for millions of years has a TTL, of as much as Python can say."""
    await store.rooms.create_room(room("A"))
    await client.pexpireat("room:A", 9_000_000_000_000_000_000)
    assert await store.rooms.room_ttl("A") == timedelta.max
    assert await store.rooms.room_exists("A") is True


async def test_the_harness_touches_only_its_own_keys(url: str, client: Any) -> None:
    """The contract's harness leaves other people's keys and their TTLs alone."""
    await client.set("room:foreign", "x", ex=100)
    harness = RedisHarness(url)
    async with harness.open_store() as mine:
        await mine.rooms.create_room(room("A"))
        await harness.advance(1000)
    await harness.aclose()
    assert await client.keys("*") == [b"room:foreign"]
    assert await client.ttl("room:foreign") > 90
