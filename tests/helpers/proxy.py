"""A TCP proxy in front of a local server, which can delay, slice, hold and cut the traffic."""

from __future__ import annotations

import asyncio
import random
import socket
import struct
from collections import Counter
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import Literal, get_args

from tcp import closing_streams, tcp_server

Side = Literal["request", "reply"]
How = Literal["close", "reset"]
SIDES: Sequence[Side] = get_args(Side)
HOWS: Sequence[How] = get_args(How)
_Chunks = asyncio.Queue[tuple[float, bytes]]

_CHUNK = 65_536
_MOST_CHUNKS = 64
"""Limit of buffered chunks in one direction of a connection. The sender waits above it."""


@dataclass(frozen=True)
class Cut:
    """A cut that ends one connection after a number of bytes in one direction, counted since the cut was armed.

    Attributes:
        side: the direction whose bytes are counted.
        after: number of bytes that are still forwarded.
        how: "close" ends both sides in order (FIN), "reset" aborts them (RST).
        stay_down: whether the proxy rejects every connection after the cut.
        late: whether the proxy keeps the connection to the server, and the rest of the request for `Proxy.deliver`.
        then: the next cut, which is armed after this one.
    """

    side: Side
    after: int
    how: How = "close"
    stay_down: bool = False
    late: bool = False
    then: Cut | None = None


@dataclass(eq=False)
class _Link:
    """A connection through the proxy."""

    client: asyncio.StreamWriter
    server: asyncio.StreamWriter
    replies: asyncio.StreamReader
    late: bytes = b""
    delivered: asyncio.Event = field(default_factory=asyncio.Event)

    def end(self, how: How) -> None:
        for writer in (self.client, *([] if self.late else [self.server])):
            _end(writer, how)


def _end(writer: asyncio.StreamWriter, how: How) -> None:
    with suppress(OSError):
        if how == "reset":
            linger = struct.pack("ii", 1, 0)
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            writer.transport.abort()
        else:
            writer.close()


@dataclass
class Proxy:
    """The state of the proxy. Every attribute can be changed at any time.

    Attributes:
        target: the port that new connections are forwarded to.
        port: the port of the proxy.
        delay: seconds that each chunk is delayed, in both directions.
        jitter: maximum of a random delay of each chunk, in addition to `delay`. Chunks stay in order.
        slice_bytes: maximum size of a forwarded chunk; 0 forwards chunks unchanged.
        refusing: whether new connections are reset immediately.
        passed: bytes forwarded in each direction since the last `arm` or `reset_counters`.
        held: bytes that a black hole has received in each direction, in total.
        carried: bytes forwarded in total.
        connections: connections accepted in total.
    """

    target: int
    port: int = 0
    delay: float = 0
    jitter: float = 0
    slice_bytes: int = 0
    refusing: bool = False
    passed: Counter[Side] = field(default_factory=Counter[Side])
    held: Counter[Side] = field(default_factory=Counter[Side])
    carried: int = 0
    connections: int = 0
    _cut: Cut | None = None
    _late: list[_Link] = field(default_factory=list[_Link])
    _links: set[_Link] = field(default_factory=set[_Link])
    _flowing: asyncio.Event = field(default_factory=asyncio.Event)
    _mean_bytes: int = 0
    _random: random.Random = field(default_factory=random.Random)

    @property
    def url(self) -> str:
        """The URL of a Redis server's database 0 through the proxy."""
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def open_connections(self) -> int:
        """Number of open connections."""
        return len(self._links)

    @property
    def cut_pending(self) -> bool:
        """Whether an armed cut has not happened yet."""
        return self._cut is not None

    def reset_counters(self) -> None:
        """Reset `passed` to zero."""
        self.passed.clear()

    def arm(self, cut: Cut) -> None:
        """Cut one connection as `cut` describes."""
        self.reset_counters()
        self._cut = cut

    def disarm(self) -> None:
        """Return to plain forwarding."""
        self._cut = None
        self._mean_bytes = 0
        self.refusing = False
        self.delay = self.jitter = self.slice_bytes = 0
        self.open_hole()

    def cut_at_random(self, mean_bytes: int, seed: int) -> None:
        """Cut connections repeatedly at random bytes in either direction, on average after `mean_bytes` bytes."""
        self._mean_bytes = mean_bytes
        self._random.seed(seed)

    def close_hole(self) -> None:
        """Become a black hole, which accepts connections and bytes and forwards nothing."""
        self._flowing.clear()

    def open_hole(self) -> None:
        """Forward the held bytes and return to plain forwarding."""
        self._flowing.set()

    def cut_all(self, how: How = "reset") -> None:
        """Cut every connection now."""
        for link in list(self._links):
            link.end(how)

    async def deliver(self) -> list[bytes]:
        """Send the rest of the bytes of late cuts to the server. Return the start of each reply, b"" without one."""
        replies: list[bytes] = []
        while self._late:
            link = self._late.pop()
            try:
                link.server.write(link.late)
                link.server.write_eof()  # the bytes may end within a command, which gets no reply
                replies.append(await link.replies.read(_CHUNK))
            except OSError:  # the server has closed the connection
                replies.append(b"")
            link.delivered.set()
        return replies

    async def serve(self, client: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Forward one connection until either side ends it."""
        self.connections += 1
        if self.refusing:
            _end(writer, "reset")
            return
        async with closing_streams(await asyncio.open_connection("127.0.0.1", self.target)) as (server, upstream):
            link = _Link(writer, upstream, server)
            self._links.add(link)
            try:
                await self._exchange(link, client)
            finally:
                self._links.discard(link)
                link.end("close")
            if link.late:
                self._late.append(link)
                await link.delivered.wait()

    async def _exchange(self, link: _Link, client: asyncio.StreamReader) -> None:
        requests, replies = _Chunks(_MOST_CHUNKS), _Chunks(_MOST_CHUNKS)
        carrying = [
            asyncio.ensure_future(self._carry(link, "request", requests, link.server)),
            asyncio.ensure_future(self._carry(link, "reply", replies, link.client)),
        ]
        tasks = [
            *carrying,
            asyncio.ensure_future(self._read(client, requests)),
            asyncio.ensure_future(self._read(link.replies, replies)),
        ]
        try:
            await asyncio.wait(carrying, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _read(self, source: asyncio.StreamReader, chunks: _Chunks) -> None:
        """Queue each chunk with the time when it is due, and an empty chunk at the end."""
        data = b"-"
        while data:
            try:
                data = await source.read(_CHUNK)
            except OSError:
                data = b""
            delay = self.delay + self.jitter * self._random.random()
            await chunks.put((asyncio.get_running_loop().time() + delay, data))

    async def _carry(self, link: _Link, side: Side, chunks: _Chunks, sink: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while True:
                due, data = await chunks.get()
                if (left := due - asyncio.get_running_loop().time()) > 0:
                    await asyncio.sleep(left)
                if not data:
                    return
                if not self._flowing.is_set():
                    self.held[side] += len(data)
                    await self._flowing.wait()
                cut = self._cut_within(side, len(data))
                if cut is not None:
                    await self._forward(side, data[: cut.after], sink)
                    if cut.late:
                        link.late = data[cut.after :]
                        while not chunks.empty():
                            link.late += chunks.get_nowait()[1]
                    if cut.then is not None and self._cut is None:
                        self.arm(cut.then)
                    link.end(cut.how)
                    return
                await self._forward(side, data, sink)

    def _cut_within(self, side: Side, size: int) -> Cut | None:
        """Return the cut within a chunk of that size, relative to the start of the chunk, if there is one."""
        cut = self._cut
        if cut is not None and cut.side == side and self.passed[side] + size >= cut.after:
            self._cut = None
            if cut.stay_down:
                self.refusing = True
            return replace(cut, after=cut.after - self.passed[side])
        if self._mean_bytes and self._random.random() < size / self._mean_bytes:
            return Cut(side, self._random.randrange(size + 1), self._random.choice(HOWS))
        return None

    async def _forward(self, side: Side, data: bytes, sink: asyncio.StreamWriter) -> None:
        self.passed[side] += len(data)
        self.carried += len(data)
        step = self.slice_bytes or len(data) or 1
        for start in range(0, len(data), step):
            sink.write(data[start : start + step])
            await sink.drain()
            if self.slice_bytes:
                await asyncio.sleep(0)


@asynccontextmanager
async def proxy_to(target: int, *, delay: float = 0) -> AsyncGenerator[Proxy]:
    """Run a proxy to a local port, on a free port."""
    proxy = Proxy(target, delay=delay)
    proxy.open_hole()
    async with tcp_server(proxy.serve) as proxy.port:
        try:
            yield proxy
        finally:
            await proxy.deliver()
