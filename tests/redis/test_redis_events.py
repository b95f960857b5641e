"""Events on Redis: the connection they come over, what it subscribes to, and what is told when it is lost."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Any
from unittest.mock import Mock

import pytest
from redis.asyncio import Redis

from event_recorder import come_and_go, event, one
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
    StoreError,
    StoreSettings,
    StoreUnavailableError,
    UserJoined,
)
from wnc_store_contract.factories import room, user
from wnc_store_redis import RedisStore
from wnc_store_redis.transport.pubsub import PubSubConnection

LOST_REPLY = Cut("reply", 0)
PUBLISHING = StoreSettings(publish_changes=True)
SECONDS_BETWEEN_SIGNS = StoreSettings().operation_timeout.total_seconds()


async def subscribed(client: Any) -> list[bytes]:
    """Return the channels that the server has subscribers of."""
    return sorted(await client.pubsub_channels("*events@2:*"))


async def test_all_rooms_share_one_connection(url: str, client: Any) -> None:
    """A store subscribes to any number of rooms over one connection, which it opens with the first of them."""
    async with RedisStore.from_url(f"{url}?client_name=one-connection") as store:
        await store.ping()

        async def connections() -> int:
            return [one["name"] for one in await client.client_list(_type="pubsub")].count("one-connection")

        assert await connections() == 0
        async with store.events.subscribe("A"), store.events.subscribe("B"), store.events.subscribe("A"):
            assert await subscribed(client) == [b"events@2:A", b"events@2:B"]
            assert await connections() == 1

    async def is_closed() -> bool:
        return not await connections()

    await wait_until(is_closed)


async def test_a_room_nobody_reads_is_unsubscribed_from(url: str, client: Any) -> None:
    """When the last reader of a room leaves, the server sends no more of it; as long as one reads, it does."""
    async with RedisStore.from_url(url) as store, store.events.subscribe("A"):
        async with store.events.subscribe("A"), store.events.subscribe("B"):
            pass
        async with store.events.subscribe("C"):  # by the time that this stands, what was sent before is done
            assert await subscribed(client) == [b"events@2:A", b"events@2:C"]


async def test_databases_hear_nothing_of_one_another(redis_server: RedisServer) -> None:
    """Stores on two databases of one server do not hear each other, though its channels are the same in both."""
    zero, other = (RedisStore.from_url(redis_server.url.replace("/0", f"/{number}")) for number in (0, 11))
    async with zero, other, zero.events.subscribe("A") as events:
        await other.events.publish("A", event(1))
        await zero.events.publish("A", event(2))
        assert await one(events) == event(2)


async def test_a_channel_has_the_documented_name(redis_server: RedisServer) -> None:
    """In database 0, and behind a prefix, the channel is `{prefix}events:{room_id}`, and holds the event's JSON."""
    plain: Any = Redis.from_url(redis_server.url)  # pyright: ignore[reportUnknownMemberType]
    async with plain as client, RedisStore.from_url(redis_server.url, StoreSettings(key_prefix="app:")) as store:
        async with store.events.subscribe("A") as events:
            await client.publish("app:events:A", '{"type":"roomChanged","roomId":"A","rev":3}')
            assert await one(events) == RoomChanged(room_id="A", rev=3)


async def test_without_the_setting_nothing_is_sent(url: str, client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without publish_changes no command that a store sends names a channel."""
    assert client
    async with RedisStore.from_url(url) as store:
        commands: Any = store._commands
        multiplexer = commands._router._node._writes
        submit, sent = multiplexer.submit, bytearray()

        def record(packed: bytes, deadline: float) -> Any:
            sent.extend(packed)
            return submit(packed, deadline)

        monkeypatch.setattr(multiplexer, "submit", record)
        await store.rooms.create_room(room("A"))
        await store.rooms.add_user_to_room("A", user("guest"))
        await store.chat.clear_messages("A")
        await store.rooms.delete_room("A")
    assert b"guest" in sent
    assert b"events@2" not in sent


async def test_what_is_no_event_is_left_out(
    redis_server: RedisServer, url: str, caplog: pytest.LogCaptureFixture
) -> None:
    """What others publish that is no event, or another room's, is left out, and logged once without what it holds."""
    plain: Any = Redis.from_url(redis_server.url)  # pyright: ignore[reportUnknownMemberType]
    bad = [b"SECRET", b"\xff", b'{"type":"SECRET","roomId":"A"}', b'{"type":"resync","roomId":"B"}', b"[" * 5000]
    async with plain as client, RedisStore.from_url(url) as store:
        async with store.events.subscribe("A") as events:
            with caplog.at_level(logging.WARNING, logger="wnc_store"):
                for data in [*bad, *bad]:
                    await client.publish("events@2:A", data)
                await client.publish("events@2:A", b'{"type":"appEvent","roomId":"A","name":"number","value":1}')
                assert await one(events) == event(1)
    assert len(caplog.records) == len(bad)
    assert "events@2:A" in caplog.text
    assert "SECRET" not in caplog.text


async def test_a_restart_is_told(caplog: pytest.LogCaptureFixture) -> None:
    """While the server is away, readers wait, one warning is logged, and subscribing raises; then a Resync comes."""
    port = free_port()
    async with RedisStore.from_url(f"redis://127.0.0.1:{port}") as store:
        with redis_server(port=port):
            reading = store.events.subscribe("A")
            events = await reading.__aenter__()
        with caplog.at_level(logging.INFO, logger="wnc_store"):
            await wait_until(lambda: "subscriptions are interrupted" in caplog.text)
            with pytest.raises(StoreUnavailableError, match=str(port)):
                await store.events.subscribe("B").__aenter__()
            with redis_server(port=port):
                assert await one(events) == Resync(room_id="A")
                await store.events.publish("A", event(1))
                assert await one(events) == event(1)
                await reading.__aexit__(None, None, None)
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]


async def test_nobody_waits_for_a_server_in_vain(caplog: pytest.LogCaptureFixture) -> None:
    """A subscription that failed leaves nothing behind that goes on trying, nor does a loss when nobody reads."""
    port = free_port()
    async with RedisStore.from_url(f"redis://127.0.0.1:{port}") as store:
        with pytest.raises(StoreUnavailableError):
            await store.events.subscribe("A").__aenter__()
        with redis_server(port=port):
            async with store.events.subscribe("A"):
                pass
            inside: Any = store._events._subscriptions
            assert inside._pubsub._connection is not None
        await wait_until(lambda: inside._pubsub._connection is None and not inside._tasks)
        assert not inside._refcounts
    assert caplog.text == ""


async def test_a_dead_connection_is_no_silence(redis_server: RedisServer, proxy: Proxy) -> None:
    """A connection over which nothing comes any more, not even a sign of life, is given up for another."""
    async with RedisStore.from_url(redis_server.url) as other, RedisStore.from_url(proxy.url) as store:
        async with store.events.subscribe("A") as events:
            proxy.close_hole()
            await other.events.publish("A", event(1))
            advance_loop(SECONDS_BETWEEN_SIGNS)
            await wait_until(lambda: proxy.held["request"])
            advance_loop(SECONDS_BETWEEN_SIGNS)
            await wait_until(lambda: proxy.connections == 2)
            proxy.open_hole()
            assert await one(events) == Resync(room_id="A")
            await other.events.publish("A", event(2))
            assert await one(events) == event(2)


async def test_a_quiet_connection_is_kept(client: Any) -> None:
    """A connection that is silent because nothing happens answers the question for a sign of life, and stays."""
    ear, lost = Mock(), Mock()
    subscriber = PubSubConnection(client.connection_pool, SECONDS_BETWEEN_SIGNS, ear, lost)
    await subscriber.subscribe([b"quiet"])
    for _ in range(3):
        ear.on_pong.reset_mock()
        advance_loop(SECONDS_BETWEEN_SIGNS)
        await wait_until(lambda: ear.on_pong.called)
    await subscriber.aclose()
    assert not lost.called


async def test_a_commit_that_is_repeated_is_told_once(redis_server: RedisServer, proxy: Proxy) -> None:
    """A commit, and a creation, whose answer was lost is found to have happened, and was told once."""
    url = redis_server.url
    async with RedisStore.from_url(url) as other, RedisStore.from_url(proxy.url, PUBLISHING) as store:
        await other.rooms.delete_room("A")
        await other.rooms.create_room(room("A"))  # so that the server knows the scripts
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
    assert not proxy.cut_pending


async def test_an_event_is_never_published_twice(redis_server: RedisServer, proxy: Proxy) -> None:
    """An event whose answer was lost is an OutcomeUnknownError, and is not published again."""
    async with RedisStore.from_url(redis_server.url) as other, RedisStore.from_url(proxy.url) as store:
        async with other.events.subscribe("A") as events:
            await store.ping()
            proxy.arm(LOST_REPLY)
            with pytest.raises(OutcomeUnknownError):
                await store.events.publish("A", event(1))
            await other.events.publish("A", event(2))
            assert [await one(events) for _ in range(2)] == [event(1), event(2)]


async def test_a_subscription_survives_a_cut_on_the_way(redis_server: RedisServer, proxy: Proxy) -> None:
    """Who subscribes over a connection that is lost before the answer is subscribed over the next one."""
    async with RedisStore.from_url(redis_server.url) as other, RedisStore.from_url(proxy.url) as store:
        async with store.events.subscribe("A"):
            proxy.arm(LOST_REPLY)
            async with store.events.subscribe("B") as events:
                await other.events.publish("B", event(1, "B"))
                on_message = [await one(events)]
                while isinstance(on_message[-1], Resync):
                    on_message.append(await one(events))
                assert on_message[-1] == event(1, "B")
    assert not proxy.cut_pending


async def test_closing_ends_a_subscription_on_its_way(proxy: Proxy) -> None:
    """Who is still subscribing when the store is closed gets a StoreClosedError, and is not cancelled."""
    for is_connected in (True, False):
        store = RedisStore.from_url(proxy.url)
        if is_connected:
            async with store.events.subscribe("B"):
                pass
        proxy.close_hole()
        proxy.held.clear()
        entering = asyncio.ensure_future(store.events.subscribe("A").__aenter__())
        await wait_until(lambda: proxy.held["request"])
        await store.aclose()
        with pytest.raises(StoreClosedError):
            await entering
        proxy.open_hole()


@pytest.mark.parametrize("steps", range(4))
async def test_closing_ends_a_subscription_at_its_beginning(url: str, steps: int) -> None:
    """Who is about to subscribe when the store is closed is told so at once, however far the attempt had come."""
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


async def test_many_come_and_go(url: str, client: Any) -> None:
    """Readers that are cancelled at any moment leave no subscription behind, and disturb no other."""
    async with RedisStore.from_url(url) as store:
        async with store.events.subscribe("stays") as events:
            await come_and_go(store, 11)
            await store.events.publish("stays", event(1, "stays"))
            assert await one(events) == event(1, "stays")
            async with store.events.subscribe("last"):
                assert await subscribed(client) == [b"events@2:last", b"events@2:stays"]


async def test_a_pool_without_a_second_connection_says_so(url: str) -> None:
    """Events need one more connection of the caller's pool; where it has none, the error says so."""
    plain: Any = Redis.from_url(url, max_connections=1)  # pyright: ignore[reportUnknownMemberType]
    async with plain as client, RedisStore(client) as store:
        await store.ping()
        with pytest.raises(StoreUnavailableError, match="max_connections"):
            await store.events.subscribe("A").__aenter__()


async def test_a_refused_channel_is_named(redis_server: RedisServer) -> None:
    """A user who may not subscribe gets a ConfigurationError that names the channel and NOPERM."""
    plain: Any = Redis.from_url(redis_server.url)  # pyright: ignore[reportUnknownMemberType]
    async with plain as client:
        await client.execute_command("ACL", "SETUSER", "deaf", "on", ">pw", "~*", "+@all", "resetchannels")
        async with RedisStore.from_url(redis_server.url.replace("://", "://deaf:pw@")) as store:
            with pytest.raises(ConfigurationError, match=r"'events:A'.*NOPERM"):
                await store.events.subscribe("A").__aenter__()
        await client.execute_command("ACL", "DELUSER", "deaf")


def test_another_loop_is_refused(url: str) -> None:
    """Subscribing on another event loop than the store's is a StoreError, and harms no reader on its own."""
    store = RedisStore.from_url(url)
    with asyncio.Runner() as runner, asyncio.Runner() as elsewhere:
        reading = store.events.subscribe("A")
        events = runner.run(reading.__aenter__())
        with pytest.raises(StoreError, match="another event loop"):
            elsewhere.run(store.events.subscribe("A").__aenter__())
        runner.run(store.events.publish("A", event(1)))
        assert runner.run(one(events)) == event(1)
        runner.run(reading.__aexit__(None, None, None))
        runner.run(store.aclose())


async def test_what_was_on_its_way_to_another_is_not_heard(url: str) -> None:
    """Who subscribes while events are on their way to somebody who has left hears only what comes after."""
    async with RedisStore.from_url(url) as store:
        async with store.events.subscribe("A"):
            ear: Any = store.events
            taking: Any = ear._subscriptions._pubsub
            held: list[Sequence[Any]] = []
            taking._connection._on_replies = held.append
            await store.events.publish("A", event(1))
            await wait_until(lambda: bool(held))
        reading = store.events.subscribe("A")
        entering = asyncio.ensure_future(reading.__aenter__())
        await wait_until(lambda: len(taking._barriers) == 1)
        taking._connection._on_replies = taking._on_replies
        for replies in held:
            taking._on_replies(replies)
        events = await entering
        await store.events.publish("A", event(2))
        assert await one(events) == event(2)
        await reading.__aexit__(None, None, None)
