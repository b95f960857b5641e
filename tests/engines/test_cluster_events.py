"""Events on a cluster: each room's on the master that keeps it, and no other."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from datetime import timedelta
from typing import Any, TypeVar

import pytest

from acl import PAGE, PLAIN
from event_recorder import PUBLISHING, check_another_loop, come_and_go, event, one
from redis_cluster import Cluster, node, redis_cluster, tagged
from waiting import wait_until
from wnc_store import (
    ConfigurationError,
    MessageAdded,
    MessagesCleared,
    RoomChanged,
    Snapshot,
    StoreClosedError,
    StoreError,
    StoreSettings,
    UserJoined,
)
from wnc_store_contract.factories import message, room, user
from wnc_store_redis import RedisStore

NAME = "cluster-events"


@pytest.fixture
async def store(cluster: Cluster) -> AsyncIterator[RedisStore]:
    """A store that publishes its changes, and whose connections have a name."""
    async with RedisStore.from_url(f"{cluster.url}?client_name={NAME}", PUBLISHING) as made:
        yield made


def channel(name: str) -> str:
    """Return the documented channel of a room."""
    return f"events:{tagged(name)}"


T = TypeVar("T")


def on_each(cluster: Cluster, ask: Callable[[Any], T]) -> list[T]:
    """Return what a function of a plain client returns for each master."""
    found: list[T] = []
    for master in cluster.masters:
        with node(master) as client:
            found.append(ask(client))
    return found


def listened(cluster: Cluster) -> list[set[str]]:
    """Return the channels that each master has subscribers of."""
    return on_each(cluster, lambda client: {one.decode() for one in client.execute_command("PUBSUB", "SHARDCHANNELS")})


def connections(cluster: Cluster) -> list[int]:
    """Return how many connections of `store` each master has that subscribe to channels."""
    return on_each(cluster, lambda client: [one["name"] for one in client.client_list(_type="pubsub")].count(NAME))


def calls(cluster: Cluster, command: str) -> list[int]:
    """Return how often each master ran a command."""
    name = f"cmdstat_{command}"
    return on_each(cluster, lambda client: client.info("commandstats").get(name, {"calls": 0})["calls"])


async def test_events_stay_on_their_shard(cluster: Cluster, store: RedisStore) -> None:
    """Events are published by SPUBLISH where the room is, and nothing is handed on to other masters."""
    names = [cluster.names("shard", number, 1)[0] for number in range(3)]
    for master in cluster.masters:
        master.ask("CONFIG", "RESETSTAT")
    for name in names:
        async with store.events.subscribe(name) as events:
            await store.rooms.create_room(room(name))
            await store.rooms.add_user_to_room(name, user("guest"))
            await store.events.publish(name, event(1, name))
            assert [await one(events) for _ in range(3)] == [
                RoomChanged(room_id=name),
                UserJoined(room_id=name, rev=2, user=user("guest")),
                event(1, name),
            ]
            await store.chat.add_message(message(1, name))
            assert await one(events) == MessageAdded(room_id=name, message=message(1, name))
            await store.chat.clear_messages(name)
            assert await one(events) == MessagesCleared(room_id=name)
            await store.rooms.delete_room(name)
            assert (await one(events)).room_id == name
    assert calls(cluster, "spublish") == [6, 6, 6]
    assert calls(cluster, "publish") == [0, 0, 0]
    for master in cluster.masters:
        assert b"messages_publish" not in master.ask("CLUSTER", "INFO")


async def test_a_connection_to_each_master_that_is_needed(cluster: Cluster, store: RedisStore) -> None:
    """Any number of rooms is listened to over one connection to each master that has any of them."""
    first, second = cluster.names("near", 0, 2)
    elsewhere, *_ = cluster.names("far", 1, 1)
    near = {channel(first), channel(second)}
    async with store.events.subscribe(first), store.events.subscribe(second):
        assert connections(cluster) == [1, 0, 0]
        assert listened(cluster) == [near, set(), set()]
        async with store.events.subscribe(elsewhere):
            assert connections(cluster) == [1, 1, 0]
            assert listened(cluster) == [near, {channel(elsewhere)}, set()]

        async def is_left() -> bool:
            return listened(cluster) == [near, set(), set()]

        await wait_until(is_left)


async def test_channels_have_the_documented_names(cluster: Cluster) -> None:
    """Behind a prefix a channel is `{prefix}events:`, the room's bucket in braces, a colon and the room's id."""
    settings = StoreSettings(key_prefix="app:")
    told = '{"type":"roomChanged","roomId":"A","rev":3}'
    async with RedisStore.from_url(cluster.url, settings) as store, store.events.subscribe("A") as events:
        master = cluster.masters[cluster.home("A")]
        assert master.ask("SPUBLISH", f"app:{channel('A')}", told) == b":1\r\n"
        assert await one(events) == RoomChanged(room_id="A", rev=3)


async def test_many_come_and_go(cluster: Cluster, store: RedisStore) -> None:
    """Readers that are cancelled at any moment leave no subscription behind, and disturb no other."""
    async with store.events.subscribe("stays") as events:
        await come_and_go(store, 23)
        await store.events.publish("stays", event(1, "stays"))
        assert await one(events) == event(1, "stays")

        async def is_left() -> bool:
            return set().union(*listened(cluster)) == {channel("stays")}

        await wait_until(is_left)


async def test_closing_ends_a_subscription_on_its_way(cluster: Cluster) -> None:
    """Who is still subscribing when the store is closed gets a StoreClosedError, and no connection is left."""
    name = cluster.names("closing", 0, 1)[0]
    store = RedisStore.from_url(f"{cluster.url}?client_name={NAME}")
    async with store.events.subscribe(name):
        pass
    with cluster.masters[0].paused():
        inside: Any = store._commands._router
        entering = asyncio.ensure_future(store.events.subscribe(name).__aenter__())
        await wait_until(lambda: inside._nodes[("127.0.0.1", cluster.masters[0].port)]._in_flight)
        await store.aclose()
        with pytest.raises(StoreClosedError):
            await entering

    async def is_closed() -> bool:
        return connections(cluster) == [0, 0, 0]

    await wait_until(is_closed)


async def test_closing_ends_the_search_for_a_master() -> None:
    """Who subscribes where no server answers gets a StoreClosedError when the store is closed."""
    settings = StoreSettings(operation_timeout=timedelta(hours=1))
    store = RedisStore.from_url("redis+cluster://127.0.0.1:1", settings)
    inside: Any = store._commands._router
    entering = asyncio.ensure_future(store.events.subscribe("A").__aenter__())
    await wait_until(lambda: inside._refreshing is not None and inside._refreshing.done())
    assert not entering.done()
    await store.aclose()
    with pytest.raises(StoreClosedError):
        await entering


def test_another_loop_is_refused(cluster: Cluster) -> None:
    """Subscribing on another event loop than the store's is a StoreError, and harms no reader on its own."""
    check_another_loop(RedisStore.from_url(cluster.url))


async def test_a_cluster_without_sharded_channels_is_said() -> None:
    """Where the servers have no SPUBLISH, as before Redis 7.0, events are refused, and no change is half done."""
    old = ("--rename-command", "SPUBLISH", "", "--rename-command", "SSUBSCRIBE", "")
    with redis_cluster(*old, masters=1, replicas=0) as cluster:
        async with RedisStore.from_url(cluster.url) as quiet, RedisStore.from_url(cluster.url, PUBLISHING) as loud:
            await quiet.rooms.create_room(room("A"))
            await quiet.chat.add_message(message(1, "A"))
            before = await quiet.rooms.get_room("A"), await quiet.chat.get_messages("A")
            refused: Sequence[Callable[[], Coroutine[Any, Any, object]]] = (
                lambda: loud.rooms.create_room(room("B")),
                lambda: loud.rooms.add_user_to_room("A", user("guest")),
                lambda: loud.rooms.delete_room("A"),
                lambda: loud.rooms.remove_user_from_room("A", "host"),
                lambda: loud.restore(Snapshot(room("B"), timedelta(days=1))),
                lambda: loud.chat.add_message(message(2, "A")),
                lambda: loud.chat.clear_messages("A"),
                lambda: loud.events.publish("A", event(1, "A")),
                lambda: loud.events.subscribe("A").__aenter__(),
            )
            for call in refused:
                with pytest.raises(ConfigurationError, match=r"Redis 7\.0"):
                    await call()
            assert (await quiet.rooms.get_room("A"), await quiet.chat.get_messages("A")) == before
            assert await quiet.rooms.get_room("B") is None


WORDS = "".join(re.findall(r"On a cluster, the user also\s+needs\s+`([^`]+)`", PAGE.read_text())).split()
"""What the page on permissions asks for on a cluster, besides the line."""


@pytest.mark.parametrize("without", ["", "+spublish", "+ssubscribe", "+sunsubscribe"])
async def test_the_documented_user_may_use_them(cluster: Cluster, without: str) -> None:
    """With the documented words for a cluster events work; without one of them they are refused with NOPERM."""
    granted = [word for word in WORDS if word != without]
    assert not without or len(granted) == len(WORDS) - 1
    for master in cluster.masters:
        assert master.ask("ACL", "SETUSER", *PLAIN, *granted) == b"+OK\r\n"
    password = next(word[1:] for word in PLAIN if word.startswith(">"))
    url = cluster.url.replace("://", f"://{PLAIN[0]}:{password}@")
    errors: list[StoreError] = []
    async with RedisStore.from_url(url, PUBLISHING) as store:

        async def hear() -> None:
            async with store.events.subscribe("A") as events:
                await store.events.publish("A", event(1, "A"))
                assert await one(events) == event(1, "A")

        for call in (hear, hear, lambda: store.rooms.create_room(room("A")), lambda: store.rooms.delete_room("A")):
            try:
                await call()
            except StoreError as error:
                errors.append(error)
    if without:
        assert errors
        assert all(isinstance(error, ConfigurationError) and "NOPERM" in str(error) for error in errors)
    else:
        assert errors == []
    if without == "+spublish":
        with node(cluster.masters[cluster.home("A")]) as client:
            assert not client.exists(f"room:{tagged('A')}")
    for master in cluster.masters:
        master.ask("ACL", "DELUSER", PLAIN[0])
