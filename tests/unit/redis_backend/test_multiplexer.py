"""Many callers on one connection, by itself: how many are under way, who is out of time, and whose reply is whose."""

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
    ConnectHungError,
    MultiplexedConnection,
    NoReplyError,
)
from wnc_store_redis.transport.statistics import Statistics

MOST_SECONDS = 60


class Client:
    """Callers of a multiplexer, each of which has sent a command, or waits, when the next one comes."""

    def __init__(self, connect: Callable[[], Awaitable[object]] | None = None) -> None:
        self.pool = FakePool(connect)
        self.multiplexer = MultiplexedConnection(self.pool, MOST_SECONDS, Statistics())

    @property
    def connection(self) -> FakeConnection:
        """The newest connection."""
        return self.pool.connections[-1]

    async def submit(self, *commands: bytes, seconds: float = 9) -> list[asyncio.Future[Any]]:
        """Send commands in one tick, with so much time for each."""
        calls = [self.multiplexer.submit(command, now() + seconds) for command in commands]
        await idle()
        return calls


async def lost(call: asyncio.Future[Any]) -> tuple[type[BaseException], bool]:
    """Return why a call gets no reply, and whether the server may have got it."""
    with pytest.raises(NoReplyError) as caught:
        await call
    return type(caught.value.reason), caught.value.sent


async def hang() -> None:
    """Take for ever."""
    await asyncio.Event().wait()


@pytest.mark.parametrize(
    ("size", "most"), [(1, MAX_IN_FLIGHT), (1 + MAX_IN_FLIGHT_BYTES // 4, 3), (MAX_IN_FLIGHT_BYTES + 1, 1)]
)
async def test_a_slow_server_gets_no_endless_queue(size: int, most: int) -> None:
    """A bounded number of commands, and of bytes, is under way; of the others it is sure that they were not sent."""
    client = Client()
    calls = await client.submit(*[b"x" * size] * (most + 3))
    assert len(client.connection.written) == most * size
    client.connection.answer(b"first")
    await idle()
    assert len(client.connection.written) == (most + 1) * size
    assert calls[0].result() == b"first"
    ended = [await lost(call) for call in calls[1:]]
    assert ended == [(TimeoutError, True)] * most + [(TimeoutError, False)] * 2
    assert len(client.connection.written) == (most + 1) * size


async def test_each_is_out_of_time_at_its_own_time() -> None:
    """A caller without a reply is told when its own time is over, and the others wait on."""
    client = Client()
    (long,), (short,) = await client.submit(b"long", seconds=5), await client.submit(b"short", seconds=2)
    began = now()
    assert await lost(short) == (TimeoutError, True)
    assert now() - began == pytest.approx(2)
    client.connection.answer(b"long", b"nobody's")
    assert await long == b"long"


async def test_a_silent_connection_is_given_up() -> None:
    """A connection that was silent for a whole time-out, with commands under way, is replaced by the next command."""
    client = Client()
    await client.submit(b"idle")
    client.connection.answer(b"idle")
    await pass_time(2 * MOST_SECONDS)  # with nothing under way it may be silent
    (call,) = await client.submit(b"one", seconds=2 * MOST_SECONDS)
    await client.submit(b"two", seconds=MOST_SECONDS)
    assert await lost(call) == (ConnectionError, True)
    await idle()
    assert client.connection.closed
    await client.submit(b"three")
    assert [one.written for one in client.pool.connections] == [b"idleonetwo", b"three"]


async def test_who_comes_late_to_a_connection_that_hangs_has_time_left() -> None:
    """When an attempt to connect hangs, whoever is out of time is told so, and the others that there may be another."""
    client = Client(hang)
    (first,) = await client.submit(b"first", seconds=MOST_SECONDS)
    (later,) = await client.submit(b"later", seconds=2 * MOST_SECONDS)
    assert await lost(first) == (TimeoutError, False)
    assert await lost(later) == (ConnectHungError, False)


@pytest.mark.parametrize("refusal", [ConnectionRefusedError, TimeoutError])
async def test_where_nobody_listens_all_are_told_at_once(refusal: type[Exception]) -> None:
    """An attempt to connect that fails at once ends for all who wait for it, however much time they have."""

    async def refuse() -> None:
        raise refusal

    began = now()
    assert [await lost(call) for call in await Client(refuse).submit(b"one", b"other")] == [(refusal, False)] * 2
    assert now() == began


async def test_who_would_be_answered_too_late_is_not_sent() -> None:
    """While replies take longer than a command has time, it is told so, unsent; else an overload would never end."""
    client = Client()
    await client.submit(b"slow,", b"behind,")
    await pass_time(2)
    client.connection.answer(b"slow")
    (late,) = await client.submit(b"late,", seconds=2.4)
    assert await lost(late) == (TimeoutError, False)
    await client.submit(b"patient,", seconds=2.6)
    client.connection.answer(b"behind", b"patient")
    await client.submit(b"next,", seconds=1)  # with nobody before it, it may be in time
    await pass_time(0.5)
    client.connection.answer(b"next")
    await client.submit(b"first,", b"quick,", seconds=1)
    assert client.connection.written == b"slow,behind,patient,next,first,quick,"


async def test_replies_before_nonsense_are_handed_over() -> None:
    """What a server answered before it sent what is no reply reaches the callers; then the connection is lost."""
    client = Client()
    one, two, three = await client.submit(b"1", b"2", b"3")
    client.connection.send(b"+one\r\n+two\r\nnonsense\r\n")
    assert [await one, await two, await lost(three)] == [b"one", b"two", (InvalidResponse, True)]


async def test_a_lost_connection_is_nobodys_but_theirs_who_were_sent() -> None:
    """Where a connection is lost, who was sent is told so, and who waited is sent over the next one."""
    client = Client()
    *sent, waiting = await client.submit(*[b"x"] * MAX_IN_FLIGHT, b"y")
    client.connection.lose()
    assert {await lost(call) for call in sent} == {(ConnectionResetError, True)}
    await idle()
    assert client.connection.written == b"y"
    client.connection.answer(b"y")
    assert await waiting == b"y"


async def test_a_reply_over_a_connection_given_up_is_nobodys() -> None:
    """A reply that arrives just when its connection is given up goes to no command that is sent later."""
    client = Client()
    (call,) = await client.submit(b"strays")
    old = client.connection
    client.multiplexer.drop()
    (later,) = await client.submit(b"mine")
    old.answer(b"stray")
    assert await lost(call) == (ConnectionError, True)
    client.connection.answer(b"mine")
    assert await later == b"mine"


async def test_what_nobody_waits_for_is_not_sent() -> None:
    """A command whose caller gives up before it is sent is not sent; the reply to one that was is dropped."""
    client = Client()
    calls = [client.multiplexer.submit(name, now() + 9) for name in (b"1", b"2", b"3")]
    calls[0].cancel()
    await idle()
    calls[1].cancel()
    client.connection.answer(b"two", b"three")
    assert client.connection.written == b"23"
    assert await calls[2] == b"three"


async def test_closing_waits_for_what_was_sent() -> None:
    """Whoever closes, once or twice at once, waits for the replies to what was sent; what was not sent is refused."""
    client = Client()
    sent, gone, *_, waiting = await client.submit(*[b"x"] * (MAX_IN_FLIGHT + 1))
    gone.cancel()
    closing = [asyncio.ensure_future(client.multiplexer.aclose()) for _ in range(2)]
    await idle()
    with pytest.raises(StoreClosedError):
        await waiting
    assert not any(one.done() for one in closing)
    client.connection.answer(*[b"x"] * MAX_IN_FLIGHT)
    await asyncio.gather(*closing)
    assert await sent == b"x"
    assert client.connection.closed
    with pytest.raises(StoreClosedError):
        await client.multiplexer.submit(b"x", now() + 9)


async def test_a_connection_that_comes_after_the_close_is_closed() -> None:
    """A connection that is there although its attempt was cancelled by a close is closed at once."""

    async def be_deaf() -> None:
        with suppress(asyncio.CancelledError):
            await hang()

    client = Client(be_deaf)
    (call,) = await client.submit(b"first")
    await client.multiplexer.aclose()
    with pytest.raises(StoreClosedError):
        await call
    assert client.connection.closed
