"""Tests of the delays of the proxy that the fault tests run in front of a server."""

from __future__ import annotations

import asyncio
import random
from itertools import accumulate
from typing import Any

import pytest

from proxy import Cut, Proxy
from virtual_time import idle, now, pass_time


class Writer:
    """A stream writer that records each chunk and the time when it was written."""

    def __init__(self) -> None:
        self.chunks: list[tuple[float, bytes]] = []
        self.is_closed = False
        self.transport = self

    @property
    def data(self) -> bytes:
        """All bytes that were written."""
        return b"".join(chunk for _, chunk in self.chunks)

    def write(self, data: bytes) -> None:
        """Record a chunk."""
        self.chunks.append((now(), data))

    async def drain(self) -> None:
        """Return at once."""

    def write_eof(self) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Close the writer."""
        self.is_closed = True

    abort = close

    async def wait_closed(self) -> None:
        """Return at once."""


class Connection:
    """A connection through a proxy, whose streams a test feeds and reads."""

    def __init__(self, proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> None:
        self.requests, self.replies = asyncio.StreamReader(), asyncio.StreamReader()
        self.client, self.server = Writer(), Writer()

        async def open_connection(*_address: object) -> tuple[asyncio.StreamReader, Writer]:
            return self.replies, self.server

        monkeypatch.setattr("asyncio.open_connection", open_connection)
        client: Any = self.client
        self.served = asyncio.ensure_future(proxy.serve(self.requests, client))


def open_proxy(*, delay: float = 0, jitter: float) -> Proxy:
    """Return a proxy that forwards, whose random delays repeat in each run."""
    proxy = Proxy(0, delay=delay, jitter=jitter)
    proxy.open_hole()
    proxy._random.seed(1)
    return proxy


async def test_jitter_keeps_the_order_of_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each chunk is forwarded after its own random delay and after the chunks before it, and none is lost."""
    delays = random.Random(1)
    connection = Connection(open_proxy(delay=2, jitter=5), monkeypatch)
    sent, due = [b"%d," % number for number in range(20)], list[float]()
    for chunk in sent:
        connection.requests.feed_data(chunk)
        due.append(now() + 2 + 5 * delays.random())
        await pass_time(0.5)
    await pass_time(7)
    assert due != sorted(due)  # without an order, chunks would overtake others
    assert connection.server.chunks == list(zip(accumulate(due, max), sent, strict=True))
    connection.requests.feed_eof()
    await connection.served


@pytest.mark.parametrize("seconds", [0, 100], ids=["at once", "much later"])
async def test_a_late_cut_keeps_delayed_chunks(seconds: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a late cut, the rest of the request is delivered in order and only by `deliver`, with undue chunks."""
    proxy = open_proxy(jitter=10)
    connection = Connection(proxy, monkeypatch)
    proxy.arm(Cut("request", 3, late=True))
    for chunk in (b"01234", b"567", b"89"):
        connection.requests.feed_data(chunk)
        await idle()
    assert connection.server.data == b""
    while proxy.cut_pending:
        await pass_time(0.5)
    await pass_time(seconds)
    assert connection.client.is_closed
    assert connection.server.data == b"012"
    assert not connection.server.is_closed
    connection.replies.feed_data(b"+OK\r\n")
    assert await proxy.deliver() == [b"+OK\r\n"]
    assert connection.server.data == b"0123456789"
    await connection.served
    assert connection.server.is_closed
