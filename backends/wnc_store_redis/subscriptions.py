"""Reference-counted channel subscriptions that survive lost connections."""

from __future__ import annotations

import asyncio
import logging
import random
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress

from wnc_store import StoreError
from wnc_store_redis.transport.cluster_pubsub import ClusterPubSub
from wnc_store_redis.transport.executor import CommandExecutor
from wnc_store_redis.transport.pubsub import OnLost, PubSubConnection, SubscriptionLostError
from wnc_store_redis.transport.tasks import BackgroundTasks

_logger = logging.getLogger("wnc_store")

_FIRST_DELAY = 0.01
_MAX_DELAY = 2.0
"""Seconds between attempts to resubscribe. The delay doubles from the first to the maximum."""

_CHANNELS_AT_A_TIME = 256
"""Channels that are resubscribed together. With more, an attempt could exceed its time-out each time."""


class SubscriptionManager:
    """Keeps channels subscribed while they are in use, and resubscribes after a connection is lost.

    Args:
        commands: translates errors.
        timeout: how many seconds a subscription may take.
        make_pubsub: makes the subscriptions; its argument is called with the channels that a lost connection had.
        on_missed: called with channels after they were resubscribed, because messages may be missing.
    """

    def __init__(
        self,
        commands: CommandExecutor,
        timeout: float,
        make_pubsub: Callable[[OnLost], PubSubConnection | ClusterPubSub],
        on_missed: Callable[[Sequence[bytes]], None],
    ) -> None:
        self._commands = commands
        self._timeout = timeout
        self._pubsub = make_pubsub(self._on_lost)
        self._on_missed = on_missed
        self._refcounts: Counter[bytes] = Counter()
        self._resubscribing: dict[bytes, bool] = {}
        """Channel that is being resubscribed -> whether it was lost again during the current attempt."""
        self._resubscription = asyncio.Lock()
        self._tasks = BackgroundTasks()
        self._closed = False

    async def acquire(self, channels: Sequence[bytes]) -> None:
        """Subscribe to channels. Return when the server has confirmed the subscription.

        `release` must be called afterwards, also after an error or a cancellation.

        Raises:
            StoreError: the subscription failed; see `CommandExecutor.to_store_error`.
        """
        self._refcounts.update(channels)
        self._commands.running_loop()
        failure: BaseException = TimeoutError()
        try:
            async with asyncio.timeout(self._timeout):
                while True:
                    with suppress(SubscriptionLostError):
                        await self._pubsub.subscribe(channels)
                        return
                    await asyncio.sleep(_FIRST_DELAY)
        except StoreError:
            raise
        except Exception as error:  # noqa: BLE001 - a dead connection is not always a RedisError or OSError
            failure = error
        # Raised outside the handler, so that the driver's exception does not become its `__context__`.
        raise self._commands.to_store_error(failure, channels[0])

    def release(self, channels: Sequence[bytes]) -> None:
        """Undo one `acquire`. Unsubscribe from channels that are no longer in use."""
        self._refcounts.subtract(channels)
        unused = [channel for channel in channels if self._refcounts[channel] <= 0]
        for channel in unused:
            del self._refcounts[channel]
        if unused and not self._commands.forked:  # a forked child must not use the parent's connection
            self._pubsub.unsubscribe(unused)

    def is_interrupted(self, channel: bytes) -> bool:
        """Return whether a channel was lost, and `on_missed` has not been called with it yet."""
        return channel in self._resubscribing

    async def aclose(self) -> None:
        """Close the connections. In a forked child, do nothing: the connections belong to the parent."""
        self._closed = True
        if self._commands.forked:
            return
        await self._tasks.aclose()
        await self._pubsub.aclose()

    def _on_lost(self, channels: Sequence[bytes]) -> None:
        lost = [channel for channel in channels if channel in self._refcounts]
        new = [channel for channel in lost if channel not in self._resubscribing]
        self._resubscribing.update(dict.fromkeys(lost, True))
        if not self._closed:
            for start in range(0, len(new), _CHANNELS_AT_A_TIME):
                self._tasks.spawn(self._recover(new[start : start + _CHANNELS_AT_A_TIME]))

    async def _recover(self, channels: Sequence[bytes]) -> None:
        """Resubscribe until that succeeds or no channel is in use. Then report where messages may be missing."""
        delay, is_logged = 0.0, False
        try:
            while in_use := [channel for channel in channels if channel in self._refcounts]:
                self._resubscribing.update(dict.fromkeys(channels, False))
                try:
                    async with self._resubscription, asyncio.timeout(self._timeout):
                        await self._pubsub.subscribe(in_use)
                except Exception as error:  # noqa: BLE001 - a dead connection is not always a RedisError or OSError
                    if not is_logged:
                        failure = self._commands.to_store_error(error, in_use[0])
                        _logger.warning("subscriptions are interrupted, resubscribing: %s", failure)
                        is_logged = True
                else:
                    unused = [channel for channel in in_use if channel not in self._refcounts]
                    if unused:
                        self._pubsub.unsubscribe(unused)
                    if not any(self._resubscribing[channel] for channel in channels):
                        if is_logged:
                            _logger.info("subscriptions are restored")
                        self._on_missed(in_use)
                        return
                await asyncio.sleep(delay * random.uniform(0.5, 1))  # noqa: S311 - jitter needs no cryptographic randomness
                delay = min(max(2 * delay, _FIRST_DELAY), _MAX_DELAY)
        finally:
            for channel in channels:
                del self._resubscribing[channel]
