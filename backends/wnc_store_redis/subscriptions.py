"""Which channels are listened to, and how what was lost of them is found again."""

from __future__ import annotations

import asyncio
import logging
import random
from collections import Counter
from collections.abc import Callable, Sequence

from wnc_store import StoreError
from wnc_store_redis.transport.executor import CommandExecutor
from wnc_store_redis.transport.pubsub import OnLost, PubSub, SubscriptionLostError
from wnc_store_redis.transport.tasks import cancel_all

_logger = logging.getLogger("wnc_store")

_FIRST_DELAY = 0.01
_MAX_DELAY = 2.0
"""Seconds between attempts to subscribe again, each twice as long as the one before, and up to as long as that."""


class SubscriptionManager:
    """The channels that somebody listens to, as long as somebody does, whatever happens to connections.

    Args:
        commands: whose errors these are.
        timeout: how many seconds a subscription may take.
        subscribed: makes the subscriptions, which tell what they lose.
        on_missed: is told in which channels messages may be missing here, because they were not listened to.
    """

    def __init__(
        self,
        commands: CommandExecutor,
        timeout: float,
        subscribed: Callable[[OnLost], PubSub],
        on_missed: Callable[[Sequence[bytes]], None],
    ) -> None:
        self._commands = commands
        self._timeout = timeout
        self._pubsub = subscribed(self._on_lost)
        self._on_missed = on_missed
        self._refcounts: Counter[bytes] = Counter()
        self._resubscribing: dict[bytes, bool] = {}
        """What is being found again -> whether it was lost once more since that was begun."""
        self._tasks: set[asyncio.Task[None]] = set()
        self._closed = False

    async def acquire(self, channels: Sequence[bytes]) -> None:
        """Subscribe to channels; return when the server will send what is published in them from now on.

        Also after an error or a cancellation, `leave` has to be called.

        Raises:
            StoreError: it can't be done now; `CommandExecutor.to_store_error` says why.
        """
        self._refcounts.update(channels)
        self._commands.check_loop()
        failure: BaseException = TimeoutError()
        try:
            async with asyncio.timeout(self._timeout):
                while True:
                    try:
                        await self._pubsub.subscribe(channels)
                    except SubscriptionLostError:
                        await asyncio.sleep(_FIRST_DELAY)
                    else:
                        return
        except StoreError:
            raise
        except Exception as error:  # noqa: BLE001 - a dead connection is not always a RedisError or OSError
            failure = error
        # Raised outside the handler: the driver's exception would stay within reach as the context.
        raise self._commands.to_store_error(failure, channels[0])

    def release(self, channels: Sequence[bytes]) -> None:
        """Undo one `enter`; what nobody wants any more is unsubscribed from."""
        self._refcounts.subtract(channels)
        gone = [channel for channel in channels if self._refcounts[channel] <= 0]
        for channel in gone:
            del self._refcounts[channel]
        if gone and not self._commands.forked:  # else the connection is the parent's
            self._pubsub.unsubscribe(gone)

    def ping(self) -> None:
        """See `PubSub.ping`."""
        self._pubsub.ping()

    async def aclose(self) -> None:
        """Close the connections; in a forked child, they are the parent's."""
        self._closed = True
        if self._commands.forked:
            return
        for task in self._tasks:
            task.cancel()
        await self._pubsub.aclose()
        await cancel_all(self._tasks)

    def _on_lost(self, channels: Sequence[bytes]) -> None:
        lost = [channel for channel in channels if channel in self._refcounts]
        new = [channel for channel in lost if channel not in self._resubscribing]
        self._resubscribing.update(dict.fromkeys(lost, True))
        if new and not self._closed:
            task = asyncio.get_running_loop().create_task(self._recover(new))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _recover(self, channels: Sequence[bytes]) -> None:
        """Subscribe again, until that is done or nobody wants it; then tell where messages may be missing."""
        pause, is_logged = 0.0, False
        try:
            while wanted := [channel for channel in channels if channel in self._refcounts]:
                self._resubscribing.update(dict.fromkeys(channels, False))
                try:
                    async with asyncio.timeout(self._timeout):
                        await self._pubsub.subscribe(wanted)
                except Exception as error:  # noqa: BLE001 - a dead connection is not always a RedisError or OSError
                    if not is_logged:
                        failure = self._commands.to_store_error(error, wanted[0])
                        _logger.warning("no events come in, until the connection is back: %s", failure)
                        is_logged = True
                else:
                    left = [channel for channel in wanted if channel not in self._refcounts]
                    if left:
                        self._pubsub.unsubscribe(left)
                    if not any(self._resubscribing[channel] for channel in channels):
                        if is_logged:
                            _logger.info("events come in again")
                        self._on_missed(wanted)
                        return
                await asyncio.sleep(pause * random.uniform(0.5, 1))  # noqa: S311 - no secret
                pause = min(max(2 * pause, _FIRST_DELAY), _MAX_DELAY)
        finally:
            for channel in channels:
                del self._resubscribing[channel]
