"""Subscriptions to the sharded channels of a cluster, on a connection that sends what the test says."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, cast

import pytest
from redis.exceptions import ResponseError

from waiting import wait_until
from wnc_store_redis.transport import pubsub as subscriber
from wnc_store_redis.transport.cluster_pubsub import ClusterPubSub
from wnc_store_redis.transport.packing import pack_command
from wnc_store_redis.transport.pubsub import PubSubConnection


class Wire:
    """A connection to a master that says what the test says, and the route to it."""

    def __init__(
        self, monkeypatch: pytest.MonkeyPatch, notifications_for_channel: Callable[[bytes], bytes] | None = None
    ) -> None:
        self.written: list[bytes] = []
        self.told: list[str] = []
        self.lost: list[Sequence[bytes]] = []
        self.refusals: list[BaseException | None] = []
        self.says: Callable[[Sequence[Any]], None] = self.told.extend
        monkeypatch.setattr(subscriber, "open_connection", self._open)
        self.sharded = ClusterPubSub(
            cast("Any", self), 5, self, self.lost.append, lambda channel: channel, notifications_for_channel
        )

    async def _open(self, _pool: object, on_replies: Any, _on_lost: object, *, pushes: bool) -> Wire:
        assert pushes
        self.says = on_replies
        return self

    async def subscribe(self) -> None:
        """Subscribe to a channel, which the master confirms."""
        self.written.clear()
        subscribing = asyncio.ensure_future(self.sharded.subscribe([b"{A}"]))

        async def is_asked() -> bool:
            return len(self.written) >= 2

        await wait_until(is_asked)
        self.says([[b"ssubscribe", b"{A}", 1], b"PONG"])
        await subscribing

    def write(self, packed: Sequence[bytes]) -> None:
        """Take a command."""
        self.written.extend(packed)

    def detach(self) -> None:
        """Discard what the master still says."""
        self.says = lambda _: None

    async def aclose(self) -> None:
        """Do nothing."""

    def on_message(self, source: PubSubConnection, channel: bytes, data: bytes) -> None:
        """Write it down, and keep the source."""
        self.source = source
        self.told.append(f"{channel.decode()} {data.decode()}")

    def on_pong(self, source: PubSubConnection) -> None:
        """Write it down, and keep the source."""
        self.source = source
        self.told.append("pong")

    async def master_of(self, _channel: bytes, _deadline: float) -> tuple[str, int]:
        """Return it."""
        return "nowhere", 1

    async def check_master(self, _key: bytes, _address: object, _deadline: float) -> None:
        """Raise the next error of `refusals`, if there is one."""
        refusal = self.refusals.pop(0) if self.refusals else None
        if refusal is not None:
            raise refusal

    def handle_error(self, _failure: Exception, _key: bytes, _address: object) -> Exception:
        """Return a permanent failure."""
        return ResponseError("ERR")

    def refresh_slots(self) -> None:
        """Do nothing."""

    def connections(self, _address: object) -> None:
        """Return nothing: the connection is this one."""


async def test_messages_in_the_packet_that_ends_a_subscription_are_received(monkeypatch: pytest.MonkeyPatch) -> None:
    """Messages in the packet in which a master ends a subscription are received before the connection is closed."""
    wire = Wire(monkeypatch)
    await wire.subscribe()
    wire.source.ping()
    wire.says([[b"smessage", b"{A}", b"1"], [b"sunsubscribe", b"{A}", 0], b"PONG"])
    assert wire.told == ["pong", "{A} 1", "pong"]
    assert wire.lost == [(b"{A}",)]
    await wire.sharded.aclose()


MOVED, DOWN = ResponseError("MOVED 1 nowhere:2"), ResponseError("CLUSTERDOWN The cluster is down")


@pytest.mark.parametrize(
    ("is_first", "error", "is_given_up"),
    [(False, MOVED, True), (False, DOWN, False), (True, MOVED, True), (True, DOWN, True)],
)
async def test_an_unconfirmed_subscription_is_undone(
    monkeypatch: pytest.MonkeyPatch, *, is_first: bool, error: Exception, is_given_up: bool
) -> None:
    """A subscription that may be at a replica is undone and reported as lost; an older one only after a move."""
    wire = Wire(monkeypatch)
    if not is_first:
        await wire.subscribe()
    wire.refusals = [None, error]
    with pytest.raises(ResponseError):
        await wire.subscribe()
    undone = [pack_command((b"SUNSUBSCRIBE", b"{A}")), pack_command((b"PING",))]
    assert (wire.written[-2:] == undone) is is_given_up
    assert wire.lost == [(b"{A}",)] * is_given_up
    wire.says([[b"sunsubscribe", b"{A}", 0], *[b"PONG"] * is_given_up])
    assert wire.lost == [(b"{A}",)]
    await wire.sharded.aclose()


async def test_a_cancelled_subscription_is_undone(monkeypatch: pytest.MonkeyPatch) -> None:
    """A caller that is cancelled between the subscription and its confirmation undoes the subscription."""
    wire = Wire(monkeypatch)
    wire.refusals = [None, asyncio.CancelledError()]
    with pytest.raises(asyncio.CancelledError):
        await wire.subscribe()
    assert wire.written[-2:] == [pack_command((b"SUNSUBSCRIBE", b"{A}")), pack_command((b"PING",))]
    await wire.sharded.aclose()


async def test_a_server_that_is_not_the_master_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that is known not to be the master gets no subscription, so no message is received twice."""
    wire = Wire(monkeypatch)
    wire.refusals = [MOVED]
    with pytest.raises(ResponseError, match="MOVED"):
        await wire.sharded.subscribe([b"{A}"])
    assert wire.written == []
    await wire.sharded.aclose()


async def test_a_subscription_after_a_rejected_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """If a server rejects the first of two subscriptions and accepts the second, the end of the second is reported."""
    wire = Wire(monkeypatch)
    calls = [asyncio.ensure_future(wire.sharded.subscribe([b"{A}"])) for _ in range(2)]
    await wait_until(lambda: len(wire.written) == 4)
    wire.says([MOVED, b"PONG", [b"ssubscribe", b"{A}", 1], b"PONG"])
    first, second = await asyncio.gather(*calls, return_exceptions=True)
    assert isinstance(first, ResponseError)
    assert second is None
    wire.says([[b"sunsubscribe", b"{A}", 0]])
    assert wire.lost == [(b"{A}",)]
    await wire.sharded.aclose()


NOTIFICATIONS = b"__keyspace@0__:{A}"


async def confirm_channel(wire: Wire) -> asyncio.Task[None]:
    """Subscribe to a channel, which the master confirms, and request its notifications. Return the subscription."""
    subscribing = asyncio.ensure_future(wire.sharded.subscribe([b"{A}"]))
    await wait_until(lambda: len(wire.written) == 2)
    wire.says([[b"ssubscribe", b"{A}", 1], b"PONG"])
    await wait_until(lambda: len(wire.written) == 4)
    assert wire.written[::2] == [pack_command((b"SSUBSCRIBE", b"{A}")), pack_command((b"SUBSCRIBE", NOTIFICATIONS))]
    return subscribing


async def subscribe_with_notifications(wire: Wire) -> None:
    """Subscribe to a channel and its notifications, which the master confirms."""
    subscribing = await confirm_channel(wire)
    wire.says([[b"subscribe", NOTIFICATIONS, 1], b"PONG"])
    await subscribing
    wire.written.clear()


async def test_notifications_end_with_the_channel(monkeypatch: pytest.MonkeyPatch) -> None:
    """When a master ends the subscription to a channel, that to its notifications ends, and their rest is dropped."""
    wire = Wire(monkeypatch, lambda channel: b"__keyspace@0__:" + channel)
    await subscribe_with_notifications(wire)
    wire.told.clear()
    wire.says([[b"message", NOTIFICATIONS, b"set"], [b"sunsubscribe", b"{A}", 0], [b"message", NOTIFICATIONS, b"del"]])
    assert wire.told == [f"{NOTIFICATIONS.decode()} set"]
    assert wire.written == [pack_command((b"UNSUBSCRIBE", NOTIFICATIONS))]
    assert wire.lost == [(b"{A}",)]
    await wire.sharded.aclose()


async def test_notifications_are_unsubscribed_with_the_channel(monkeypatch: pytest.MonkeyPatch) -> None:
    """Unsubscribing from a channel also unsubscribes from its notifications."""
    wire = Wire(monkeypatch, lambda channel: b"__keyspace@0__:" + channel)
    await subscribe_with_notifications(wire)
    wire.sharded.unsubscribe([b"{A}"])
    assert pack_command((b"SUNSUBSCRIBE", b"{A}")) in wire.written
    assert pack_command((b"UNSUBSCRIBE", NOTIFICATIONS)) in wire.written
    assert wire.lost == []
    await wire.sharded.aclose()


async def test_denied_notifications_undo_the_channel(monkeypatch: pytest.MonkeyPatch) -> None:
    """If the server denies the notifications, the subscription to the channel is undone."""
    wire = Wire(monkeypatch, lambda channel: b"__keyspace@0__:" + channel)
    subscribing = await confirm_channel(wire)
    wire.says([ResponseError("NOPERM this user has no permissions to access one of the channels"), b"PONG"])
    with pytest.raises(ResponseError, match="NOPERM"):
        await subscribing
    assert pack_command((b"SUNSUBSCRIBE", b"{A}")) in wire.written
    await wire.sharded.aclose()


async def test_notifications_that_outlive_the_channel_are_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    """If the channel ends while its notifications are being subscribed, they are unsubscribed."""
    wire = Wire(monkeypatch, lambda channel: b"__keyspace@0__:" + channel)
    subscribing = await confirm_channel(wire)
    wire.says([[b"sunsubscribe", b"{A}", 0], [b"subscribe", NOTIFICATIONS, 1], b"PONG"])
    await subscribing
    assert wire.written[-1] == pack_command((b"UNSUBSCRIBE", NOTIFICATIONS))
    assert wire.lost == [(b"{A}",)]
    await wire.sharded.aclose()
