"""Tests of connections: clients, failures, and their errors."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from typing import Any

import pytest
from redis import Redis as SyncRedis
from redis import RedisCluster as SyncCluster
from redis.asyncio import Redis

from loop_clock import advance_loop
from proxy import Proxy
from redis_server import RedisServer
from tcp import tcp_server
from waiting import wait_until
from wnc_store import (
    ConfigurationError,
    OutcomeUnknownError,
    StoreClosedError,
    StoreError,
    StoreSettings,
    StoreTimeoutError,
    StoreUnavailableError,
    open_store,
)
from wnc_store_contract.factories import message, room
from wnc_store_redis import RedisStore
from wnc_store_redis.transport.replies import SHAPES, expect, is_count

SECRET = "SECRET-9f1c"
HOUR = timedelta(hours=1)


async def test_a_callers_client_is_not_closed(client: Any) -> None:
    """A client that the caller passed still works after the store is closed."""
    async with RedisStore(client) as store:
        await store.rooms.create_room(room("A"))
    assert await client.exists("room:A") == 1


async def test_max_connections_limits_only_the_pool(url: str, client: Any) -> None:
    """A store on a pool of one connection opens two other connections and leaves that of the pool."""
    client_class: Any = Redis
    async with client_class.from_url(url, max_connections=1, client_name="limited") as limited:
        await limited.ping()
        async with RedisStore(limited, StoreSettings(publish_changes=True)) as store, store.events.subscribe("A"):
            await store.rooms.create_room(room("A"))
            await asyncio.gather(*(store.rooms.room_exists("A") for _ in range(100)))
            await limited.ping()
            assert [connection["name"] for connection in await client.client_list()].count("limited") == 3


async def test_callers_share_connections_that_aclose_closes(url: str, client: Any) -> None:
    """A thousand callers share few connections; aclose() fails waiting callers and closes every connection."""

    async def connections() -> int:
        return [connection["name"] for connection in await client.client_list()].count("shared")

    store = RedisStore.from_url(f"{url}?client_name=shared")
    await asyncio.gather(*(store.rooms.room_exists("A") for _ in range(1000)))
    assert 0 < await connections() < 5
    calls = [asyncio.ensure_future(store.rooms.get_room("A")) for _ in range(100)]
    await asyncio.sleep(0)
    await store.aclose()
    results = await asyncio.gather(*calls, return_exceptions=True)
    assert {type(result) for result in results} == {StoreClosedError}

    async def are_closed() -> bool:
        return not await connections()

    await wait_until(are_closed)


@pytest.mark.parametrize("client_class", [SyncRedis, SyncCluster, object])
async def test_another_type_of_client_is_rejected(client_class: Any) -> None:
    """A synchronous client or another object is a ConfigurationError that names the expected type."""
    with pytest.raises(ConfigurationError, match=r"redis\.asyncio\.Redis"):
        RedisStore(client_class.__new__(client_class))


async def test_closing_ends_a_listing(store: RedisStore) -> None:
    """A listing that is in progress when the store is closed raises StoreClosedError."""
    for room_id in ("A", "B"):
        await store.rooms.create_room(room(room_id))
    listing = store.rooms.active_room_ids()
    await anext(listing)
    await store.aclose()
    with pytest.raises(StoreClosedError):
        await anext(listing)


async def test_a_missing_database_is_a_configuration_error(redis_server: RedisServer) -> None:
    """A database number that the server does not have is a ConfigurationError that points to the URL."""
    async with RedisStore.from_url(redis_server.url.replace("/0", "/99")) as store:
        with pytest.raises(ConfigurationError, match="end of the URL"):
            await store.ping()


async def test_no_server_is_unavailable() -> None:
    """Without a server each operation raises a StoreUnavailableError that names host and port, not the password."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))  # the socket does not listen, so connections are refused
        port = bound.getsockname()[1]
        async with open_store(f"redis://user:{SECRET}@127.0.0.1:{port}/0", settings=StoreSettings()) as store:
            for call in (store.ping(), store.rooms.get_room("A"), store.rooms.create_room(room("A"))):
                with pytest.raises(StoreUnavailableError, match=f"127.0.0.1:{port}") as caught:
                    await call
                assert not isinstance(caught.value, OutcomeUnknownError)
                assert SECRET not in f"{caught.value}{caught.value.__cause__!r}{caught.value.__context__!r}"


async def test_a_missing_socket_is_unavailable() -> None:
    """The error for a missing Unix socket names its path."""
    async with open_store("unix:///nowhere/redis.sock", settings=StoreSettings()) as store:
        with pytest.raises(StoreUnavailableError, match=r"/nowhere/redis\.sock"):
            await store.ping()


async def test_calls_without_a_reply_time_out(redis_server: RedisServer, proxy: Proxy) -> None:
    """After operation_timeout a read times out, a write has an unknown outcome, and later calls work."""
    async with (
        RedisStore.from_url(redis_server.url) as direct,
        RedisStore.from_url(proxy.url, StoreSettings(operation_timeout=HOUR)) as store,
    ):
        calls: Sequence[tuple[type[StoreError], str, Callable[[], Awaitable[object]]]] = (
            (StoreTimeoutError, f"127.0.0.1:{proxy.port}", lambda: store.rooms.get_room("A")),  # while it connects
            (StoreTimeoutError, "room:A", lambda: store.rooms.get_room("A")),
            (StoreTimeoutError, "connections:A", lambda: store.connections.count("A")),  # a read-only script
            (OutcomeUnknownError, "chat:A", lambda: store.chat.add_message(message(1, "A"))),
        )
        for error, text, call in calls:
            proxy.close_hole()
            proxy.held.clear()
            calling = asyncio.ensure_future(call())
            await wait_until(lambda: proxy.held["request"])
            advance_loop(HOUR.total_seconds())
            with pytest.raises(error, match=text):
                await calling
            proxy.open_hole()
            await store.ping()
        await store.chat.add_message(message(1, "A"))
        assert [m.id for m in await direct.chat.get_messages("A")] == ["m1"]
        await direct.chat.clear_messages("A")


async def test_a_reply_without_a_request_ends_the_connection(caplog: pytest.LogCaptureFixture) -> None:
    """A connection that delivers more replies than requests is closed, and the next call uses a new one."""
    gets: list[int] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = len(gets)
        while data := await reader.read(65536):
            if b"GET" in data:
                gets.append(connection)
                writer.write(b"$-1\r\n$-1\r\n")
            else:
                commands = sum(line.startswith(b"*") for line in data.splitlines())
                has_time = b"TIME" in data  # the last command of a handshake
                writer.write(b"+OK\r\n" * (commands - has_time) + b"*2\r\n$1\r\n1\r\n$1\r\n0\r\n" * has_time)

    async with tcp_server(serve) as port, open_store(f"redis://127.0.0.1:{port}") as store:
        assert await store.rooms.get_room("A") is None
        assert await store.rooms.get_room("A") is None
    assert gets == [0, 1]
    assert not caplog.records


async def test_cancelled_callers_do_not_shift_replies(store: RedisStore) -> None:
    """At whichever step callers are cancelled, each other caller gets the reply to its own command."""
    for number in range(20):
        await store.rooms.create_room(room(f"r{number}"))

    async def read(number: int) -> None:
        found = await store.rooms.get_room(f"r{number % 20}")
        assert found is not None
        assert found.id == f"r{number % 20}"

    for steps in range(0, 40, 3):
        tasks = [asyncio.ensure_future(read(number)) for number in range(40)]
        for _ in range(steps):
            await asyncio.sleep(0)
        for task in tasks[::3]:
            task.cancel()
        for result in await asyncio.gather(*tasks, return_exceptions=True):
            assert result is None or isinstance(result, asyncio.CancelledError)


async def test_wrong_credentials_are_a_configuration_error(redis_server: RedisServer) -> None:
    """A wrong password is a ConfigurationError that does not contain the password."""
    url = redis_server.url.replace("redis://", f"redis://nobody:{SECRET}@")
    async with RedisStore.from_url(url) as store:
        with pytest.raises(ConfigurationError, match="credentials") as caught:
            await store.ping()
    assert SECRET not in f"{caught.value}{caught.value.__cause__!r}"


async def test_an_error_of_the_server_contains_no_argument(store: RedisStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error for an unknown command does not contain the arguments of the command."""
    shapes: Any = SHAPES
    monkeypatch.setitem(shapes, b"NOSUCHCOMMAND", expect(is_count))
    with pytest.raises(Exception, match="rejected") as caught:
        await store._commands.read(b"NOSUCHCOMMAND", b"room:A", SECRET.encode())
    shown: list[BaseException | None] = [caught.value, caught.value.__cause__, caught.value.__context__]
    assert SECRET not in "".join(f"{error!r}{error}" for error in shown)
