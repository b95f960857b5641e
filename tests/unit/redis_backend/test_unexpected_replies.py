"""Replies of another type than the command documents, as a broken proxy or replies out of step cause."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any
from unittest.mock import AsyncMock

import pytest
from hiredis import Reader
from redis.asyncio.client import Pipeline, PubSub

from fake_connection import FakeConnection, FakePool
from wnc_store import (
    AppEvent,
    ConfigurationError,
    OutcomeUnknownError,
    Resync,
    Room,
    Snapshot,
    StoreError,
    StoreSettings,
    StoreUnavailableError,
    to_wire,
)
from wnc_store_contract.factories import message, room, user
from wnc_store_redis import RedisStore, scripts
from wnc_store_redis.transport.connection import ConnectionFactory
from wnc_store_redis.transport.executor import Script
from wnc_store_redis.transport.packing import pack_command

SCRIPTS = {script.sha: name for name, script in vars(scripts).items() if isinstance(script, Script)}
NAMED = room("A", "host", "guest")


def bulk(*values: bytes) -> bytes:
    """Return a list of strings as RESP."""
    return pack_command(values)


WRONG = {
    "an integer": b":7\r\n",
    "a negative integer": b":-7\r\n",
    "a huge integer": b":9223372036854775807\r\n",
    "a string": b"$5\r\nwrong\r\n",
    "bytes that are not UTF-8": b"$2\r\n\xff\xfe\r\n",
    "nil": b"$-1\r\n",
    "an empty list": b"*0\r\n",
    "a nested list": b"*2\r\n*1\r\n*0\r\n*0\r\n",
    "a list with a nil": b"*2\r\n:0\r\n*-1\r\n",
    "a list of lists": b"*2\r\n*0\r\n*1\r\n:1\r\n",
    "a list of integers": b"*2\r\n:1\r\n:2\r\n",
    "a list of strings": bulk(b"0", b"1"),
    "a long list": b"*4\r\n:0\r\n:0\r\n:0\r\n:0\r\n",
    "an error in a list": b"*2\r\n:0\r\n-ERR wrong\r\n",
    "a map": b"%1\r\n$1\r\na\r\n:1\r\n",
    "a set": b"~1\r\n$1\r\na\r\n",
    "a boolean": b"#t\r\n",
    "a double": b",1.5\r\n",
}
NUMBERS = {"an integer", "a huge integer"}
STRINGS = {"a string", "bytes that are not UTF-8"}
RIGHT: dict[str, tuple[bytes, set[str]]] = {
    "PING": (b"+PONG\r\n", STRINGS),
    "GET": (b"$%d\r\n%b\r\n" % (len(to_wire(NAMED)), to_wire(NAMED)), {*STRINGS, "nil"}),
    "LRANGE": (b"*0\r\n", {"an empty list", "a list of strings", "a set"}),
    "PTTL": (b":1000\r\n", {*NUMBERS, "a negative integer"}),
    "SSCAN": (b"*2\r\n$1\r\n0\r\n*1\r\n$1\r\nA\r\n", set()),
    "EXISTS": (b":1\r\n", NUMBERS),
    "DEL": (b":1\r\n", NUMBERS),
    "PUBLISH": (b":1\r\n", NUMBERS),
    "COMMIT": (b":1\r\n", {"a list with a nil"}),
    "REMOVE": (b":1\r\n", set()),
    "APPEND": (b":1\r\n", NUMBERS),
    "EDIT": (b":1\r\n", {"an empty list", "a list of strings", "a set"}),
    "CLEAR": (b":1\r\n", set()),
    "SWEEP": (b":1\r\n", NUMBERS),
    "RESTORE": (b":1\r\n", set()),
    "ACQUIRE": (b"*2\r\n:1\r\n:1\r\n", {"a list of integers"}),
    "RELEASE": (b":1\r\n", NUMBERS),
    "COUNT": (b":1\r\n", NUMBERS),
    "HIT": (b"*2\r\n:1\r\n:1\r\n", {"a list of integers"}),
    "PEEK": (b"*2\r\n:1\r\n$1\r\n1\r\n", {"a list with a nil"}),
}
"""Command or script -> a right reply, and the replies of `WRONG` that are possible, too."""

Call = Callable[[RedisStore], Awaitable[object]]


async def listed(store: RedisStore) -> list[str]:
    """List the active rooms."""
    return [room_id async for room_id in store.rooms.active_room_ids()]


async def read_all(store: RedisStore) -> list[Room]:
    """Read the active rooms."""
    return [one async for one in store.rooms.active_rooms()]


READS: dict[str, tuple[Call, tuple[str, ...]]] = {
    "ping": (lambda store: store.ping(), ("PING",)),
    "get_room": (lambda store: store.rooms.get_room("A"), ("GET",)),
    "get_rooms": (lambda store: store.rooms.get_rooms(["A"]), ("GET",)),
    "active_rooms": (read_all, ("SSCAN",)),
    "room_ttl": (lambda store: store.rooms.room_ttl("A"), ("PTTL",)),
    "active_room_ids": (listed, ("SSCAN", "EXISTS")),
    "get_messages": (lambda store: store.chat.get_messages("A"), ("LRANGE",)),
    "chat_ttl": (lambda store: store.chat.chat_ttl("A"), ("PTTL",)),
    "count": (lambda store: store.connections.count("ip"), ("COUNT",)),
    "peek": (lambda store: store.rate_limits.peek("ip"), ("PEEK",)),
    "set_video_url": (lambda store: store.rooms.set_video_url("A", "https://x"), ("GET",)),
    "sweep": (lambda store: store.rooms.sweep_active_rooms(), ("SSCAN",)),
}
"""Operation -> call, and the commands before its first write."""
WRITES: dict[str, tuple[Call, str]] = {
    "create_room": (lambda store: store.rooms.create_room(room("A")), "COMMIT"),
    "add_user_to_room": (lambda store: store.rooms.add_user_to_room("A", user("new")), "COMMIT"),
    "remove_user_from_room": (lambda store: store.rooms.remove_user_from_room("A", "guest"), "COMMIT"),
    "delete_room": (lambda store: store.rooms.delete_room("A"), "REMOVE"),
    "sweep": (lambda store: store.rooms.sweep_active_rooms(), "SWEEP"),
    "add_message": (lambda store: store.chat.add_message(message(1, "A")), "APPEND"),
    "clear_messages": (lambda store: store.chat.clear_messages("A"), "CLEAR"),
    "acquire": (lambda store: store.connections.acquire("ip", "c"), "ACQUIRE"),
    "release": (lambda store: store.connections.release("ip", "c"), "RELEASE"),
    "hit": (lambda store: store.rate_limits.hit("ip"), "HIT"),
    "reset": (lambda store: store.rate_limits.reset("ip"), "DEL"),
    "restore": (lambda store: store.restore(Snapshot(room("A"), StoreSettings().room_ttl)), "RESTORE"),
    "publish": (
        lambda store: store.events.publish("A", AppEvent(room_id="A", name="n", value=1)),
        "PUBLISH",
    ),
}


class Server(FakePool):
    """A server that replies to each command and script with its right reply, except to some.

    Attributes:
        wrong: command or script -> its reply.
    """

    def __init__(self, wrong: dict[str, bytes]) -> None:
        super().__init__()
        self.wrong = wrong

    async def get_connection(self) -> Any:
        """See `Pool.get_connection`."""
        connection: FakeConnection = await super().get_connection()
        reader = Reader()

        def receive(data: bytes) -> None:
            reader.feed(data)
            while (command := reader.gets()) is not False:
                asyncio.get_running_loop().call_soon(self._reply, connection, command)

        vars(connection)["_writer"].transport.write = receive
        return connection

    def _reply(self, connection: FakeConnection, command: Any) -> None:
        name = SCRIPTS[command[1]] if command[0] == b"EVALSHA" else command[0].decode()
        connection.send(self.wrong[name] if name in self.wrong else RIGHT[name][0])


def open_store(monkeypatch: pytest.MonkeyPatch, server: FakePool, url: str = "redis://host", **settings: Any) -> Any:
    """Return a store whose connections all lead to a server."""
    monkeypatch.setattr(ConnectionFactory, "get_connection", AsyncMock(side_effect=server.get_connection))
    return RedisStore.from_url(url, StoreSettings(**settings))


async def outcome(monkeypatch: pytest.MonkeyPatch, call: Call, command: str, reply: str) -> Exception | None:
    """Return the error of a call whose command gets a wrong reply, and whose connections are closed then."""
    server = Server({command: WRONG[reply]})
    async with open_store(monkeypatch, server) as store:
        (error,) = await asyncio.gather(call(store), return_exceptions=True)
        await asyncio.sleep(0.1)
        is_closed = all(connection.closed for connection in server.connections)
        assert is_closed is isinstance(error, StoreUnavailableError)
    return error if isinstance(error, Exception) else None


@pytest.mark.parametrize("reply", WRONG)
@pytest.mark.parametrize(
    ("operation", "command"), [(name, command) for name, (_, commands) in READS.items() for command in commands]
)
async def test_a_read_without_a_valid_reply_fails(
    monkeypatch: pytest.MonkeyPatch, operation: str, command: str, reply: str
) -> None:
    """A wrong reply to a read is StoreUnavailableError, and closes the connection, whose replies may be out of step."""
    error = await outcome(monkeypatch, READS[operation][0], command, reply)
    if reply in RIGHT[command][1]:
        assert error is None or isinstance(error, StoreError)
    else:
        assert type(error) is StoreUnavailableError, error
        assert "unexpected type" in str(error)


@pytest.mark.parametrize("reply", WRONG)
@pytest.mark.parametrize("operation", WRITES)
async def test_a_write_without_a_valid_reply_has_an_unknown_outcome(
    monkeypatch: pytest.MonkeyPatch, operation: str, reply: str
) -> None:
    """A wrong reply to a write is OutcomeUnknownError, and closes the connection."""
    call, command = WRITES[operation]
    error = await outcome(monkeypatch, call, command, reply)
    if reply in RIGHT[command][1]:
        assert error is None or isinstance(error, StoreError)
    else:
        assert type(error) is OutcomeUnknownError, error


@pytest.mark.parametrize("reply", WRONG)
@pytest.mark.parametrize("command", ["PROBE", "INFO", "CONFIG", "SLOWLOG", "SCARD"])
async def test_health_and_activity_survive_wrong_replies(
    monkeypatch: pytest.MonkeyPatch, command: str, reply: str
) -> None:
    """A wrong reply to a query of health and activity is at most a StoreError."""
    right = {
        "PROBE": b"*0\r\n",
        "INFO": b"$18\r\nredis_version:7.0\n\r\n",
        "CONFIG": bulk(b"notify-keyspace-events", b""),
        "SLOWLOG": b"*1\r\n*4\r\n:1\r\n:1\r\n:1\r\n*0\r\n",
        "SCARD": b":1\r\n",
    }
    async with open_store(monkeypatch, Server({**right, command: WRONG[reply]})) as store:
        await store.health()
        with suppress(StoreUnavailableError):
            await store.activity()


PUBSUB = {
    **WRONG,
    "a message without data": bulk(b"message", b"events:A"),
    "a message with a number": b"*3\r\n$7\r\nmessage\r\n$8\r\nevents:A\r\n:1\r\n",
    "a message in a list": b"*3\r\n$7\r\nmessage\r\n*0\r\n$1\r\nx\r\n",
    "an end without a channel": bulk(b"sunsubscribe"),
    "a pong without a ping": b"+PONG\r\n+PONG\r\n+PONG\r\n",
}


@pytest.mark.parametrize("reply", PUBSUB)
async def test_a_wrong_message_closes_the_connection_of_events(monkeypatch: pytest.MonkeyPatch, reply: str) -> None:
    """After a wrong message the subscriber gets a `Resync` on a new connection."""
    server = Server({"SUBSCRIBE": b"", "UNSUBSCRIBE": b""})
    async with open_store(monkeypatch, server) as store, store.events.subscribe("A") as events:
        server.connections[-1].send(PUBSUB[reply])
        if reply in {"a list of strings", "a set"}:  # messages of a kind that the library does not know
            assert len(server.connections) == 1
            return
        async with asyncio.timeout(1):
            assert await anext(aiter(events)) == Resync(room_id="A")
        assert [connection.closed for connection in server.connections] == [True, False]


@pytest.mark.parametrize("reply", WRONG)
async def test_a_cluster_without_a_valid_slot_map_is_unavailable(monkeypatch: pytest.MonkeyPatch, reply: str) -> None:
    """A wrong reply to CLUSTER SLOTS is StoreUnavailableError."""
    async with open_store(monkeypatch, Server({"CLUSTER": WRONG[reply]}), "redis+cluster://host:1") as store:
        with pytest.raises(StoreUnavailableError):
            await store.rooms.get_room("A")


@pytest.mark.parametrize("redirection", ["MOVED", "MOVED 1", "MOVED 1 host", "ASK", "ASK x y:z", "ASK 1 host:"])
async def test_a_redirection_without_an_address_is_unavailable(
    monkeypatch: pytest.MonkeyPatch, redirection: str
) -> None:
    """A redirection that does not name a server is StoreUnavailableError."""
    slots = b"*1\r\n*3\r\n:0\r\n:16383\r\n*2\r\n$4\r\nhost\r\n:1\r\n"
    server = Server({"CLUSTER": slots, "GET": b"-%b\r\n" % redirection.encode()})
    async with open_store(monkeypatch, server, "redis+cluster://host:1") as store:
        with pytest.raises(StoreUnavailableError):
            await store.rooms.get_room("A")


@pytest.mark.parametrize("reply", WRONG)
async def test_sentinels_without_valid_replies_are_unavailable(monkeypatch: pytest.MonkeyPatch, reply: str) -> None:
    """Wrong replies of all Sentinels are StoreUnavailableError."""
    reader = Reader()
    reader.feed(WRONG[reply])
    replies = [reader.gets()] * 2
    monkeypatch.setattr(Pipeline, "execute", AsyncMock(return_value=replies))
    monkeypatch.setattr(PubSub, "psubscribe", AsyncMock(side_effect=ConnectionError))
    async with RedisStore.from_url("redis+sentinel://host:1/service") as store:
        with pytest.raises((StoreUnavailableError, ConfigurationError)):
            await store.rooms.get_room("A")


@pytest.mark.parametrize("reply", WRONG)
@pytest.mark.parametrize(("command", "expected"), [("INFO", StoreUnavailableError), ("WAIT", OutcomeUnknownError)])
async def test_a_replicated_write_needs_valid_replies(
    monkeypatch: pytest.MonkeyPatch, command: str, expected: type[StoreError], reply: str
) -> None:
    """A wrong reply to the query before a replicated write fails it, and one to WAIT leaves its outcome unknown."""
    server = Server({"INFO": b"$18\r\nconnected_slaves:1\r\n", command: WRONG[reply]})
    async with open_store(monkeypatch, server, durability="replicated") as store:
        if command == "WAIT" and reply in NUMBERS:
            await store.rate_limits.hit("ip")
            return
        with pytest.raises(StoreUnavailableError) as caught:
            await store.rate_limits.hit("ip")
        assert type(caught.value) is expected
