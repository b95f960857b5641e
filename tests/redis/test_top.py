"""`wnc-store top`: what it counts, what it projects, and what it never shows."""

from __future__ import annotations

import asyncio
import io
import json
import signal
import time
from collections.abc import AsyncIterator
from contextlib import ExitStack
from types import SimpleNamespace
from typing import Any

import pytest
from redis.asyncio import Redis
from rich.console import Console
from typer.testing import Result

from acl import permit
from command_line import wnc_store
from processes import SECONDS, WNC_STORE, start
from redis_server import RedisServer, redis_server
from wnc_store import ServerOperation, StoreUnavailableError, SupportsServerActivity
from wnc_store.cli import output, top
from wnc_store.cli.top import Sampler, TopSample
from wnc_store_contract.factories import message, room
from wnc_store_memory import MemoryStore
from wnc_store_redis import RedisStore

SECRET = "SECRET-9f1c"
NOW = 1_767_225_600
"""Seconds."""


@pytest.fixture(autouse=True)
def _time_stands_still(monkeypatch: pytest.MonkeyPatch) -> None:
    """The messages of the last minute are the same ones however long a test takes."""
    monkeypatch.setattr(top, "time", SimpleNamespace(time=lambda: NOW, monotonic=time.monotonic))


@pytest.fixture(scope="module", name="server")
def _server() -> Any:
    """A server that remembers each command as a slow one."""
    with redis_server("--slowlog-log-slower-than", "0") as server:
        yield server


@pytest.fixture
async def redis(server: RedisServer) -> AsyncIterator[RedisStore]:
    """A store on that server, with ten rooms of two users, of which one is a little livelier than the others."""
    plain: Any = Redis.from_url(server.url)  # pyright: ignore[reportUnknownMemberType]
    async with plain, RedisStore.from_url(server.url) as store:
        await plain.flushall()
        await plain.slowlog_reset()
        for number in range(10):
            await store.rooms.create_room(room(f"room-{number}", "host", "guest", host_token=SECRET, host_name="Ada"))
        for number in range(12):
            await store.chat.add_message(_just_now(number))
        yield store


def _just_now(number: int, room_id: str = "room-7", age_seconds: float = 5) -> Any:
    return message(number, room_id, message=SECRET, timestamp=(NOW - age_seconds) * 1000)


async def _top(*arguments: str, code: int = 0) -> Result:
    return await asyncio.to_thread(wnc_store, "top", *arguments, code=code)


async def test_it_counts(redis: RedisStore, server: RedisServer) -> None:
    """One look tells the rooms, their users and the messages a second, and the busiest rooms first."""
    assert redis
    shown = (await _top(server.url, "--once")).stdout
    assert "10 rooms, 20 users, 0.2 messages/s" in shown
    assert "a sample" not in shown
    rows = [line for line in shown.splitlines() if "room-" in line]
    assert len(rows) == 10
    assert "room-7" in rows[0]
    assert "Ada" in rows[0]


async def test_json_for_scripts(redis: RedisStore, server: RedisServer) -> None:
    """With --json it is one line, whose numbers are those of the table."""
    assert redis
    (line,) = (await _top(server.url, "--once", "--json")).stdout.splitlines()
    seen = json.loads(line)
    assert (seen["rooms"], seen["sampled"], seen["projected"]) == (10, 10, False)
    assert (seen["users"], seen["messagesPerSecond"], seen["unreadable"]) == (20, 0.2, 0)
    assert seen["busiest"][0] == {"id": "room-7", "users": 2, "messagesPerSecond": 0.2}
    assert "evalsha" in {one["name"] for one in seen["operations"]}
    assert seen["seconds"] is None
    assert seen["unavailable"] == []


async def test_a_sample_says_so(redis: RedisStore, server: RedisServer) -> None:
    """Of more rooms than are looked at, the totals are projected, and marked as such."""
    assert redis
    shown = (await _top(server.url, "--once", "--sample", "4")).stdout
    assert "about 10 rooms, about 20 users, about " in shown
    assert "a sample: 4 rooms were looked at" in shown
    seen = json.loads((await _top(server.url, "--once", "--sample", "4", "--json")).stdout)
    assert (seen["rooms"], seen["sampled"], seen["projected"], seen["users"]) == (10, 4, True, 20)


async def test_a_projection(redis: RedisStore, server: RedisServer) -> None:
    """Users and messages of a sample are projected on all rooms that the index lists."""
    for number in range(10):
        await redis.chat.clear_messages(f"room-{number}")
        for one in range(6):
            await redis.chat.add_message(_just_now(one, f"room-{number}"))
    for sample in ("2", "5", "10"):
        seen = json.loads((await _top(server.url, "--once", "--sample", sample, "--json")).stdout)
        assert (seen["users"], seen["messagesPerSecond"]) == (20, 1.0)


async def test_a_look_reads_no_more_than_the_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many rooms there are, a look lists one id more than the sample, and reads as many rooms as the sample."""
    async with MemoryStore() as store:
        for number in range(100):
            await store.rooms.create_room(room(f"r{number}"))
        listed, read = 0, 0
        listing, reading = store.rooms.active_room_ids, store.rooms.get_room

        async def counting_list() -> AsyncIterator[str]:
            nonlocal listed
            async for room_id in listing():
                listed += 1
                yield room_id

        async def counting_read(room_id: str) -> Any:
            nonlocal read
            read += 1
            return await reading(room_id)

        monkeypatch.setattr(store.rooms, "active_room_ids", counting_list)
        monkeypatch.setattr(store.rooms, "get_room", counting_read)
        glance = await Sampler(store, 30).sample()
    assert (listed, read) == (31, 30)
    assert (glance.sampled, glance.rooms, glance.users) == (30, None, 30)
    assert not glance.whole


async def test_a_backend_without_a_server() -> None:
    """Where there is no server to ask, the operations are n/a, and of too many rooms there is no total."""
    async with MemoryStore() as store:
        assert not isinstance(store, SupportsServerActivity)
        for number in range(3):
            await store.rooms.create_room(room(f"r{number}"))
        output.out.print(top._render("MemoryStore", await Sampler(store, 2).sample()))
        with output.out.capture() as printed:
            output.out.print(top._render("MemoryStore", await Sampler(store, 2).sample()))
    assert "more than 2 rooms, about 2 users in those looked at" in printed.get()
    assert "operations: n/a" in printed.get()


async def test_what_can_not_be_read_is_counted(redis: RedisStore, server: RedisServer) -> None:
    """A corrupt room is counted as such and hides no other."""
    plain: Any = Redis.from_url(server.url)  # pyright: ignore[reportUnknownMemberType]
    async with plain:
        await plain.set("room:room-3", SECRET)
    assert redis
    shown = (await _top(server.url, "--once")).stdout
    assert "1 room can't be read" in shown
    assert "10 rooms, 18 users" in shown


def test_the_rate_is_of_the_last_minute() -> None:
    """Messages of the last minute count, by their own times; of a livelier chat, the time since its oldest kept one."""
    now = 1_000_000_000
    messages = [
        message(number, timestamp=now - age) for number, age in enumerate((90_000, 59_000, 1, 0, -1, float("nan")))
    ]
    assert top._rate(messages, now, 20) == pytest.approx(3 / 60)
    full = [message(number, timestamp=now - 100 * number) for number in range(20, 0, -1)]
    assert top._rate(full, now, 20) == pytest.approx(20 / 2)
    assert top._rate(full, now, 21) == pytest.approx(20 / 60)
    assert top._rate([], now, 20) == 0


async def test_operations_since_the_last_look(redis: RedisStore) -> None:
    """From the second look on, what the server did since the first is told, and how long that is."""
    watcher = Sampler(redis, 200)
    first = await watcher.sample()
    for _ in range(7):
        await redis.connections.acquire("client", "one")
    second = await watcher.sample()
    for glance, seconds in ((first, False), (second, True)):
        assert (glance.seconds is not None) is seconds
        assert glance.activity is not None
    assert second.activity is not None
    calls = {one.name: one.calls for one in second.activity.operations}
    assert calls["evalsha"] + calls.get("eval", 0) in (7, 8)  # one more if the server did not know the script
    assert "set" not in calls


def test_a_server_that_began_anew() -> None:
    """A count that fell is taken as a new one."""
    before, now = ServerOperation("get", 100, 5), ServerOperation("get", 3, 0.5)
    assert top._since(before, now) == now
    assert top._since(now, before) == ServerOperation("get", 97, 4.5)
    assert top._since(None, now) == now


async def test_the_slow_log_tells_names_only(redis: RedisStore, server: RedisServer) -> None:
    """Slow commands are told by their names, our scripts by theirs; nothing of what they were called with is."""
    plain: Any = Redis.from_url(server.url)  # pyright: ignore[reportUnknownMemberType]
    async with plain:
        begun, _ = await plain.time()
        await redis.chat.add_message(_just_now(99))
        ended, _ = await plain.time()
    activity = await redis.activity()
    latest = next(one for one in activity.slow if one.name in {"script append", "rpush"})
    assert begun <= latest.at.timestamp() <= ended
    assert all(one.seconds >= 0 for one in activity.slow)
    told = (
        repr(activity) + (await _top(server.url, "--once")).stdout + (await _top(server.url, "--once", "--json")).stdout
    )
    assert "script append" in told
    assert SECRET not in told


async def test_foreign_commands_in_the_slow_log(redis: RedisStore, server: RedisServer) -> None:
    """What another client sends in place of a command is not shown."""
    plain: Any = Redis.from_url(server.url)  # pyright: ignore[reportUnknownMemberType]
    async with plain:
        await plain.slowlog_reset()
        await plain.execute_command("EVAL", f"return '{SECRET}'", "0")
        await plain.execute_command("OBJECT", "HELP")
    names = {one.name for one in (await redis.activity()).slow}
    assert {"eval", "object"} <= names
    assert not any(SECRET in name for name in names)


async def test_a_user_who_may_not_ask(redis: RedisStore, server: RedisServer) -> None:
    """As the documented user, all is told but what the server keeps to itself, with what to grant."""
    assert redis
    shown = (await _top(permit(server), "--once")).stdout
    assert "10 rooms, 20 users" in shown
    for permission in ("+scard", "+info", "+slowlog|get"):
        assert f"grant it {permission}" in shown
    granted = permit(server, "", "+scard", "+info", "+slowlog|get")
    seen = json.loads((await _top(granted, "--once", "--sample", "4", "--json")).stdout)
    assert (seen["rooms"], seen["unavailable"]) == (10, [])


async def test_no_server() -> None:
    """Where no server answers the first look, the exit code is 3."""
    with redis_server() as server:
        pass
    assert str(server.port) in (await _top(server.url, code=3)).stderr


async def test_a_server_that_goes_away() -> None:
    """A server that goes away after the first look is told, and looked for again."""
    with ExitStack() as running:
        server = running.enter_context(redis_server())
        async with RedisStore.from_url(server.url) as store:
            glances = top._samples(Sampler(store, 200), 0.01)
            assert isinstance(await anext(glances), TopSample)
            running.close()
            gone = await anext(glances)
            assert isinstance(gone, StoreUnavailableError)
            with redis_server(port=server.port):
                while not isinstance(await anext(glances), TopSample):
                    pass
    with output.out.capture() as printed:
        output.out.print(top._render("RedisStore", gone))
    assert "no answer, trying again" in printed.get()


async def test_lines_until_it_is_stopped(redis: RedisStore, server: RedisServer) -> None:
    """With --json it tells a line for each look until it is interrupted, which is no failure."""
    assert redis
    with start(*WNC_STORE, "top", server.url, "--json", "--interval", "0.1") as running:
        assert running.stdout is not None
        seen = [json.loads(await asyncio.to_thread(running.stdout.readline)) for _ in range(3)]
        running.send_signal(signal.SIGINT)
        _, told = running.communicate(timeout=SECONDS)
    assert (running.returncode, told) == (0, "")
    assert [one["rooms"] for one in seen] == [10, 10, 10]
    assert seen[2]["seconds"] > 0


@pytest.mark.parametrize("terminal", [True, False])
async def test_the_live_table(
    redis: RedisStore, server: RedisServer, monkeypatch: pytest.MonkeyPatch, *, terminal: bool
) -> None:
    """The table is drawn again at each look: in place on a terminal, one after the other elsewhere."""
    assert redis
    looks = 0
    look = Sampler.sample

    async def two_looks(self: Sampler) -> TopSample:
        nonlocal looks
        looks += 1
        if looks == 3:
            raise KeyboardInterrupt
        return await look(self)

    monkeypatch.setattr(Sampler, "sample", two_looks)
    recorded = Console(file=io.StringIO(), record=True, force_terminal=terminal, width=200, height=60, highlight=False)
    monkeypatch.setattr(top, "out", recorded)
    await _top(server.url, "--interval", "0.1")
    assert looks == 3
    assert recorded.export_text().count("10 rooms, 20 users") == 2
