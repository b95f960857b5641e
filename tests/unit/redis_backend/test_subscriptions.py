"""Which channels are listened to, by itself: what is lost is found again, whatever else happens meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, cast

from virtual_time import idle, pass_time
from wnc_store_redis.subscriptions import SubscriptionManager
from wnc_store_redis.transport.pubsub import OnLost, PubSub


class Commands:
    """Commands that name no error."""

    forked = False

    def check_loop(self) -> None:
        """See `CommandExecutor.check_loop`."""

    def to_store_error(self, error: BaseException, _key: bytes) -> Exception:
        """See `CommandExecutor.to_store_error`."""
        return RuntimeError(repr(error))


class Servers:
    """Subscriptions, of which those to `hangs` never stand."""

    def __init__(self) -> None:
        self.hangs: set[bytes] = set()
        self.asked: list[Sequence[bytes]] = []
        self.standing: set[bytes] = set()
        self.on_lost: OnLost = lambda _: None

    def opened(self, on_lost: OnLost) -> PubSub:
        """Return these subscriptions."""
        self.on_lost = on_lost
        return cast("PubSub", self)

    def lose(self, *channels: bytes) -> None:
        """End subscriptions that nobody asked to end."""
        self.standing.difference_update(channels)
        self.on_lost(channels)

    async def subscribe(self, channels: Sequence[bytes]) -> None:
        """See `PubSub.subscribe`."""
        self.asked.append(channels)
        if self.hangs.intersection(channels):
            await asyncio.Event().wait()
        self.standing.update(channels)

    def unsubscribe(self, channels: Sequence[bytes]) -> None:
        """See `PubSub.unsubscribe`."""
        self.standing.difference_update(channels)

    async def aclose(self) -> None:
        """Do nothing."""


async def test_what_is_lost_while_another_is_looked_for_is_found() -> None:
    """A channel that somebody enters, and that is lost, while another is being found again, is subscribed to again."""
    servers, missed = Servers(), list[bytes]()
    channels = SubscriptionManager(cast("Any", Commands()), 1, servers.opened, missed.extend)
    for name in (b"c", b"d"):
        await channels.acquire([name])
    servers.hangs = {b"d"}
    servers.lose(b"c", b"d")
    await idle()
    assert servers.asked[2:] == [[b"c", b"d"]]
    channels.release([b"c"])
    await pass_time(1.1)  # that attempt has had its time
    assert servers.asked[3:] == [[b"d"]]
    await channels.acquire([b"c"])
    servers.lose(b"c")
    servers.hangs = set()
    await pass_time(3)
    assert servers.standing == {b"c", b"d"}
    assert {b"c", b"d"} <= set(missed)
    await channels.aclose()
