"""The Redis backend: what the contract does not ask of every backend, on a real server."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import socket
import sys
import time
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any, cast

import pytest
from redis import Redis as SyncRedis
from redis import RedisCluster as SyncCluster
from redis.asyncio import Redis

from redis_server import RedisServer
from wnc_store import (
    ConfigurationError,
    ConflictError,
    CorruptRecordError,
    OutcomeUnknownError,
    Room,
    StoreClosedError,
    StoreError,
    StoreSettings,
    StoreTimeoutError,
    StoreUnavailableError,
    open_store,
)
from wnc_store_contract.redis import RedisHarness
from wnc_store_contract.samples import message, room, user
from wnc_store_redis import RedisStore
from wnc_store_redis._commands import Sent
from wnc_store_redis._scripts import COMMIT

SECRET = "SECRET-9f1c"


@pytest.fixture
async def client(redis_server: RedisServer) -> AsyncIterator[Any]:
    """A plain client of database 2, which is emptied."""
    plain: Any = Redis.from_url(redis_server.url.replace("/0", "/2"))  # pyright: ignore[reportUnknownMemberType]
    async with plain as made:
        await made.flushdb()
        yield made
        await made.flushdb()


@pytest.fixture
async def store(redis_server: RedisServer, client: object) -> AsyncIterator[RedisStore]:
    """A store on database 2."""
    assert client
    async with RedisStore.from_url(redis_server.url.replace("/0", "/2")) as made:
        yield made


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


async def test_the_prefix_goes_before_every_key(redis_server: RedisServer, client: Any) -> None:
    """Two prefixes share one database without seeing one another, also in listing and sweeping."""
    url = redis_server.url.replace("/0", "/2")
    app, app2 = (RedisStore.from_url(url, StoreSettings(key_prefix=name)) for name in ("app:", "app2:"))
    async with app, app2:
        await app.rooms.create_room(room("A"))
        await app.chat.add_message(message(1, "A"))
        assert sorted(await client.keys("*")) == [b"app:active-rooms", b"app:chat:A", b"app:room:A"]
        assert [one async for one in app2.rooms.active_room_ids()] == []
        await client.delete("app:room:A")
        assert await app2.rooms.sweep_active_rooms() == 0
        assert await app.rooms.sweep_active_rooms() == 1


async def test_the_index_outlives_a_shorter_room(redis_server: RedisServer, store: RedisStore, client: Any) -> None:
    """A room of a short TTL does not shorten the life of the index that longer rooms are in."""
    await store.rooms.create_room(room("long"))
    settings = StoreSettings(room_ttl=timedelta(minutes=1))
    async with RedisStore.from_url(redis_server.url.replace("/0", "/2"), settings) as brief:
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


async def test_a_callers_client_is_not_closed(redis_server: RedisServer, client: Any) -> None:
    """A client that was passed in still works after the store is closed."""
    async with RedisStore(client) as store:
        await store.rooms.create_room(room("A"))
    assert await client.exists("room:A") == 1
    assert redis_server.port


async def test_an_own_client_is_closed(redis_server: RedisServer, client: Any) -> None:
    """A store from a URL leaves no connection behind."""
    before = len(await client.client_list())
    async with RedisStore.from_url(redis_server.url) as store:
        await asyncio.gather(*(store.ping() for _ in range(5)))
        assert len(await client.client_list()) > before
    for _ in range(100):
        if len(await client.client_list()) == before:
            break
        await asyncio.sleep(0.01)
    assert len(await client.client_list()) == before


async def test_more_callers_than_connections_wait(redis_server: RedisServer, client: Any) -> None:
    """A thousand callers share a bounded number of connections."""
    async with RedisStore.from_url(redis_server.url.replace("/0", "/2")) as store:
        await asyncio.gather(*(store.rooms.room_exists("A") for _ in range(1000)))
        assert len(await client.client_list()) < 50


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


@pytest.mark.parametrize("kind", [SyncRedis, SyncCluster, object])
async def test_another_kind_of_client_is_refused(kind: Any) -> None:
    """A synchronous client or anything else is a ConfigurationError that says what is needed."""
    with pytest.raises(ConfigurationError, match=r"redis\.asyncio\.Redis"):
        RedisStore(kind.__new__(kind))


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


async def test_a_count_says_that_it_only_reads(redis_server: RedisServer, client: Any) -> None:
    """A count that gets no answer is a time-out, not an unknown outcome: it changes nothing."""
    settings = StoreSettings(operation_timeout=timedelta(milliseconds=200))
    async with RedisStore.from_url(redis_server.url.replace("/0", "/2"), settings) as hasty:
        await hasty.connections.count("ip")
        await client.client_pause(400, all=True)
        with pytest.raises(StoreTimeoutError):
            await hasty.connections.count("ip")
    await client.ping()


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


async def test_a_killed_process_leaks_nothing(redis_server: RedisServer, store: RedisStore) -> None:
    """When a process with 50 leases is killed, the count is 0 after connection_ttl, by the server's own clock."""
    url = redis_server.url.replace("/0", "/2")
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


async def test_closing_ends_who_waits(redis_server: RedisServer, client: Any) -> None:
    """Callers who still wait for a connection when the store is closed get StoreClosedError, and open none."""
    before = len(await client.client_list())
    store = RedisStore.from_url(redis_server.url.replace("/0", "/2?max_connections=4"))
    await store.ping()
    calls = [asyncio.ensure_future(store.rooms.get_room("A")) for _ in range(100)]
    await asyncio.sleep(0)
    await store.aclose()
    results = await asyncio.gather(*calls, return_exceptions=True)
    assert {type(one) for one in results} <= {StoreClosedError, StoreUnavailableError, type(None)}
    assert sum(isinstance(one, StoreClosedError) for one in results) > 90
    async with asyncio.timeout(5):
        while len(await client.client_list()) > before:  # noqa: ASYNC110 - the server tells nobody
            await asyncio.sleep(0.02)


async def test_closing_ends_a_listing(store: RedisStore) -> None:
    """A listing that is under way when the store is closed raises StoreClosedError."""
    for room_id in ("A", "B"):
        await store.rooms.create_room(room(room_id))
    listing = store.rooms.active_room_ids()
    await anext(listing)
    await store.aclose()
    with pytest.raises(StoreClosedError):
        await anext(listing)


def test_a_store_belongs_to_one_event_loop(redis_server: RedisServer) -> None:
    """A store that was used on another event loop says so, before anything is sent."""
    store = RedisStore.from_url(redis_server.url.replace("/0", "/2"))

    async def use() -> None:
        await store.rooms.delete_room("A")

    async def use_and_close() -> None:
        async with store:
            await use()

    with asyncio.Runner() as first, asyncio.Runner() as second:
        first.run(use())
        with pytest.raises(StoreError, match="another event loop") as caught:
            second.run(use())
        assert not isinstance(caught.value, StoreUnavailableError)
        first.run(use_and_close())


async def test_a_far_end_is_no_error(store: RedisStore, client: Any) -> None:
    """A key that another writer lets live for millions of years has a TTL, of as much as Python can say."""
    await store.rooms.create_room(room("A"))
    await client.pexpireat("room:A", 9_000_000_000_000_000_000)
    assert await store.rooms.room_ttl("A") == timedelta.max
    assert await store.rooms.room_exists("A") is True


async def test_a_database_that_is_not_there_is_a_configuration_error(redis_server: RedisServer) -> None:
    """A database number beyond the server's is a ConfigurationError that says where to look."""
    async with RedisStore.from_url(redis_server.url.replace("/0", "/99")) as store:
        with pytest.raises(ConfigurationError, match="end of the URL"):
            await store.ping()


async def test_no_server_is_unavailable() -> None:
    """Where no server listens, each operation is a StoreUnavailableError that names host and port, not the password."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    async with open_store(f"redis://user:{SECRET}@127.0.0.1:{port}/0", settings=StoreSettings()) as store:
        for call in (store.ping(), store.rooms.get_room("A"), store.rooms.create_room(room("A"))):
            with pytest.raises(StoreUnavailableError, match=f"127.0.0.1:{port}") as caught:
                await call
            assert not isinstance(caught.value, OutcomeUnknownError)
            assert SECRET not in f"{caught.value}{caught.value.__cause__!r}{caught.value.__context__!r}"


async def test_a_missing_socket_is_unavailable() -> None:
    """Where there is no Unix socket, the error names its path."""
    async with open_store("unix:///nowhere/redis.sock", settings=StoreSettings()) as store:
        with pytest.raises(StoreUnavailableError, match=r"/nowhere/redis\.sock"):
            await store.ping()


@pytest.fixture
async def black_hole() -> AsyncIterator[int]:
    """A port that takes connections and never answers."""
    taken: list[asyncio.StreamWriter] = []
    server = await asyncio.start_server(lambda _reader, writer: taken.append(writer), "127.0.0.1", 0)
    yield server.sockets[0].getsockname()[1]
    server.close()
    for writer in taken:
        writer.close()


async def test_a_silent_server_times_out(black_hole: int) -> None:
    """Where a server takes a connection and never answers, a read is a StoreTimeoutError within operation_timeout."""
    settings = StoreSettings(operation_timeout=timedelta(milliseconds=200))
    async with RedisStore.from_url(f"redis://127.0.0.1:{black_hole}", settings) as store:
        start = time.monotonic()
        with pytest.raises(StoreTimeoutError, match=f"127.0.0.1:{black_hole}"):
            await store.rooms.get_room("A")
        assert time.monotonic() - start < 2


async def test_a_reply_that_nobody_asked_for_ends_the_connection(caplog: pytest.LogCaptureFixture) -> None:
    """A connection over which more comes than was asked is given up: the next call has a new one."""
    gets: list[int] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = len(gets)
        while data := await reader.read(65536):
            if b"GET" in data:
                gets.append(connection)
                writer.write(b"$-1\r\n$-1\r\n")
            else:
                writer.write(b"+OK\r\n" * sum(line.startswith(b"*") for line in data.splitlines()))
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server, open_store(f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}") as store:
        assert await store.rooms.get_room("A") is None
        assert await store.rooms.get_room("A") is None
    assert gets == [0, 1]
    assert not caplog.records


async def test_a_write_without_an_answer_is_unknown(redis_server: RedisServer, store: RedisStore, client: Any) -> None:
    """A write that was sent and not answered is an OutcomeUnknownError, and the store works on afterwards."""
    settings = StoreSettings(operation_timeout=timedelta(milliseconds=200))
    async with RedisStore.from_url(redis_server.url.replace("/0", "/2"), settings) as hasty:
        await hasty.ping()
        await client.client_pause(600, all=True)
        with pytest.raises(OutcomeUnknownError, match="chat:A"):
            await hasty.chat.add_message(message(1, "A"))
        with pytest.raises(StoreTimeoutError):
            await hasty.rooms.get_room("A")
    await client.ping()
    await store.chat.add_message(message(1, "A"))
    assert len(await store.chat.get_messages("A")) == 1


async def test_killed_connections_are_replaced(store: RedisStore, client: Any) -> None:
    """When the server has closed idle connections, the next operations work."""
    await asyncio.gather(*(store.rooms.room_exists("A") for _ in range(10)))
    await client.client_kill_filter(_type="normal", skipme=True)
    await store.rooms.create_room(room("A"))
    assert all(await asyncio.gather(*(store.rooms.room_exists("A") for _ in range(10))))


async def test_cancelled_callers_leave_no_replies_behind(store: RedisStore) -> None:
    """However callers are cancelled, nobody ever reads the reply to another's question."""
    for number in range(20):
        await store.rooms.create_room(room(f"r{number}"))

    async def ask(number: int) -> None:
        found = await store.rooms.get_room(f"r{number % 20}")
        assert found is not None
        assert found.id == f"r{number % 20}"

    for turns in range(40):
        tasks = [asyncio.ensure_future(ask(number)) for number in range(40)]
        for _ in range(turns):
            await asyncio.sleep(0)
        for task in tasks[::3]:
            task.cancel()
        for result in await asyncio.gather(*tasks, return_exceptions=True):
            assert result is None or isinstance(result, asyncio.CancelledError)


async def test_wrong_credentials_are_a_configuration_error(redis_server: RedisServer) -> None:
    """A wrong password is a ConfigurationError that does not repeat it."""
    url = redis_server.url.replace("redis://", f"redis://nobody:{SECRET}@")
    async with RedisStore.from_url(url) as store:
        with pytest.raises(ConfigurationError, match="credentials") as caught:
            await store.ping()
    assert SECRET not in f"{caught.value}{caught.value.__cause__!r}"


async def test_a_refused_command_is_a_configuration_error(redis_server: RedisServer, client: Any) -> None:
    """A user who may not run scripts gets a ConfigurationError, and nothing is written."""
    await client.execute_command("ACL", "SETUSER", "reader", "on", ">pw", "~*", "+get", "+ping", "+pttl")
    url = redis_server.url.replace("redis://", "redis://reader:pw@").replace("/0", "")
    async with RedisStore.from_url(url) as store:
        assert await store.rooms.get_room("A") is None
        with pytest.raises(ConfigurationError, match="NOPERM"):
            await store.rooms.create_room(room("A"))
    await client.execute_command("ACL", "DELUSER", "reader")


async def test_an_error_of_the_server_repeats_no_argument(store: RedisStore) -> None:
    """The error about a command that the server does not know holds nothing of its arguments."""
    with pytest.raises(Exception, match="refused") as caught:
        await store._commands.write(b"NOSUCHCOMMAND", b"room:A", SECRET.encode())
    shown: list[BaseException | None] = [caught.value, caught.value.__cause__, caught.value.__context__]
    assert SECRET not in "".join(f"{error!r}{error}" for error in shown)


async def test_the_harness_touches_only_its_own_keys(redis_server: RedisServer, client: Any) -> None:
    """The contract's harness leaves other people's keys and their TTLs alone."""
    await client.set("room:foreign", "x", ex=100)
    harness = RedisHarness(redis_server.url.replace("/0", "/2"))
    async with harness.open_store() as mine:
        await mine.rooms.create_room(room("A"))
        await harness.advance(1000)
    await harness.aclose()
    assert await client.keys("*") == [b"room:foreign"]
    assert await client.ttl("room:foreign") > 90
