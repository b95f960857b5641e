"""A connection over which messages of a server's channels come in."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from typing import NamedTuple, Protocol, cast

from redis.exceptions import ResponseError

from wnc_store import StoreClosedError
from wnc_store_redis.transport.connection import Link, Pool, Reply, open_link
from wnc_store_redis.transport.errors import code_of
from wnc_store_redis.transport.node import pack_command

_LEAST_PATIENCE = 1.0
"""Seconds between signs of life, at least: an event loop that is busy for a while must not look like a dead server."""

_PING = pack_command((b"PING",))

OnLost = Callable[[Sequence[bytes]], None]
"""Is told which channels are subscribed to no longer, although nobody asked for that."""


class LostError(ConnectionError):
    """Raised when the connection is lost before a subscription stands."""


class Ear(Protocol):
    """Who is told what comes in."""

    def heard(self, channel: bytes, data: bytes) -> None:
        """Take a message."""
        ...

    def ponged(self) -> None:
        """Take note that all has come that the server sent before it got a certain PING."""
        ...


class Subscriptions(Protocol):
    """Subscriptions to channels, on one connection or several."""

    async def subscribe(self, channels: Sequence[bytes]) -> None:
        """Return when the servers will send what is published in channels from now on.

        Raises:
            LostError: the connection was lost meanwhile; another attempt opens another.
            StoreClosedError: `aclose()` was called.
            Exception: a server can't be reached, or refuses something since the subscription before.
        """
        ...

    def unsubscribe(self, channels: Sequence[bytes]) -> None:
        """Have the servers send no more of channels."""
        ...

    def ask(self) -> None:
        """Have `Ear.ponged` called when all has come that the servers have sent by now."""
        ...

    async def aclose(self) -> None:
        """Close the connections."""
        ...


class _Fence(NamedTuple):
    """Who waits for the answer to the PING behind a subscription, to what that is, and what of it is new."""

    stands: asyncio.Future[None]
    channels: Sequence[bytes]
    new: set[bytes]


class Subscriber:
    """Subscriptions on one connection, which is opened with the first, and again when it is lost and one is wanted.

    A connection that says nothing is asked for a sign of life, so that one that is dead does not look like silence.

    Args:
        pool: gives the connection.
        timeout: how many seconds a connection, or a sign of life, may take.
        ear: is told what comes in.
        on_lost: is told what is subscribed to no longer, because the connection was lost or a slot has moved.
        is_sharded: whether the channels are those of a cluster's slots, each subscribed to by itself.

    Attributes:
        channels: those that are subscribed to, or about to be.
    """

    def __init__(self, pool: Pool, timeout: float, ear: Ear, on_lost: OnLost, *, is_sharded: bool = False) -> None:
        self._pool = pool
        self._timeout = timeout
        self._patience = max(timeout, _LEAST_PATIENCE)
        self._ear = ear
        self._on_lost = on_lost
        self._is_sharded = is_sharded
        kind = b"S" if is_sharded else b""
        self._subscribe, self._unsubscribe = kind + b"SUBSCRIBE", kind + b"UNSUBSCRIBE"
        self._message = kind.lower() + b"message"
        self.channels: set[bytes] = set()
        self._link: Link | None = None
        self._opening: asyncio.Future[None] | None = None
        self._fences: deque[_Fence | bytes | None] = deque()
        self._refusal: ResponseError | None = None
        self._beat: asyncio.TimerHandle | None = None
        self._is_silent = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._closed = False

    async def subscribe(self, channels: Sequence[bytes]) -> None:
        """See `Subscriptions.subscribe`."""
        await self._open()
        await self._stand(channels)

    def unsubscribe(self, channels: Sequence[bytes]) -> None:
        """See `Subscriptions.unsubscribe`."""
        self.channels.difference_update(channels)
        if self._link is not None:
            self._link.write([pack_command((self._unsubscribe, *channels))])
            if self._is_sharded:
                self._ping(channels[0])

    def ask(self) -> None:
        """See `Subscriptions.ask`."""
        if not self._fences:  # a pong that is on its way comes behind what came before it
            self._ping(None)

    def drop(self) -> None:
        """Give the connection up: another server is master now, or nothing is left to hear over it."""
        if self._link is not None:
            self._lost(ConnectionError("it is not the right server any more"))

    async def aclose(self) -> None:
        """See `Subscriptions.aclose`."""
        self._closed = True
        link, opening = self._forget_link(StoreClosedError()), self._opening
        for task in self._tasks:
            task.cancel()
        if link is not None:
            await link.aclose()
        while self._tasks:
            await asyncio.wait(self._tasks)
        if opening is not None and not opening.done():  # by a task that was cancelled before its first step
            opening.set_exception(StoreClosedError())
            opening.exception()  # nobody may wait for it any more

    async def _open(self) -> None:
        """Return when there is a connection; whoever waits for one waits for the same."""
        if self._closed:
            raise StoreClosedError
        if self._link is None:
            if self._opening is None:
                self._opening = asyncio.get_running_loop().create_future()
                self._spawn(self._connect(self._opening))
            await asyncio.shield(self._opening)

    async def _connect(self, opening: asyncio.Future[None]) -> None:
        hung = asyncio.timeout(self._timeout)
        try:
            async with hung:
                link = await open_link(self._pool, self._take, self._lost, pushes=True)
            if self._closed:  # meanwhile; the driver may swallow a cancellation
                await link.aclose()
                raise StoreClosedError  # noqa: TRY301 - it is told as every other end of the attempt
        except Exception as error:  # noqa: BLE001 - a dead connection is not always a RedisError or OSError
            # Whoever came after the attempt had begun has time left for another.
            opening.set_exception(LostError() if hung.expired() else error)
            opening.exception()  # nobody may wait for it any more
            return
        except asyncio.CancelledError:
            opening.set_exception(StoreClosedError())
            raise
        finally:
            self._opening = None
        self._link = link
        opening.set_result(None)
        self._is_silent = False
        self._beat = asyncio.get_running_loop().call_later(self._patience, self._ask_for_life)

    async def _stand(self, channels: Sequence[bytes]) -> None:
        if self._link is None:
            raise LostError
        new = set(channels) - self.channels
        self.channels |= new
        stands: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._link.write([pack_command((self._subscribe, *channels))])
        self._ping(_Fence(stands, channels, new))
        await stands

    def _ping(self, fence: _Fence | bytes | None) -> None:
        """Ask for a sign of life, by which a subscription stands, or a sharded channel has been left."""
        if self._link is not None:
            self._fences.append(fence)
            self._link.write([_PING])

    def _take(self, replies: Sequence[Reply]) -> None:
        if self._link is None:  # that one was given up
            return
        self._is_silent = False
        for reply in replies:
            if isinstance(reply, ResponseError):
                self._refusal = reply
                continue
            what, *message = cast("list[bytes]", reply) if isinstance(reply, list) else (b"pong",)
            if what == b"pong":
                self._pass_fence()
            elif what == self._message:
                self._ear.heard(*message)
            elif what == b"sunsubscribe":
                self._unsubscribed(message[0])

    def _pass_fence(self) -> None:
        self._ear.ponged()
        fence = self._fences.popleft()
        if fence is None:
            return
        refusal, self._refusal = self._refusal, None
        if isinstance(fence, bytes):
            if refusal is not None and code_of(refusal) == "NOPERM":  # else the slot has moved, and nothing is left
                self._refusal = refusal
        elif not fence.stands.done():  # else it was cancelled
            if refusal is None:
                self.channels.update(fence.channels)  # an attempt before this one may have been refused
                fence.stands.set_result(None)
            else:
                self.channels -= fence.new
                fence.stands.set_exception(refusal)

    def _unsubscribed(self, channel: bytes) -> None:
        """Tell a channel that the server gave up by itself, because its slot has moved, from one that was left."""
        if channel in self.channels and channel not in self._fences:
            self.channels.discard(channel)
            self._on_lost((channel,))

    def _lost(self, error: BaseException) -> None:
        link = self._forget_link(LostError(*error.args))
        if link is not None:
            self._spawn(link.aclose())
        channels = tuple(self.channels)
        self.channels.clear()
        if channels and not self._closed:
            self._on_lost(channels)

    def _forget_link(self, error: Exception) -> Link | None:
        link, self._link = self._link, None
        self._refusal = None
        if self._beat is not None:
            self._beat.cancel()
        fences, self._fences = self._fences, deque()
        for fence in fences:
            if isinstance(fence, _Fence) and not fence.stands.done():
                fence.stands.set_exception(error)
        return link

    def _ask_for_life(self) -> None:
        if self._is_silent:
            self._lost(ConnectionError("the server said nothing for too long"))
            return
        self._is_silent = True
        self._ping(None)
        self._beat = asyncio.get_running_loop().call_later(self._patience, self._ask_for_life)

    def _spawn(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task
