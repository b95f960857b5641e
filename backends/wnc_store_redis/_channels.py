"""The connection over which messages of the server's channels come in."""

from __future__ import annotations

import asyncio
import logging
import random
from collections import Counter, deque
from collections.abc import Coroutine, Sequence
from typing import Protocol, cast

from redis.exceptions import ResponseError

from wnc_store import StoreClosedError, StoreError
from wnc_store_redis._commands import Commands
from wnc_store_redis._link import Link, Pool, Reply, open_link
from wnc_store_redis._server import pack_command

_logger = logging.getLogger("wnc_store")

_FIRST_PAUSE = 0.01
_LONGEST_PAUSE = 2.0
"""Seconds between attempts to connect again, each twice as long as the one before, and up to as long as that."""

_LEAST_PATIENCE = 1.0
"""Seconds between signs of life, at least: an event loop that is busy for a while must not look like a dead server."""

_PING = pack_command((b"PING",))


class Listener(Protocol):
    """Who is told what comes in."""

    def heard(self, channel: bytes, data: bytes) -> None:
        """Take a message."""
        ...

    def ponged(self) -> None:
        """Take note that all has come that the server sent before it got a certain PING."""
        ...

    def missed(self) -> None:
        """Take note that messages may be missing here, because the connection was lost."""
        ...


class Channels:
    """Subscriptions to channels, all on one connection: opened with the first, and again whenever it is lost.

    A connection that says nothing is asked for a sign of life, so that one that is dead does not look like silence.

    Args:
        pool: gives the connection.
        commands: whose errors these are.
        timeout: how many seconds a subscription, or a sign of life, may take.
        listener: is told what comes in.
    """

    def __init__(self, pool: Pool, commands: Commands, timeout: float, listener: Listener) -> None:
        self._pool = pool
        self._commands = commands
        self._timeout = timeout
        self._patience = max(timeout, _LEAST_PATIENCE)
        self._listener = listener
        self._wanted: Counter[bytes] = Counter()
        self._link: Link | None = None
        self._opening: asyncio.Future[None] | None = None
        self._recovering = False
        self._fences: deque[asyncio.Future[None] | None] = deque()
        self._refusal: ResponseError | None = None
        self._beat: asyncio.TimerHandle | None = None
        self._is_silent = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._closed = False

    async def enter(self, channels: Sequence[bytes]) -> None:
        """Subscribe to channels; return when the server will send what is published in them from now on.

        Also after an error or a cancellation, `leave` has to be called.

        Raises:
            StoreError: it can't be done now; `Commands.failure` says why.
        """
        self._wanted.update(channels)
        self._commands.check_loop()
        failure: BaseException = TimeoutError()
        try:
            async with asyncio.timeout(self._timeout):
                while True:
                    await self._open()
                    try:
                        await self._stand(channels)
                    except ConnectionError:  # it was lost meanwhile
                        await asyncio.sleep(_FIRST_PAUSE)
                    else:
                        return
        except StoreError:
            raise
        except Exception as error:  # noqa: BLE001 - a dead connection is not always a RedisError or OSError
            failure = error
        # Raised outside the handler: the driver's exception would stay within reach as the context.
        raise self._commands.failure(failure, channels[0])

    def leave(self, channels: Sequence[bytes]) -> None:
        """Undo one `enter`; what nobody wants any more is unsubscribed from."""
        self._wanted.subtract(channels)
        gone = [channel for channel in channels if self._wanted[channel] <= 0]
        for channel in gone:
            del self._wanted[channel]
        if gone and self._link is not None and not self._commands.forked:  # else the connection is the parent's
            self._link.write([pack_command((b"UNSUBSCRIBE", *gone))])

    def ask(self) -> None:
        """Have `Listener.ponged` called when all has come that the server has sent by now."""
        if not self._fences:  # a pong that is on its way comes behind what came before it
            self._ping(None)

    def drop(self) -> None:
        """Give the connection up: another server is master now."""
        if self._link is not None:
            self._lost(ConnectionError("another server is master now"))

    async def aclose(self) -> None:
        """Close the connection; in a forked child, it is the parent's."""
        self._closed = True
        if self._commands.forked:
            return
        link = self._forget_link(StoreClosedError())
        for task in self._tasks:
            task.cancel()
        if link is not None:
            await link.aclose()
        while self._tasks:
            await asyncio.wait(self._tasks)

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
        try:
            async with asyncio.timeout(self._timeout):
                self._link = await open_link(self._pool, self._take, self._lost, pushes=True)
        except Exception as error:  # noqa: BLE001 - a dead connection is not always a RedisError or OSError
            opening.set_exception(error)
            opening.exception()  # nobody may wait for it any more
            return
        except asyncio.CancelledError:
            opening.set_exception(StoreClosedError())
            raise
        finally:
            self._opening = None
        opening.set_result(None)
        self._is_silent = False
        self._beat = asyncio.get_running_loop().call_later(self._patience, self._ask_for_life)

    async def _stand(self, channels: Sequence[bytes]) -> None:
        """Subscribe, and return when that stands.

        Raises:
            ConnectionError: the connection was lost.
            ResponseError: the server refused something since the `_stand` before.
        """
        if self._link is None:
            raise ConnectionError
        stands: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._link.write([pack_command((b"SUBSCRIBE", *channels))])
        self._ping(stands)
        await stands

    def _ping(self, stands: asyncio.Future[None] | None) -> None:
        """Ask for a sign of life; when it comes, `stands` is done."""
        if self._link is not None:
            self._fences.append(stands)
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
            elif what == b"message":
                self._listener.heard(*message)

    def _pass_fence(self) -> None:
        self._listener.ponged()
        stands = self._fences.popleft()
        if stands is None:
            return
        refusal, self._refusal = self._refusal, None
        if stands.done():  # cancelled
            return
        if refusal is None:
            stands.set_result(None)
        else:
            stands.set_exception(refusal)

    def _lost(self, error: BaseException) -> None:
        link = self._forget_link(ConnectionError(*error.args))
        if link is not None:
            self._spawn(link.aclose())
        if not self._recovering and not self._closed:
            self._recovering = True
            self._spawn(self._recover())

    def _forget_link(self, error: Exception) -> Link | None:
        link, self._link = self._link, None
        self._refusal = None
        if self._beat is not None:
            self._beat.cancel()
        fences, self._fences = self._fences, deque()
        for stands in fences:
            if stands is not None and not stands.done():
                stands.set_exception(error)
        return link

    async def _recover(self) -> None:
        """Connect and subscribe again, until that is done or nobody wants it; then tell what may be missing."""
        pause, is_logged = 0.0, False
        try:
            while self._wanted:
                try:
                    async with asyncio.timeout(self._timeout):
                        await self._open()
                        await self._stand(tuple(self._wanted))
                except Exception as error:  # noqa: BLE001 - a dead connection is not always a RedisError or OSError
                    if not is_logged:
                        failure = self._commands.failure(error, next(iter(self._wanted), b""))
                        _logger.warning("no events come in, until the connection is back: %s", failure)
                        is_logged = True
                else:
                    if is_logged:
                        _logger.info("events come in again")
                    self._listener.missed()
                    return
                await asyncio.sleep(pause * random.uniform(0.5, 1))  # noqa: S311 - no secret
                pause = min(max(2 * pause, _FIRST_PAUSE), _LONGEST_PAUSE)
        finally:
            self._recovering = False

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
