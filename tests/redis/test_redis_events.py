"""Tests of events on Redis: channels, subscription connections, and lost connections."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from datetime import timedelta
from typing import Any
from unittest.mock import Mock

import pytest

from chaos.server import admin
from event_recorder import check_another_loop, come_and_go, event, one
from loop_clock import advance_loop
from proxy import Cut, Proxy
from redis_server import RedisServer, free_port, redis_server
from waiting import SECONDS, wait_until
from wnc_store import (
    ConfigurationError,
    OutcomeUnknownError,
    Resync,
    RoomChanged,
    StoreClosedError,
    StoreSettings,
    StoreUnavailableError,
    UserJoined,
)
from wnc_store_contract.factories import room, user
from wnc_store_redis import RedisStore
from wnc_store_redis.transport.pubsub import PubSubConnection

LOST_REPLY = Cut("reply", 0)
PATIENT = StoreSettings(publish_changes=True, operation_timeout=timedelta(hours=1))
HEARTBEAT_SECONDS = StoreSettings().operation_timeout.total_seconds()


async def subscribed(client: Any) -> list[bytes]:
    """Return the channels that have subscribers."""
    return sorted(await client.pubsub_channels("*events@2:*"))


async def test_all_rooms_share_one_connection(url: str, client: Any) -> None:
    """A store subscribes to any number of rooms over one connection, which the first subscription opens."""
    async with RedisStore.from_url(f"{url}?client_name=one-connection") as store:
        await store.ping()

        async def connections() -> int:
            return [connection["name"] for connection in await client.client_list(_type="pubsub")].count(
                "one-connection"
            )

        assert await connections() == 0
        async with store.events.subscribe("A"), store.events.subscribe("B"), store.events.subscribe("A"):
            assert await subscribed(client) == [b"events@2:A", b"events@2:B"]
            assert await connections() == 1

    async def is_closed() -> bool:
        return not await connections()

    await wait_until(is_closed)


async def test_a_room_without_subscribers_is_unsubscribed(url: str, client: Any) -> None:
    """The store unsubscribes from a room when its last subscriber leaves, and not before."""
    async with RedisStore.from_url(url) as store, store.events.subscribe("A"):
        async with store.events.subscribe("A"), store.events.subscribe("B"):
            pass
        async with store.events.subscribe("C"):  # the server executes the unsubscription first
            assert await subscribed(client) == [b"events@2:A", b"events@2:C"]


async def test_databases_do_not_share_events(redis_server: RedisServer) -> None:
    """Stores on two databases do not receive each other's events, although databases share channels."""
    zero, other = (RedisStore.from_url(redis_server.url.replace("/0", f"/{number}")) for number in (0, 11))
    async with zero, other, zero.events.subscribe("A") as events:
        await other.events.publish("A", event(1))
        await zero.events.publish("A", event(2))
        assert await one(events) == event(2)


async def test_a_channel_has_the_documented_name(redis_server: RedisServer) -> None:
    """The channel in database 0 is `{prefix}events:{room_id}`, and a message is the JSON of the event."""
    settings = StoreSettings(key_prefix="app:")
    async with admin(redis_server.url) as client, RedisStore.from_url(redis_server.url, settings) as store:
        async with store.events.subscribe("A") as events:
            await client.publish("app:events:A", '{"type":"roomChanged","roomId":"A","rev":3}')
            assert await one(events) == RoomChanged(room_id="A", rev=3)


async def test_invalid_messages_are_ignored(
    redis_server: RedisServer, url: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Messages that are not events of the room are ignored, and logged once without their content."""
    invalid = [b"SECRET", b"\xff", b'{"type":"SECRET","roomId":"A"}', b'{"type":"resync","roomId":"B"}', b"[" * 5000]
    async with admin(redis_server.url) as client, RedisStore.from_url(url) as store:
        async with store.events.subscribe("A") as events:
            with caplog.at_level(logging.WARNING, logger="wnc_store"):
                for data in [*invalid, *invalid]:
                    await client.publish("events@2:A", data)
                await client.publish("events@2:A", b'{"type":"appEvent","roomId":"A","name":"number","value":1}')
                assert await one(events) == event(1)
    assert len(caplog.records) == len(invalid)
    assert "events@2:A" in caplog.text
    assert "SECRET" not in caplog.text


async def test_a_restart_leads_to_a_resync(caplog: pytest.LogCaptureFixture) -> None:
    """While the server is down, one warning is logged and new subscriptions fail; after a restart a Resync arrives."""
    port = free_port()
    async with RedisStore.from_url(f"redis://127.0.0.1:{port}") as store:
        with redis_server(port=port):
            subscription = store.events.subscribe("A")
            events = await subscription.__aenter__()
        with caplog.at_level(logging.INFO, logger="wnc_store"):
            await wait_until(lambda: "subscriptions are interrupted" in caplog.text)
            with pytest.raises(StoreUnavailableError, match=str(port)):
                await store.events.subscribe("B").__aenter__()
            with redis_server(port=port):
                assert await one(events) == Resync(room_id="A")
                await store.events.publish("A", event(1))
                assert await one(events) == event(1)
                await subscription.__aexit__(None, None, None)
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]


async def test_an_unused_subscription_is_not_retried(caplog: pytest.LogCaptureFixture) -> None:
    """After a failed subscription, or a lost connection without subscribers, no task retries."""
    port = free_port()
    async with RedisStore.from_url(f"redis://127.0.0.1:{port}") as store:
        with pytest.raises(StoreUnavailableError):
            await store.events.subscribe("A").__aenter__()
        with redis_server(port=port):
            async with store.events.subscribe("A"):
                pass
            manager: Any = store._events._subscriptions
            assert manager._pubsub._supervisor.connection is not None
        await wait_until(lambda: manager._pubsub._supervisor.connection is None and not manager._resubscribing)
        assert not manager._refcounts
    assert caplog.text == ""


async def test_a_dead_connection_is_replaced(redis_server: RedisServer, proxy: Proxy) -> None:
    """A connection that does not reply to a heartbeat is replaced."""
    async with RedisStore.from_url(redis_server.url) as other, RedisStore.from_url(proxy.url) as store:
        async with store.events.subscribe("A") as events:
            proxy.close_hole()
            await other.events.publish("A", event(1))
            advance_loop(HEARTBEAT_SECONDS)
            await wait_until(lambda: proxy.held["request"])
            advance_loop(HEARTBEAT_SECONDS)
            await wait_until(lambda: proxy.connections == 2)
            proxy.open_hole()
            assert await one(events) == Resync(room_id="A")
            await other.events.publish("A", event(2))
            assert await one(events) == event(2)


async def test_a_quiet_connection_is_kept(client: Any) -> None:
    """A connection without messages that replies to heartbeats is kept."""
    handler, on_lost = Mock(), Mock()
    pubsub = PubSubConnection(client.connection_pool, HEARTBEAT_SECONDS, handler, on_lost)
    await pubsub.subscribe([b"quiet"])
    for _ in range(3):
        handler.on_pong.reset_mock()
        advance_loop(HEARTBEAT_SECONDS)
        await wait_until(lambda: handler.on_pong.called)
    await pubsub.aclose()
    assert not on_lost.called


async def test_a_retried_commit_is_published_once(redis_server: RedisServer, proxy: Proxy) -> None:
    """The events of a commit or a creation whose reply was lost are published once."""
    url = redis_server.url
    async with RedisStore.from_url(url) as other, RedisStore.from_url(proxy.url, PATIENT) as store:
        await other.rooms.delete_room("A")
        await other.rooms.create_room(room("A"))  # loads the scripts
        await other.rooms.delete_room("A")
        async with other.events.subscribe("A") as events:
            await store.ping()
            proxy.arm(LOST_REPLY)
            await store.rooms.create_room(room("A"))
            assert not proxy.cut_pending
            proxy.arm(LOST_REPLY)
            await store.rooms.add_user_to_room("A", user("guest"))
            await other.events.publish("A", event(1))
            assert [await one(events) for _ in range(3)] == [
                RoomChanged(room_id="A"),
                UserJoined(room_id="A", rev=2, user=user("guest")),
                event(1),
            ]
            await store.rooms.delete_room("A")
    assert store.statistics()["retries"] >= 2


async def test_publishing_an_event_is_not_retried(redis_server: RedisServer, proxy: Proxy) -> None:
    """If the reply to a publication is lost, an OutcomeUnknownError is raised, and the event is not published again."""
    async with RedisStore.from_url(redis_server.url) as other, RedisStore.from_url(proxy.url, PATIENT) as store:
        async with other.events.subscribe("A") as events:
            await store.ping()
            proxy.arm(LOST_REPLY)
            with pytest.raises(OutcomeUnknownError):
                await store.events.publish("A", event(1))
            await other.events.publish("A", event(2))
            assert [await one(events) for _ in range(2)] == [event(1), event(2)]


async def test_a_subscription_survives_a_lost_connection(redis_server: RedisServer, proxy: Proxy) -> None:
    """A subscription whose connection is lost before its confirmation uses the next connection."""
    async with RedisStore.from_url(redis_server.url) as other, RedisStore.from_url(proxy.url, PATIENT) as store:
        async with store.events.subscribe("A"):
            proxy.arm(LOST_REPLY)
            async with store.events.subscribe("B") as events:
                await other.events.publish("B", event(1, "B"))
                received = await one(events)
                while isinstance(received, Resync):
                    received = await one(events)
                assert received == event(1, "B")
    assert not proxy.cut_pending


async def test_closing_fails_a_pending_subscription(proxy: Proxy) -> None:
    """A subscription that is pending when the store is closed raises StoreClosedError; its caller is not cancelled."""
    for is_connected in (True, False):
        store = RedisStore.from_url(proxy.url)
        if is_connected:
            async with store.events.subscribe("B"):
                pass
        proxy.close_hole()
        proxy.held.clear()
        subscribing = asyncio.ensure_future(store.events.subscribe("A").__aenter__())
        await wait_until(lambda: proxy.held["request"])
        await store.aclose()
        with pytest.raises(StoreClosedError):
            await subscribing
        proxy.open_hole()


@pytest.mark.parametrize("steps", range(4))
async def test_closing_fails_a_subscription_at_every_step(url: str, steps: int) -> None:
    """A subscription raises StoreClosedError at whichever of its first steps the store is closed."""
    store = RedisStore.from_url(url)

    async def read() -> None:
        async with store.events.subscribe("A"):
            pass

    reading = asyncio.ensure_future(read())
    for _ in range(steps):
        await asyncio.sleep(0)
    await store.aclose()
    async with asyncio.timeout(SECONDS):
        with pytest.raises(StoreClosedError):
            await reading


async def test_cancelled_subscribers_leave_no_subscription(url: str, client: Any) -> None:
    """Subscribers that are cancelled at any step leave no subscription, and do not affect others."""
    async with RedisStore.from_url(url) as store:
        async with store.events.subscribe("stays") as events:
            await come_and_go(store, 11)
            await store.events.publish("stays", event(1, "stays"))
            assert await one(events) == event(1, "stays")
            async with store.events.subscribe("last"):
                assert await subscribed(client) == [b"events@2:last", b"events@2:stays"]


async def test_a_denied_channel_is_named(redis_server: RedisServer) -> None:
    """A user without access to a channel gets a ConfigurationError that names the channel and NOPERM."""
    async with admin(redis_server.url) as client:
        await client.execute_command("ACL", "SETUSER", "unsubscribable", "on", ">pw", "~*", "+@all", "resetchannels")
        async with RedisStore.from_url(redis_server.url.replace("://", "://unsubscribable:pw@")) as store:
            with pytest.raises(ConfigurationError, match=r"'events:A'.*NOPERM"):
                await store.events.subscribe("A").__aenter__()
        await client.execute_command("ACL", "DELUSER", "unsubscribable")


def test_another_event_loop_is_rejected(url: str) -> None:
    """Subscribing in another event loop raises a StoreError, and does not affect other subscribers."""
    check_another_loop(RedisStore.from_url(url))


async def test_earlier_messages_are_not_delivered_to_a_new_subscriber(url: str) -> None:
    """A new subscriber does not receive events that were published for an earlier subscriber and arrive late."""
    async with RedisStore.from_url(url) as store:
        async with store.events.subscribe("A"):
            untyped: Any = store.events
            pubsub: Any = untyped._subscriptions._pubsub
            delayed: list[Sequence[Any]] = []
            pubsub._supervisor.connection.on_replies = delayed.append
            await store.events.publish("A", event(1))
            await wait_until(lambda: bool(delayed))
        subscription = store.events.subscribe("A")
        subscribing = asyncio.ensure_future(subscription.__aenter__())
        await wait_until(lambda: len(pubsub._barriers) == 1)
        pubsub._supervisor.connection.on_replies = pubsub._on_replies
        for replies in delayed:
            pubsub._on_replies(replies)
        events = await subscribing
        await store.events.publish("A", event(2))
        assert await one(events) == event(2)
        await subscription.__aexit__(None, None, None)


async def test_no_event_precedes_the_resync_of_its_gap(
    url: str, client: Any, store: RedisStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a lost connection, a subscriber receives a Resync first, even if events arrive with the confirmation."""
    subscribe = PubSubConnection.subscribe

    async def subscribe_and_publish(self: PubSubConnection, channels: Sequence[bytes]) -> None:
        await subscribe(self, channels)
        await store.events.publish("A", event(1))
        await subscribe(self, channels)  # the server confirms it after it has sent the event

    async with RedisStore.from_url(url) as reader, reader.events.subscribe("A") as events:
        monkeypatch.setattr(PubSubConnection, "subscribe", subscribe_and_publish)
        await client.client_kill_filter(_type="pubsub")
        assert await one(events) == Resync(room_id="A")
        await store.events.publish("A", event(2))
        assert await one(events) == event(2)
