"""Tests of the subscription manager."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, cast

from virtual_time import idle, pass_time
from wnc_store_redis.subscriptions import SubscriptionManager
from wnc_store_redis.transport.pubsub import OnLost, PubSubConnection


class FakeExecutor:
    """An executor that translates errors into RuntimeErrors."""

    forked = False

    def running_loop(self) -> asyncio.AbstractEventLoop:
        """See `CommandExecutor.running_loop`."""
        return asyncio.get_running_loop()

    def to_store_error(self, error: BaseException, _key: bytes) -> Exception:
        """See `CommandExecutor.to_store_error`."""
        return RuntimeError(repr(error))


class FakePubSub:
    """Subscriptions without a server.

    Attributes:
        hanging: channels whose subscription is never confirmed.
        requested: the channels of each call of `subscribe`.
        confirmed: the subscribed channels.
    """

    def __init__(self) -> None:
        self.hanging: set[bytes] = set()
        self.requested: list[Sequence[bytes]] = []
        self.confirmed: set[bytes] = set()
        self.on_lost: OnLost = lambda _: None

    def open(self, on_lost: OnLost) -> PubSubConnection:
        """Register the callback and return this object."""
        self.on_lost = on_lost
        return cast("PubSubConnection", self)

    def lose(self, *channels: bytes) -> None:
        """End subscriptions as a lost connection does."""
        self.confirmed.difference_update(channels)
        self.on_lost(channels)

    async def subscribe(self, channels: Sequence[bytes]) -> None:
        """See `PubSubConnection.subscribe`."""
        self.requested.append(channels)
        if self.hanging.intersection(channels):
            await asyncio.Event().wait()
        self.confirmed.update(channels)

    def unsubscribe(self, channels: Sequence[bytes]) -> None:
        """See `PubSubConnection.unsubscribe`."""
        self.confirmed.difference_update(channels)

    async def aclose(self) -> None:
        """Do nothing."""


async def test_a_channel_lost_while_another_is_resubscribed_is_resubscribed() -> None:
    """A channel that is acquired and lost while another one is being resubscribed is resubscribed, too."""
    pubsub, missed = FakePubSub(), list[bytes]()
    manager = SubscriptionManager(cast("Any", FakeExecutor()), 1, pubsub.open, missed.extend)
    for name in (b"c", b"d"):
        await manager.acquire([name])
    pubsub.hanging = {b"d"}
    pubsub.lose(b"c", b"d")
    await idle()
    assert pubsub.requested[2:] == [[b"c", b"d"]]
    manager.release([b"c"])
    await pass_time(1.1)  # the attempt times out
    assert pubsub.requested[3:] == [[b"d"]]
    await manager.acquire([b"c"])
    pubsub.lose(b"c")
    pubsub.hanging = set()
    await pass_time(3)
    assert pubsub.confirmed == {b"c", b"d"}
    assert {b"c", b"d"} <= set(missed)
    await manager.aclose()


async def test_many_channels_are_resubscribed_in_parts() -> None:
    """Attempts to resubscribe name at most 256 channels, so that each of them can end before its time-out."""
    pubsub, missed = FakePubSub(), list[bytes]()
    manager = SubscriptionManager(cast("Any", FakeExecutor()), 1, pubsub.open, missed.extend)
    channels = [b"%d" % number for number in range(600)]
    await manager.acquire(channels)
    pubsub.lose(*channels)
    await idle()
    assert [len(part) for part in pubsub.requested[1:]] == [256, 256, 88]
    assert pubsub.confirmed == set(channels)
    assert sorted(missed) == sorted(channels)
    await manager.aclose()
