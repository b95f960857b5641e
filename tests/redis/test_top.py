"""The command `wnc-store top`."""

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
from unittest.mock import Mock

import pytest
from rich.console import Console
from typer.testing import Result

from acl import permit
from chaos.server import admin
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


pytestmark = pytest.mark.usefixtures("redis")


@pytest.fixture(autouse=True)
def _fixed_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """The wall clock does not move, so that the message rates do not depend on the duration of a test."""
    monkeypatch.setattr(top, "time", SimpleNamespace(time=lambda: NOW, monotonic=time.monotonic))


@pytest.fixture(scope="module", name="server")
def _server() -> Any:
    """A server whose slow log records every command."""
    with redis_server("--slowlog-log-slower-than", "0") as server:
        yield server


@pytest.fixture
async def redis(server: RedisServer) -> AsyncIterator[RedisStore]:
    """A store on that server with ten rooms of two users; only room-7 has messages."""
    async with admin(server.url) as plain, RedisStore.from_url(server.url) as store:
        await plain.flushall()
        await plain.slowlog_reset()
        for number in range(10):
            await store.rooms.create_room(room(f"room-{number}", "host", "guest", host_token=SECRET, host_name="Ada"))
        for number in range(12):
            await store.chat.add_message(_recent_message(number))
        yield store


def _recent_message(number: int, room_id: str = "room-7", age_seconds: float = 5) -> Any:
    return message(number, room_id, message=SECRET, timestamp=(NOW - age_seconds) * 1000)


async def _top(*arguments: str, code: int = 0) -> Result:
    return await asyncio.to_thread(wnc_store, "top", *arguments, code=code)


async def test_top_prints_totals(server: RedisServer) -> None:
    """A sample prints the numbers of rooms, users and messages per second, and the busiest rooms first."""
    shown = (await _top(server.url, "--once")).stdout
    assert "10 rooms, 20 users, 0.2 messages/s" in shown
    assert "sampled" not in shown
    rows = [line for line in shown.splitlines() if "room-" in line]
    assert len(rows) == 10
    assert "room-7" in rows[0]
    assert "Ada" in rows[0]


async def test_json_for_scripts(server: RedisServer) -> None:
    """With --json a sample is one line with the numbers of the table."""
    (line,) = (await _top(server.url, "--once", "--json")).stdout.splitlines()
    sample = json.loads(line)
    assert (sample["rooms"], sample["sampled"], sample["projected"]) == (10, 10, False)
    assert (sample["users"], sample["messagesPerSecond"], sample["unreadable"]) == (20, 0.2, 0)
    assert sample["busiest"][0] == {"id": "room-7", "users": 2, "messagesPerSecond": 0.2}
    assert "evalsha" in {operation["name"] for operation in sample["operations"]}
    assert sample["seconds"] is None
    assert sample["unavailable"] == []


async def test_projected_totals_are_marked(server: RedisServer) -> None:
    """If there are more rooms than are sampled, the totals are projected and marked with "about"."""
    shown = (await _top(server.url, "--once", "--sample", "4")).stdout
    assert "about 10 rooms, about 20 users, about " in shown
    assert "sampled 4 rooms" in shown
    sample = json.loads((await _top(server.url, "--once", "--sample", "4", "--json")).stdout)
    assert (sample["rooms"], sample["sampled"], sample["projected"], sample["users"]) == (10, 4, True, 20)


async def test_a_projection(redis: RedisStore, server: RedisServer) -> None:
    """Users and message rates of the sampled rooms are projected to all rooms in the index."""
    for number in range(10):
        await redis.chat.clear_messages(f"room-{number}")
        for message_number in range(6):
            await redis.chat.add_message(_recent_message(message_number, f"room-{number}"))
    for size in ("2", "5", "10"):
        sample = json.loads((await _top(server.url, "--once", "--sample", size, "--json")).stdout)
        assert (sample["users"], sample["messagesPerSecond"]) == (20, 1.0)


async def test_a_sample_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A sample of n rooms lists at most n + 1 ids and reads at most n rooms."""
    async with MemoryStore() as store:
        for number in range(100):
            await store.rooms.create_room(room(f"r{number}"))
        active_room_ids, listed = store.rooms.active_room_ids, list[str]()

        async def record_ids() -> AsyncIterator[str]:
            async for room_id in active_room_ids():
                listed.append(room_id)
                yield room_id

        get_rooms = Mock(wraps=store.rooms.get_rooms)
        monkeypatch.setattr(store.rooms, "active_room_ids", record_ids)
        monkeypatch.setattr(store.rooms, "get_rooms", get_rooms)
        sample = await Sampler(store, 30).sample()
    read = [room_id for call in get_rooms.call_args_list for room_id in call.args[0]]
    assert (len(listed), len(read)) == (31, 30)
    assert (sample.sampled, sample.rooms, sample.users) == (30, None, 30)
    assert not sample.complete


async def test_a_backend_without_a_server() -> None:
    """Without a server, operations are not available, and the total is unknown if there are more rooms than sampled."""
    async with MemoryStore() as store:
        assert not isinstance(store, SupportsServerActivity)
        for number in range(3):
            await store.rooms.create_room(room(f"r{number}"))
        output.out.print(top._render("MemoryStore", await Sampler(store, 2).sample()))
        with output.out.capture() as printed:
            output.out.print(top._render("MemoryStore", await Sampler(store, 2).sample()))
    assert "more than 2 rooms, about 2 users in the sampled rooms" in printed.get()
    assert "operations: not available" in printed.get()


async def test_unreadable_rooms_are_counted(server: RedisServer) -> None:
    """A corrupt room is counted as unreadable, and the other rooms are sampled."""
    async with admin(server.url) as plain:
        await plain.set("room:room-3", SECRET)
    shown = (await _top(server.url, "--once")).stdout
    assert "1 unreadable room" in shown
    assert "10 rooms, 18 users" in shown


def test_the_message_rate_covers_the_last_minute() -> None:
    """The rate covers the last minute by the timestamps, or the time since the oldest message of a full history."""
    now = 1_000_000_000
    messages = [
        message(number, timestamp=now - age) for number, age in enumerate((90_000, 59_000, 1, 0, -1, float("nan")))
    ]
    assert top._message_rate(messages, now, 20) == pytest.approx(3 / 60)
    full = [message(number, timestamp=now - 100 * number) for number in range(20, 0, -1)]
    assert top._message_rate(full, now, 20) == pytest.approx(20 / 2)
    assert top._message_rate(full, now, 21) == pytest.approx(20 / 60)
    assert top._message_rate([], now, 20) == 0


async def test_operations_since_the_previous_sample(redis: RedisStore) -> None:
    """From the second sample on, the operations are those since the previous sample, with the elapsed seconds."""
    sampler = Sampler(redis, 200)
    first = await sampler.sample()
    for _ in range(7):
        await redis.connections.acquire("client", "one")
    second = await sampler.sample()
    assert first.seconds is None
    assert first.activity is not None
    assert second.seconds is not None
    assert second.activity is not None
    calls = {operation.name: operation.calls for operation in second.activity.operations}
    assert calls["evalsha"] + calls.get("eval", 0) in (7, 8)  # one more if the server did not know the script
    assert "set" not in calls


async def test_own_operations_are_left_out(redis: RedisStore, server: RedisServer) -> None:
    """The samples contain neither the operations of the sampler itself nor its entries of the slow log."""
    async with admin(server.url) as plain, RedisStore.from_url(server.url) as own:
        await plain.config_resetstat()
        await plain.slowlog_reset()
        sampler = Sampler(own, 200)
        samples = [await sampler.sample() for _ in range(3)]
        await redis.rooms.get_room("room-1")
        samples.append(await sampler.sample())
    activities = [sample.activity for sample in samples if sample.activity is not None]
    operations = [{one.name: one.calls for one in activity.operations} for activity in activities]
    assert operations[0] == {"config|resetstat": 1, "slowlog|reset": 1}
    assert operations[1:] == [{}, {}, {"get": 1}]
    names = {entry.name for activity in activities for entry in activity.slow}
    assert names == {"slowlog", "get"}  # the reset of the log, and the read


async def test_the_mean_of_an_operation_is_kept(redis: RedisStore) -> None:
    """Subtracting the calls of `top` from an operation's calls does not change the mean duration of the operation."""
    reader = redis._activity
    reader._own["get"], reader._own["info"] = 3, 5
    (operation,) = reader._others("cmdstat_get:calls=4,usec=400,x=1\ncmdstat_info:calls=5,usec=10,x=1\n")
    assert (operation.name, operation.calls, operation.seconds) == ("get", 1, pytest.approx(100e-6))


async def test_an_empty_store(server: RedisServer) -> None:
    """Without rooms the output has a sentence instead of an empty table."""
    async with admin(server.url) as plain:
        await plain.flushall()
    shown = (await _top("--url", server.url, "--once")).stdout
    assert "No rooms." in shown
    assert "busiest" not in shown


def test_a_restarted_server() -> None:
    """A count that is lower than before is the count since a restart."""
    before, now = ServerOperation("get", 100, 5), ServerOperation("get", 3, 0.5)
    assert top._subtract(now, before) == now
    assert top._subtract(before, now) == ServerOperation("get", 97, 4.5)
    assert top._subtract(now, None) == now


async def test_the_slow_log_contains_only_names(redis: RedisStore, server: RedisServer) -> None:
    """Slow log entries name the command or our script, and never contain arguments."""
    async with admin(server.url) as plain:
        started, _ = await plain.time()
        await redis.chat.add_message(_recent_message(99))
        ended, _ = await plain.time()
    activity = await redis.activity()
    latest = next(entry for entry in activity.slow if entry.name in {"script append", "rpush"})
    assert started <= latest.at.timestamp() <= ended
    assert all(entry.seconds >= 0 for entry in activity.slow)
    text, lines = (await _top(server.url, "--once")).stdout, (await _top(server.url, "--once", "--json")).stdout
    assert "script append" in {entry.name for entry in activity.slow}
    assert SECRET not in f"{activity!r}{text}{lines}"


async def test_commands_of_other_clients_in_the_slow_log(redis: RedisStore, server: RedisServer) -> None:
    """Slow log entries of other clients contain no arguments either."""
    async with admin(server.url) as plain:
        await plain.slowlog_reset()
        await plain.execute_command("EVAL", f"return '{SECRET}'", "0")
        await plain.execute_command("OBJECT", "HELP")
    names = {entry.name for entry in (await redis.activity()).slow}
    assert {"eval", "object"} <= names
    assert not any(SECRET in name for name in names)


async def test_a_redis_user_without_permissions(server: RedisServer) -> None:
    """With the documented Redis user, the output names the missing permissions and shows everything else."""
    shown = (await _top(permit(server), "--once")).stdout
    assert "10 rooms, 20 users" in shown
    for permission in ("+scard", "+info", "+slowlog|get"):
        assert f"grant it {permission}" in shown
    granted = permit(server, "", "+scard", "+info", "+slowlog|get")
    sample = json.loads((await _top(granted, "--once", "--sample", "4", "--json")).stdout)
    assert (sample["rooms"], sample["unavailable"]) == (10, [])


async def test_a_server_that_stops() -> None:
    """If the server stops after the first sample, `top` reports that and retries until it is back."""
    with ExitStack() as running:
        server = running.enter_context(redis_server())
        async with RedisStore.from_url(server.url) as store:
            samples = top._samples(Sampler(store, 200), 0.01)
            assert isinstance(await anext(samples), TopSample)
            running.close()
            error = await anext(samples)
            assert isinstance(error, StoreUnavailableError)
            with redis_server(port=server.port):
                while not isinstance(await anext(samples), TopSample):
                    pass
    with output.out.capture() as printed:
        output.out.print(top._render("RedisStore", error))
    assert "no reply, retrying" in printed.get()


async def test_json_lines_until_ctrl_c(server: RedisServer) -> None:
    """With --json it prints one line per sample until Ctrl-C, which exits 0."""
    with start(*WNC_STORE, "top", server.url, "--json", "--interval", "0.1") as process:
        assert process.stdout is not None
        samples = [json.loads(await asyncio.to_thread(process.stdout.readline)) for _ in range(3)]
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate(timeout=SECONDS)
    assert (process.returncode, stderr) == (0, "")
    assert [sample["rooms"] for sample in samples] == [10, 10, 10]
    assert samples[2]["seconds"] > 0


@pytest.mark.parametrize("terminal", [True, False])
async def test_the_live_table(server: RedisServer, monkeypatch: pytest.MonkeyPatch, *, terminal: bool) -> None:
    """Each sample replaces the table on a terminal, and is printed below the previous one elsewhere."""
    calls = 0
    take_sample = Sampler.sample

    async def interrupt_third(self: Sampler) -> TopSample:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise KeyboardInterrupt
        return await take_sample(self)

    monkeypatch.setattr(Sampler, "sample", interrupt_third)
    recorded = Console(file=io.StringIO(), record=True, force_terminal=terminal, width=200, height=60, highlight=False)
    monkeypatch.setattr(top, "out", recorded)
    await _top(server.url, "--interval", "0.1")
    assert calls == 3
    assert recorded.export_text().count("10 rooms, 20 users") == 2
