"""Which channels are listened to, and how what was lost of them is found again."""

from __future__ import annotations

import asyncio
import logging
import random
from collections import Counter
from collections.abc import Callable, Sequence

from wnc_store import StoreError
from wnc_store_redis.transport.executor import Commands
from wnc_store_redis.transport.pubsub import LostError, OnLost, Subscriptions

_logger = logging.getLogger("wnc_store")

_FIRST_PAUSE = 0.01
_LONGEST_PAUSE = 2.0
"""Seconds between attempts to subscribe again, each twice as long as the one before, and up to as long as that."""


class Channels:
    """The channels that somebody listens to, as long as somebody does, whatever happens to connections.

    Args:
        commands: whose errors these are.
        timeout: how many seconds a subscription may take.
        subscribed: makes the subscriptions, which tell what they lose.
        on_missed: is told in which channels messages may be missing here, because they were not listened to.
    """

    def __init__(
        self,
        commands: Commands,
        timeout: float,
        subscribed: Callable[[OnLost], Subscriptions],
        on_missed: Callable[[Sequence[bytes]], None],
    ) -> None:
        self._commands = commands
        self._timeout = timeout
        self._subscriptions = subscribed(self._lost)
        self._on_missed = on_missed
        self._wanted: Counter[bytes] = Counter()
        self._missing: dict[bytes, bool] = {}
        """What is being found again -> whether it was lost once more since that was begun."""
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
                    try:
                        await self._subscriptions.subscribe(channels)
                    except LostError:
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
        if gone and not self._commands.forked:  # else the connection is the parent's
            self._subscriptions.unsubscribe(gone)

    def ask(self) -> None:
        """See `Subscriptions.ask`."""
        self._subscriptions.ask()

    async def aclose(self) -> None:
        """Close the connections; in a forked child, they are the parent's."""
        self._closed = True
        if self._commands.forked:
            return
        for task in self._tasks:
            task.cancel()
        await self._subscriptions.aclose()
        while self._tasks:
            await asyncio.wait(self._tasks)

    def _lost(self, channels: Sequence[bytes]) -> None:
        lost = [channel for channel in channels if channel in self._wanted]
        new = [channel for channel in lost if channel not in self._missing]
        self._missing.update(dict.fromkeys(lost, True))
        if new and not self._closed:
            task = asyncio.get_running_loop().create_task(self._recover(new))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _recover(self, channels: Sequence[bytes]) -> None:
        """Subscribe again, until that is done or nobody wants it; then tell where messages may be missing."""
        pause, is_logged = 0.0, False
        try:
            while wanted := [channel for channel in channels if channel in self._wanted]:
                self._missing.update(dict.fromkeys(channels, False))
                try:
                    async with asyncio.timeout(self._timeout):
                        await self._subscriptions.subscribe(wanted)
                except Exception as error:  # noqa: BLE001 - a dead connection is not always a RedisError or OSError
                    if not is_logged:
                        failure = self._commands.failure(error, wanted[0])
                        _logger.warning("no events come in, until the connection is back: %s", failure)
                        is_logged = True
                else:
                    left = [channel for channel in wanted if channel not in self._wanted]
                    if left:
                        self._subscriptions.unsubscribe(left)
                    if not any(self._missing[channel] for channel in channels):
                        if is_logged:
                            _logger.info("events come in again")
                        self._on_missed(wanted)
                        return
                await asyncio.sleep(pause * random.uniform(0.5, 1))  # noqa: S311 - no secret
                pause = min(max(2 * pause, _FIRST_PAUSE), _LONGEST_PAUSE)
        finally:
            for channel in channels:
                del self._missing[channel]
