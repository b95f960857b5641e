"""Events on a cluster with slot migrations and failovers: each gap has a Resync."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from redis.crc import key_slot

from cluster_events import check_another_master, check_moving_rooms, other_than
from event_recorder import PUBLISHING, event, one
from redis_cluster import Cluster, begin_migration, migrate, redis_cluster, set_owner
from wnc_store import Resync
from wnc_store_contract.factories import message, room, user
from wnc_store_redis import RedisStore


@pytest.fixture
async def store(cluster: Cluster) -> AsyncIterator[RedisStore]:
    """A store that publishes its changes."""
    async with RedisStore.from_url(cluster.url, PUBLISHING) as made:
        yield made


async def test_a_migrated_room_gets_a_resync(cluster: Cluster, store: RedisStore) -> None:
    """When a slot migrates, readers of its room get a Resync and then events of the new master, and others do not."""
    owner = cluster.owner("room:moves")
    target = other_than(owner)
    stays = next(
        name
        for name in cluster.names("stays", owner, 1000)
        if cluster.owner(f"chat:{name}") == cluster.owner("chat:moves")
    )
    await store.rooms.create_room(room("moves"))
    async with store.events.subscribe("moves") as moved, store.events.subscribe(stays) as stayed:
        slot, channel = key_slot(b"room:moves"), "events:{room:moves}"
        subscribed = f"*2\r\n${len(channel)}\r\n{channel}\r\n:1\r\n".encode()
        for number, ends in enumerate([(owner, target), (target, owner)]):
            await asyncio.to_thread(migrate, cluster, slot, *ends)
            assert await one(moved) == Resync(room_id="moves")
            for name, events in (("moves", moved), (stays, stayed)):
                await store.events.publish(name, event(number, name))
                assert await one(events) == event(number, name)
            assert cluster.masters[ends[1]].ask("PUBSUB", "SHARDNUMSUB", channel) == subscribed
    await store.rooms.delete_room("moves")


async def test_changes_during_a_migration(cluster: Cluster, store: RedisStore) -> None:
    """A change of a room or chat that has already migrated is reported by a Resync."""
    for kind in ("room", "chat"):
        name = f"way-{kind}"
        key = f"{kind}:{name}"
        slot, owner = key_slot(key.encode()), cluster.owner(key)
        await store.rooms.create_room(room(name))
        await store.chat.add_message(message(1, name))
        async with store.events.subscribe(name) as events:
            begin_migration(cluster, slot, owner, other_than(owner))
            cluster.masters[other_than(owner)].ask("SCRIPT", "FLUSH")
            if kind == "room":
                await store.rooms.add_user_to_room(name, user("guest"))
            else:
                await store.chat.add_message(message(2, name))
            assert await one(events) == Resync(room_id=name)
            await store.events.publish(name, event(0, name))
            assert await one(events) == event(0, name)
            set_owner(cluster, slot, other_than(owner))
            assert await one(events) == Resync(room_id=name)
            await asyncio.to_thread(migrate, cluster, slot, other_than(owner), owner)
            assert await one(events) == Resync(room_id=name)
            await store.events.publish(name, event(1, name))
            assert await one(events) == event(1, name)
        await store.rooms.delete_room(name)


async def test_slots_move_under_load(cluster: Cluster) -> None:
    """Each gap during slot migrations under load has a Resync, and other readers miss nothing."""
    await check_moving_rooms(cluster, turns=1)


async def test_a_failover() -> None:
    """After a failover, readers of the dead master's rooms get a Resync and later events, and others miss nothing."""
    with redis_cluster() as cluster:

        async def replace() -> None:
            cluster.masters[0].kill()
            await asyncio.to_thread(cluster.promote, 0)

        await check_another_master(cluster, replace)


async def test_a_demoted_master_is_not_used() -> None:
    """Neither publishers nor subscribers use a demoted master, which redirects them."""
    with redis_cluster(masters=1, replicas=1) as cluster:
        name = cluster.names("replaced", 0, 1)[0]
        async with RedisStore.from_url(cluster.url) as store, RedisStore.from_url(cluster.url) as other:
            for one_store in (store, other):
                await one_store.rooms.room_exists(name)
            old, new = cluster.masters[0], cluster.replicas[0]
            cluster.promote(0)
            cluster.wait_until_demoted(0)
            async with store.events.subscribe(name) as events:
                await other.events.publish(name, event(1, name))
                assert await one(events) == event(1, name)
                for server, readers in ((old, 0), (new, 1)):
                    told = server.ask("PUBSUB", "SHARDNUMSUB", f"events:{{room:{name}}}")
                    assert told.endswith(f":{readers}\r\n".encode())
            assert b"cmdstat_spublish" not in old.ask("INFO", "commandstats")
