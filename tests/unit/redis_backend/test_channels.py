"""Which channels are listened to, by itself: what is lost is found again, whatever else happens meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, cast

from waiting import until
from wnc_store_redis._channels import Channels


class Commands:
    """Commands that name no error."""

    forked = False

    def check_loop(self) -> None:
        """See `Commands.check_loop`."""

    def failure(self, error: BaseException, _key: bytes) -> Exception:
        """See `Commands.failure`."""
        return RuntimeError(repr(error))


class Servers:
    """Subscriptions, of which those to `hangs` never stand."""

    def __init__(self) -> None:
        self.hangs: set[bytes] = set()
        self.asked: list[Sequence[bytes]] = []
        self.standing: set[bytes] = set()

    async def subscribe(self, channels: Sequence[bytes]) -> None:
        """See `Subscriptions.subscribe`."""
        self.asked.append(channels)
        while self.hangs.intersection(channels):  # noqa: ASYNC110 - the test ends it
            await asyncio.sleep(0)
        self.standing.update(channels)

    def unsubscribe(self, channels: Sequence[bytes]) -> None:
        """See `Subscriptions.unsubscribe`."""
        self.standing.difference_update(channels)

    async def aclose(self) -> None:
        """Do nothing."""


async def test_what_is_lost_while_another_is_looked_for_is_found() -> None:
    """A channel that somebody enters, and that is lost, while another is being found again, is subscribed to again."""
    servers, missed = Servers(), list[bytes]()
    channels = Channels(cast("Any", Commands()), 0.1, lambda _: cast("Any", servers), missed.extend)
    for name in (b"c", b"d"):
        await channels.enter([name])
    servers.hangs, servers.standing = {b"d"}, set()
    channels._lost([b"c", b"d"])
    await until(lambda: servers.asked[-1:] == [[b"c", b"d"]])
    channels.leave([b"c"])
    await until(lambda: servers.asked[-1:] == [[b"d"]])
    await channels.enter([b"c"])
    servers.standing.discard(b"c")
    channels._lost([b"c"])
    servers.hangs = set()
    await until(lambda: servers.standing == {b"c", b"d"} and {b"c", b"d"} <= set(missed))
    await channels.aclose()
