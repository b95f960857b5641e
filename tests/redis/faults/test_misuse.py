"""Misuse of a store: a wrong clock, a second event loop, a fork, and a close during calls."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from chaos.server import DurableServer, admin
from processes import run
from redis_sentinels import Service, sentinel_service
from tcp import tcp_server
from waiting import SECONDS
from wnc_store import (
    AppEvent,
    ManualClock,
    StoreClosedError,
    StoreError,
    StoreSettings,
    StoreUnavailableError,
    open_store,
)
from wnc_store_contract.factories import message, room, user

BRIEF = StoreSettings(
    room_ttl=timedelta(minutes=10),
    chat_ttl=timedelta(minutes=10),
    connection_ttl=timedelta(minutes=10),
    rate_limit_window=timedelta(minutes=10),
    rate_limit_max=1,
)


@pytest.mark.parametrize("hours", [-1, 1])
async def test_ttls_follow_the_servers_clock(server: DurableServer, hours: int) -> None:
    """TTLs, leases and rate-limit windows use the server's clock, even if the store's machine has a wrong clock."""
    clock = ManualClock(datetime.now(UTC) + timedelta(hours=hours))
    async with open_store(server.url, settings=BRIEF, clock=clock) as store, admin(server.url) as client:
        await store.rooms.create_room(room("A"))
        await store.chat.add_message(message(1, "A"))
        assert await store.connections.acquire("A", "c1") == 1
        assert (await store.rate_limits.hit("A")).allowed
        clock.advance(timedelta(hours=2))
        assert await store.rooms.set_video_url("A", "https://example.org/v") is not None
        assert await store.connections.acquire("A", "c2") == 2
        assert await store.connections.count("A") == 2
        assert not (await store.rate_limits.hit("A")).allowed
        for key in ("room:A", "chat:A", "connections:A", "rl:A", "active-rooms"):
            assert 500_000 < await client.pttl(key) <= 600_000, key
        for key in ("room:A", "chat:A", "connections:A", "rl:A"):
            await client.pexpire(key, 0)
        assert await store.rooms.get_room("A") is None
        assert await store.connections.count("A") == 0
        assert (await store.rate_limits.hit("A")).allowed


async def test_a_second_event_loop_is_rejected(server: DurableServer) -> None:
    """A store that is used or closed on another loop raises a StoreError with a remedy, and works on its own loop."""
    async with open_store(server.url) as store:
        await store.ping()
        with pytest.raises(StoreError, match="event loop") as caught:
            await asyncio.to_thread(asyncio.run, store.rooms.create_room(room("A")))
        assert type(caught.value) is StoreError
        assert await store.rooms.get_room("A") is None
        async with store.events.subscribe("A") as events:
            with pytest.raises(StoreError, match="event loop"):
                await asyncio.to_thread(asyncio.run, store.aclose())
            with pytest.raises(StoreError, match="event loop"):
                await asyncio.to_thread(asyncio.run, store.__aexit__(None, None, None))
            assert store.closed is False
            await store.rooms.create_room(room("A"))
            await store.events.publish("A", AppEvent(room_id="A", name="still open"))
            assert isinstance(await anext(aiter(events)), AppEvent)
    assert store.closed is True
    await asyncio.to_thread(asyncio.run, store.aclose())


async def test_a_change_on_a_second_event_loop_is_rejected(server: DurableServer) -> None:
    """During a change of a room, a change of it on another loop raises an error and is not applied."""
    async with open_store(server.url) as store:
        await store.rooms.create_room(room("A"))
        joining = asyncio.ensure_future(store.rooms.add_user_to_room("A", user("guest")))
        await asyncio.sleep(0)
        with ThreadPoolExecutor() as elsewhere:
            change = elsewhere.submit(asyncio.run, store.rooms.add_user_to_room("A", user("stranger")))
            error = change.exception(SECONDS)  # blocks this thread, so that the first change stays in progress
        assert type(error) is StoreError
        assert "event loop" in str(error)
        assert [one.id for one in (await joining).users] == ["host", "guest"]


FORKING = """
import asyncio, os, sys, warnings
from wnc_store import AppEvent, ChatMessage, Room, StoreError, StoreSettings, User, open_store

warnings.simplefilter("ignore", DeprecationWarning)  # of fork, which is tested here
URL = sys.argv[1]

def say(number):
    return ChatMessage(id=f"m{number}", room_id="A", user_id="u", user_name="u", message="text")

async def child(store, reading):
    await reading.__aexit__(None, None, None)  # as the garbage collector of the child would
    try:
        async with asyncio.timeout(60):
            await store.rooms.add_user_to_room("A", User(id="child", name="child"))
    except StoreError as error:
        assert "fork" in str(error) or "event loop" in str(error), error
    try:
        async with asyncio.timeout(60):
            await store.chat.get_messages("A")
    except StoreError as error:
        assert "fork" in str(error) or "event loop" in str(error), error
        async with asyncio.timeout(60):
            await store.aclose()
        async with open_store(URL) as own:
            assert [one.id for one in await own.chat.get_messages("A")][0] == "m0"
        return 7
    return 8

async def main():
    async with open_store(URL) as store:
        await store.rooms.create_room(Room(id="A", host_id="u", host_name="u"))
        await store.chat.add_message(say(0))
        reading = store.events.subscribe("A")
        events = await reading.__aenter__()
        joining = asyncio.ensure_future(store.rooms.add_user_to_room("A", User(id="u", name="u")))
        await asyncio.sleep(0)  # the child inherits a change in progress, too
        pid = os.fork()
        if not pid:
            asyncio._set_running_loop(None)
            code = 9
            try:
                code = asyncio.new_event_loop().run_until_complete(child(store, reading))
            finally:
                os._exit(code)
        await joining
        for number in range(1, 11):
            await store.chat.add_message(say(number))
            assert [one.id for one in await store.chat.get_messages("A")] == [f"m{n}" for n in range(number + 1)]
        _, status = os.waitpid(pid, 0)
        assert os.waitstatus_to_exitcode(status) == 7, status
        await store.events.publish("A", AppEvent(room_id="A", name="last"))
        async with asyncio.timeout(60):
            assert await anext(events) == AppEvent(room_id="A", name="last")
        await reading.__aexit__(None, None, None)

asyncio.run(main())
"""


@pytest.mark.parametrize("engine", ["server", "cluster"])
async def test_a_store_is_rejected_in_a_forked_child(engine: str, request: pytest.FixtureRequest) -> None:
    """In a forked child the parent's store raises a clear error, a new store works, and the parent is unaffected."""
    url = request.getfixturevalue(engine).url
    done = await asyncio.to_thread(run, sys.executable, "-c", FORKING, url)
    assert done.stderr == ""


FORKING_A_LOOP = """
import asyncio, os, sys, warnings
from wnc_store import StoreError, open_store

warnings.simplefilter("ignore", DeprecationWarning)  # of fork, which is tested here
loop = asyncio.new_event_loop()
store = open_store(sys.argv[1])
loop.run_until_complete(store.ping())
pid = os.fork()
if not pid:
    code = 9
    try:
        loop.run_until_complete(store.rooms.get_room("A"))
    except StoreError as error:
        code = 7 if "fork" in str(error) else 8
    finally:
        os._exit(code)
_, status = os.waitpid(pid, 0)
assert os.waitstatus_to_exitcode(status) == 7, status
assert loop.run_until_complete(store.rooms.get_room("A")) is None
loop.run_until_complete(store.aclose())
loop.close()
"""


async def test_a_forked_loop_does_not_share_a_connection(server: DurableServer) -> None:
    """A child that runs the parent's event loop again is refused, too, and the parent is unaffected."""
    done = await asyncio.to_thread(run, sys.executable, "-c", FORKING_A_LOOP, server.url)
    assert done.stderr == ""


PRELOADING = """
import asyncio, os, sys, warnings
from wnc_store import Room, StoreSettings, open_store

warnings.simplefilter("ignore", DeprecationWarning)  # of fork, which is tested here
URL = sys.argv[1]
store = open_store(URL, settings=StoreSettings(publish_changes=True))

async def work(room_id):
    async with asyncio.timeout(60), store:
        await store.rooms.create_room(Room(id=room_id, host_id="u", host_name="u"))
        async with store.events.subscribe(room_id) as events:
            await store.rooms.delete_room(room_id)
            assert (await anext(events)).room_id == room_id
        assert (await store.health()).round_trip_ms is not None

children = []
for number in range(2):
    pid = os.fork()
    if not pid:
        code = 9
        try:
            asyncio.run(work(f"child{number}"))
            code = 7
        finally:
            os._exit(code)
    children.append(pid)
asyncio.run(work("parent"))
for pid in children:
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
"""


@pytest.mark.parametrize("engine", ["server", "cluster", "sentinels"])
async def test_an_unused_store_can_be_used_after_a_fork(engine: str, request: pytest.FixtureRequest) -> None:
    """A store that was opened and not used before a fork works in the children and in the parent."""
    url = request.getfixturevalue(engine).url
    done = await asyncio.to_thread(run, sys.executable, "-c", PRELOADING, url)
    assert done.stderr == ""


@pytest.fixture
def sentinels() -> Iterator[Service]:
    """A master and its Sentinel."""
    with sentinel_service(replicas=0, sentinels=1) as service:
        yield service


@pytest.mark.parametrize("url", ["memory://", "redis://127.0.0.1:1", "redis+cluster://127.0.0.1:1"])
@pytest.mark.parametrize(
    "name", ["ping", "health", "get_room", "create_room", "add_message", "subscribe", "aenter", "aclose"]
)
def test_a_store_without_asyncio_is_rejected(url: str, name: str) -> None:
    """Without an event loop of asyncio, as under Trio, a call raises a StoreError that names asyncio."""
    store = open_store(url)
    calls: dict[str, Callable[[], Any]] = {
        "ping": store.ping,
        "health": store.health,
        "get_room": lambda: store.rooms.get_room("A"),
        "create_room": lambda: store.rooms.create_room(room("A")),
        "add_message": lambda: store.chat.add_message(message(1, "A")),
        "subscribe": lambda: store.events.subscribe("A").__aenter__(),
        "aenter": store.__aenter__,
        "aclose": store.aclose,
    }
    with pytest.raises(StoreError, match="requires asyncio"):
        calls[name]().send(None)


async def test_calls_during_a_close(server: DurableServer) -> None:
    """Each call during a close succeeds or raises an error, and each join that succeeded is stored."""
    async with open_store(server.url) as direct:
        await direct.rooms.create_room(room("A"))
        for round_number in range(10):
            store = open_store(server.url)
            await store.ping()
            names = [f"u{round_number}.{number}" for number in range(40)]
            calls = [asyncio.ensure_future(store.rooms.add_user_to_room("A", user(name))) for name in names]
            for _ in range(round_number):
                await asyncio.sleep(0)
            async with asyncio.timeout(60):
                await asyncio.gather(store.aclose(), store.aclose())
                ended = await asyncio.gather(*calls, return_exceptions=True)
            found = await direct.rooms.get_room("A")
            assert found is not None
            for name, one in zip(names, ended, strict=True):
                assert not isinstance(one, BaseException) or isinstance(one, StoreClosedError | StoreUnavailableError)
                if not isinstance(one, BaseException):
                    assert found.user(name) is not None
                elif isinstance(one, StoreClosedError):
                    assert found.user(name) is None


@pytest.mark.parametrize("ticks", range(24))
async def test_a_close_ends_the_wait_for_a_cluster(ticks: int) -> None:
    """Calls that wait for the slot map raise StoreClosedError if the store is closed at any moment of a connect."""

    async def never_reply(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        await reader.read()

    settings = StoreSettings(operation_timeout=timedelta(hours=1))
    async with (
        tcp_server(never_reply) as port,
        open_store(f"redis+cluster://127.0.0.1:{port}", settings=settings) as store,
    ):
        callers = [
            asyncio.ensure_future(call)
            for call in (
                store.rooms.get_room("A"),
                store.rooms.add_user_to_room("A", user("guest")),
                store.rooms.delete_room("A"),
                store.chat.add_message(message(1, "A")),
            )
        ]
        for _ in range(ticks):
            await asyncio.sleep(0)
        await store.aclose()
        outcomes = await asyncio.gather(*callers, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [StoreClosedError] * 4
