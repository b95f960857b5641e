"""Tests of notifications about external changes on a cluster."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from acl import PLAIN
from event_recorder import EXTERNAL, drain, one, other_than
from redis_cluster import Cluster, begin_migration, redis_cluster, set_owner, slot_of, tagged
from waiting import wait_until
from wnc_store import AppEvent, HealthCheck, Resync, RoomChanged, RoomClosed, RoomEvent, StoreSettings, to_wire
from wnc_store_contract.factories import message, room, user
from wnc_store_contract.redis_client import open_client
from wnc_store_redis import RedisStore


@pytest.fixture(scope="module", name="cluster")
def _cluster() -> Iterator[Cluster]:
    """Three masters with keyspace notifications."""
    with redis_cluster(replicas=0) as cluster:
        cluster.enable_notifications()
        yield cluster


@pytest.fixture
async def store(cluster: Cluster) -> AsyncIterator[RedisStore]:
    """A store that publishes its changes and detects external changes."""
    async with RedisStore.from_url(cluster.url, EXTERNAL) as store:
        yield store


@pytest.fixture
async def client(cluster: Cluster) -> AsyncIterator[Any]:
    """A plain redis-py client of the cluster."""
    async with open_client(cluster.url) as client:
        yield client


def key(name: str) -> str:
    """Return the documented key of a room."""
    return f"room:{tagged(name)}"


async def test_external_changes_are_published(cluster: Cluster, store: RedisStore, client: Any) -> None:
    """An external SET arrives as RoomChanged, a DEL as Resync and an expired TTL as RoomClosed, on every master."""
    for number in range(3):
        name = cluster.names("external", number, 1)[0]
        async with store.events.subscribe(name) as events:
            await client.set(key(name), to_wire(room(name)))
            await client.delete(key(name))
            assert await drain(store, name, events) == [RoomChanged(room_id=name), Resync(room_id=name)]
            await client.set(key(name), to_wire(room(name)))
            await client.pexpire(key(name), 1)

            async def is_gone(name: str = name) -> bool:
                return not await client.exists(key(name))

            await wait_until(is_gone)
            assert await drain(store, name, events) == [RoomChanged(room_id=name), RoomClosed(room_id=name)]


async def test_own_changes_are_not_published_twice(cluster: Cluster, store: RedisStore) -> None:
    """Concurrent changes by stores with publish_changes in rooms of different masters do not look external."""
    names = [cluster.names("own", number, 1)[0] for number in range(3)]
    received: dict[str, list[RoomEvent]] = {name: [] for name in names}
    entered: set[str] = set()

    async def read(name: str) -> None:
        async with store.events.subscribe(name) as events:
            entered.add(name)
            async for event in events:
                received[name].append(event)

    async def write(other: RedisStore, name: str) -> None:
        await other.rooms.create_room(room(name))
        for number in range(30):
            await other.rooms.add_user_to_room(name, user(f"u{number}"))
        await other.chat.add_message(message(1, name))
        await other.rooms.delete_room(name)

    reading = [asyncio.ensure_future(read(name)) for name in names]
    await wait_until(lambda: len(entered) == len(names))
    async with RedisStore.from_url(cluster.url, EXTERNAL) as other:
        await asyncio.gather(*(write(other, name) for name in names))
    await wait_until(lambda: all(RoomClosed(room_id=name) in received[name] for name in names))
    for name, task in zip(names, reading, strict=True):
        await store.events.publish(name, AppEvent(room_id=name, name="last"))
        await wait_until(lambda name=name: isinstance(received[name][-1], AppEvent))
        task.cancel()
        revs = [event.rev for event in received[name][1:31]]
        assert revs == [*range(2, 32)]
        assert len(received[name]) == len([RoomChanged, *revs, "message", RoomClosed, "last"])
    await asyncio.wait(reading)


async def test_a_room_that_moves_does_not_look_changed(cluster: Cluster, store: RedisStore, client: Any) -> None:
    """When a room's key and then its slot move, its subscribers receive a Resync each, and later external changes."""
    name = "moves"
    slot, owner = slot_of(name), cluster.home(name)
    notifications = f"__keyspace@0__:{key(name)}"
    await store.rooms.create_room(room(name))
    async with store.events.subscribe(name) as events:
        for source, target in ((owner, other_than(owner)), (other_than(owner), owner)):
            begin_migration(cluster, slot, source, target)
            assert await one(events) == Resync(room_id=name)
            set_owner(cluster, slot, target)
            assert await one(events) == Resync(room_id=name)
            await client.set(key(name), to_wire(room(name)))
            assert await drain(store, name, events) == [RoomChanged(room_id=name)]
            for server, count in ((source, 0), (target, 1)):
                reply = cluster.masters[server].ask("PUBSUB", "NUMSUB", notifications)
                assert reply.endswith(f"\r\n:{count}\r\n".encode())
    await store.rooms.delete_room(name)


async def test_external_changes_are_published_after_a_lost_connection(
    cluster: Cluster, store: RedisStore, client: Any
) -> None:
    """After a lost connection a Resync arrives, and later external changes are published."""
    name = cluster.names("lost", 0, 1)[0]
    async with store.events.subscribe(name) as events:
        cluster.masters[0].ask("CLIENT", "KILL", "TYPE", "pubsub")
        assert await one(events) == Resync(room_id=name)
        await client.set(key(name), to_wire(room(name)))
        assert await drain(store, name, events) == [RoomChanged(room_id=name)]
        await client.delete(key(name))


async def test_the_documented_acl_pattern_is_sufficient(cluster: Cluster, client: Any) -> None:
    """With the documented ACL pattern external changes are published; without it, subscribing is denied."""
    grants = ["~active-rooms:*", "+cluster|slots", "+asking", "+spublish", "+ssubscribe", "+sunsubscribe"]
    password = next(word[1:] for word in PLAIN if word.startswith(">"))
    url = cluster.url.replace("://", f"://{PLAIN[0]}:{password}@")
    for pattern in ((), ("&__keyspace@0__:room:*",)):
        for master in cluster.masters:
            assert master.ask("ACL", "SETUSER", *PLAIN, *grants, *pattern) == b"+OK\r\n"
        async with RedisStore.from_url(url, EXTERNAL) as store:
            if pattern:
                async with store.events.subscribe("A") as events:
                    await client.set(key("A"), to_wire(room("A")))
                    assert await drain(store, "A", events) == [RoomChanged(room_id="A")]
            else:
                with pytest.raises(Exception, match="NOPERM"):
                    await store.events.subscribe("A").__aenter__()
    await client.delete(key("A"))
    for master in cluster.masters:
        master.ask("ACL", "DELUSER", PLAIN[0])


async def test_health_checks_every_master(cluster: Cluster) -> None:
    """The check of the notifications is ok if every master sends them, and an error if one does not."""

    async def check() -> HealthCheck:
        async with RedisStore.from_url(cluster.url, StoreSettings(notify_external_changes=True)) as store:
            (found,) = [result for result in (await store.health()).checks if result.name == "notifications"]
            return found

    found = await check()
    assert (found.status, found.detail.endswith(" on 3 masters")) == ("ok", True)
    for master in cluster.masters:
        master.ask("CONFIG", "SET", "notify-keyspace-events", "Kg$x")
        found = await check()
        assert found.status == "error"
        assert found.detail.endswith("lacks e on at least one of 3 masters")
        master.ask("CONFIG", "SET", "notify-keyspace-events", "Kg$xe")


async def test_health_runs_the_commands_on_every_master(cluster: Cluster) -> None:
    """Health is ok on a cluster, and an error if one master denies a command or the channels."""

    async def checks() -> dict[str, HealthCheck]:
        async with RedisStore.from_url(cluster.url, StoreSettings(publish_changes=True)) as store:
            return {check.name: check for check in (await store.health()).checks}

    found = await checks()
    assert (found["scripts"].status, found["events"].status) == ("ok", "ok")
    master = cluster.masters[1]
    master.ask("ACL", "SETUSER", "default", "-pexpire", "resetchannels")
    try:
        found = await checks()
    finally:
        master.ask("ACL", "SETUSER", "default", "+pexpire", "allchannels")
    assert found["scripts"].detail == "PEXPIRE is denied"
    assert found["events"].detail.startswith("SPUBLISH is denied, SSUBSCRIBE is denied")
