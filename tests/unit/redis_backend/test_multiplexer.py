"""Tests of the multiplexed connection: limits, deadlines, and the order of replies."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import pytest
from redis.exceptions import InvalidResponse

from fake_connection import FakeConnection, FakePool
from virtual_time import idle, now, pass_time
from wnc_store import StoreClosedError
from wnc_store_redis.transport.multiplexer import (
    MAX_IN_FLIGHT,
    MAX_IN_FLIGHT_BYTES,
    MultiplexedConnection,
)
from wnc_store_redis.transport.packing import pack_command
from wnc_store_redis.transport.retry import ConnectHungError, NoReplyError
from wnc_store_redis.transport.statistics import Statistics

TIMEOUT_SECONDS = 60


class Client:
    """Submits commands to a multiplexed connection. Each batch is sent or queued before the next one."""

    def __init__(self, connect: Callable[[], Awaitable[object]] | None = None) -> None:
        self.pool = FakePool(connect)
        self.multiplexer = MultiplexedConnection(self.pool, TIMEOUT_SECONDS, Statistics())

    @property
    def connection(self) -> FakeConnection:
        """The newest connection."""
        return self.pool.connections[-1]

    async def submit(self, *commands: bytes, seconds: float = 9) -> list[asyncio.Future[Any]]:
        """Submit commands in one tick, each with a deadline after so many seconds."""
        calls = [self.start(command, seconds) for command in commands]
        await idle()
        return calls

    def start(self, command: bytes, seconds: float = 9, *, writes: bool = False) -> asyncio.Future[Any]:
        """Submit a command in this tick, and return the future of its reply."""
        reply: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.multiplexer.submit(reply, command, now() + seconds, writes=writes)
        return reply

    async def expiry(self) -> float:
        """Return the server's time, in seconds, after which a write with a deadline after 9 s must not run."""
        self.start(b"write", writes=True)
        await idle()
        expiry = self.connection.written.rpartition(b"write")[2].split()[0]
        assert len(expiry) == 13
        return int(expiry) / 1000


async def failure(call: asyncio.Future[Any]) -> tuple[type[BaseException], bool]:
    """Return why a call got no reply, and whether its command was sent."""
    with pytest.raises(NoReplyError) as caught:
        await call
    return type(caught.value.reason), caught.value.sent


async def hang() -> None:
    """Wait indefinitely."""
    await asyncio.Event().wait()


@pytest.mark.parametrize(
    ("size", "max_in_flight"), [(1, MAX_IN_FLIGHT), (1 + MAX_IN_FLIGHT_BYTES // 4, 3), (MAX_IN_FLIGHT_BYTES + 1, 1)]
)
async def test_commands_in_flight_are_limited(size: int, max_in_flight: int) -> None:
    """The number and the bytes of commands in flight are limited; the others fail as not sent."""
    client = Client()
    calls = await client.submit(*[b"x" * size] * (max_in_flight + 3))
    assert len(client.connection.written) == max_in_flight * size
    client.connection.answer(b"first")
    await idle()
    assert len(client.connection.written) == (max_in_flight + 1) * size
    assert calls[0].result() == b"first"
    failures = [await failure(call) for call in calls[1:]]
    assert failures == [(TimeoutError, True)] * max_in_flight + [(TimeoutError, False)] * 2
    assert len(client.connection.written) == (max_in_flight + 1) * size


async def test_each_command_fails_at_its_own_deadline() -> None:
    """A command without a reply fails at its own deadline, and the others keep waiting."""
    client = Client()
    (long,), (short,) = await client.submit(b"long", seconds=5), await client.submit(b"short", seconds=2)
    started_at = now()
    assert await failure(short) == (TimeoutError, True)
    assert now() - started_at == pytest.approx(2)
    client.connection.answer(b"long", b"late")
    assert await long == b"long"


async def test_a_silent_connection_is_replaced() -> None:
    """A connection with commands in flight that is silent for the whole time-out is replaced."""
    client = Client()
    await client.submit(b"idle")
    client.connection.answer(b"idle")
    await pass_time(2 * TIMEOUT_SECONDS)  # a connection without commands in flight may be silent
    (call,) = await client.submit(b"one", seconds=2 * TIMEOUT_SECONDS)
    await client.submit(b"two", seconds=TIMEOUT_SECONDS)
    assert await failure(call) == (ConnectionError, True)
    await idle()
    assert client.connection.closed
    await client.submit(b"three")
    assert [connection.written for connection in client.pool.connections] == [b"idleonetwo", b"three"]


async def test_a_hung_attempt_to_connect_leaves_time_for_another() -> None:
    """When an attempt to connect hangs, commands with time left fail with ConnectHungError, and the others time out."""
    client = Client(hang)
    (first,) = await client.submit(b"first", seconds=TIMEOUT_SECONDS)
    (later,) = await client.submit(b"later", seconds=2 * TIMEOUT_SECONDS)
    assert await failure(first) == (TimeoutError, False)
    assert await failure(later) == (ConnectHungError, False)


@pytest.mark.parametrize("error", [ConnectionRefusedError, TimeoutError])
async def test_a_failed_attempt_to_connect_fails_all_waiting_commands(error: type[Exception]) -> None:
    """A failed attempt to connect fails every waiting command at once, before its deadline."""

    async def refuse() -> None:
        raise error

    started_at = now()
    assert [await failure(call) for call in await Client(refuse).submit(b"one", b"other")] == [(error, False)] * 2
    assert now() == started_at


async def test_a_command_that_would_miss_its_deadline_is_not_sent() -> None:
    """A command whose remaining time is below the current latency times out without being sent."""
    client = Client()
    await client.submit(b"slow,", b"behind,")
    await pass_time(2)
    client.connection.answer(b"slow")
    (late,) = await client.submit(b"late,", seconds=2.4)
    assert await failure(late) == (TimeoutError, False)
    await client.submit(b"patient,", seconds=2.6)
    client.connection.answer(b"behind", b"patient")
    await client.submit(b"first,", b"quick,", seconds=1)  # nothing is in flight, so the latency may be lower
    assert client.connection.written == b"slow,behind,patient,first,quick,"


async def test_replies_before_a_protocol_error_are_delivered() -> None:
    """Replies that precede a protocol error are delivered; then the connection is lost."""
    client = Client()
    one, two, three = await client.submit(b"1", b"2", b"3")
    client.connection.send(b"+one\r\n+two\r\nnonsense\r\n")
    assert [await one, await two, await failure(three)] == [b"one", b"two", (InvalidResponse, True)]


async def test_a_lost_connection_fails_only_commands_in_flight() -> None:
    """A lost connection fails the commands in flight; waiting commands use the next connection."""
    client = Client()
    *sent, waiting = await client.submit(*[b"x"] * MAX_IN_FLIGHT, b"y")
    client.connection.lose()
    assert {await failure(call) for call in sent} == {(ConnectionResetError, True)}
    await idle()
    assert client.connection.written == b"y"
    client.connection.answer(b"y")
    assert await waiting == b"y"


async def test_a_reply_over_a_dropped_connection_is_discarded() -> None:
    """A reply that arrives after its connection was dropped is not matched with a later command."""
    client = Client()
    (call,) = await client.submit(b"strays")
    old = client.connection
    client.multiplexer.drop()
    (later,) = await client.submit(b"mine")
    old.answer(b"stray")
    assert await failure(call) == (ConnectionError, True)
    client.connection.answer(b"mine")
    assert await later == b"mine"


async def test_a_cancelled_command_is_not_sent() -> None:
    """A command that is cancelled before it is sent is not sent; the reply to a cancelled command is discarded."""
    client = Client()
    calls = [client.start(name) for name in (b"1", b"2", b"3")]
    calls[0].cancel()
    await idle()
    calls[1].cancel()
    client.connection.answer(b"two", b"three")
    assert client.connection.written == b"23"
    assert await calls[2] == b"three"


async def test_closing_waits_for_commands_in_flight() -> None:
    """Each concurrent call of aclose() waits for the replies of sent commands; unsent commands fail."""
    client = Client()
    sent, gone, *_, waiting = await client.submit(*[b"x"] * (MAX_IN_FLIGHT + 1))
    gone.cancel()
    closing = [asyncio.ensure_future(client.multiplexer.aclose()) for _ in range(2)]
    await idle()
    with pytest.raises(StoreClosedError):
        await waiting
    assert not any(task.done() for task in closing)
    client.connection.answer(*[b"x"] * MAX_IN_FLIGHT)
    await asyncio.gather(*closing)
    assert await sent == b"x"
    assert client.connection.closed
    with pytest.raises(StoreClosedError):
        await client.start(b"x")


async def test_a_connection_that_opens_after_aclose_is_closed() -> None:
    """A connection that opens although aclose() cancelled the attempt is closed at once."""

    async def ignore_cancellation() -> None:
        with suppress(asyncio.CancelledError):
            await hang()

    client = Client(ignore_cancellation)
    (call,) = await client.submit(b"first")
    await client.multiplexer.aclose()
    with pytest.raises(StoreClosedError):
        await call
    assert client.connection.closed


@pytest.mark.parametrize(
    ("text", "server_time"),
    [
        (b"EXPIRED 1700000000000", 1.7e9),
        *((text, None) for text in (b"EXPIRED", b"EXPIRED soon", b"EXPIRED -1", b"EXPIRED 1 2")),
        *((b"EXPIRED %d" % 10**digits, None) for digits in (13, 20)),
    ],
)
async def test_the_time_of_a_late_write_is_checked(text: bytes, server_time: float | None) -> None:
    """The error of a late write sets the estimate of the server's clock; an error of another shape does not."""
    client = Client()
    before = await client.expiry()
    client.connection.send(b"-%b\r\n" % text)
    after = await client.expiry()
    assert after == pytest.approx(before if server_time is None else server_time + 9, abs=0.01)
    assert not client.connection.closed


@pytest.mark.parametrize(
    ("reply", "server_time"),
    [
        (pack_command((b"1700000000", b"500000")), 1.7e9 + 0.5),
        (b"-NOPERM no permission to run TIME\r\n", None),
    ],
    ids=["a time", "an error"],
)
async def test_the_clock_of_the_server_is_queried_again(reply: bytes, server_time: float | None) -> None:
    """A minute after the last query, a write queries the server's time, and later writes use the reply."""
    client = Client()
    before = await client.expiry()
    client.connection.answer(b"OK")
    await pass_time(61)
    await client.expiry()
    client.connection.send(b"+OK\r\n" + reply)
    assert await client.expiry() == pytest.approx(before + 61 if server_time is None else server_time + 9, abs=0.01)
    assert not client.connection.closed


@pytest.mark.parametrize(
    "reply",
    [
        *(
            b":7\r\n",
            b"$5\r\n12345\r\n",
            b"$-1\r\n",
            b"*0\r\n",
            b"*2\r\n:1\r\n:2\r\n",
            b"%1\r\n:0\r\n:1\r\n",
            b"#t\r\n",
        ),
        *map(pack_command, ((b"1",), (b"1", b"x"), (b"-1", b"0"), (b"1", b"2", b"3"), (b"9" * 10, b"0"))),
        *map(pack_command, ((b"9" * 5000, b"0"), (b"1", b"9" * 5000))),
    ],
)
async def test_a_reply_that_is_not_a_time_closes_the_connection(reply: bytes) -> None:
    """A reply to TIME of another shape closes the connection, because the other replies may not match either."""
    client = Client()
    unhandled: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: unhandled.append(context))
    await client.expiry()
    client.connection.answer(b"OK")
    await pass_time(61)
    await client.expiry()
    client.connection.send(b"+OK\r\n" + reply)
    await idle()
    assert [connection.closed for connection in client.pool.connections] == [True]
    assert unhandled == []
