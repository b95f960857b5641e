"""Events on a cluster whose slots move and whose masters die: nothing is missing without a Resync."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from event_recorder import PUBLISHING, check_another_master, check_moving_rooms, event, one, other_than
from redis_cluster import Cluster, begin_migration, migrate, redis_cluster, set_owner, slot_of, tagged
from wnc_store import Resync
from wnc_store_contract.factories import message, room, user
from wnc_store_redis import RedisStore


@pytest.fixture
async def store(cluster: Cluster) -> AsyncIterator[RedisStore]:
    """A store that publishes its changes."""
    async with RedisStore.from_url(cluster.url, PUBLISHING) as made:
        yield made


async def test_a_room_that_moves_is_told_of_a_gap(cluster: Cluster, store: RedisStore) -> None:
    """When a slot moves, the subscribers of its rooms receive a Resync, and later events; no other subscriber does."""
    owner = cluster.home("moves")
    target = other_than(owner)
    stays, *_ = cluster.names("stays", owner, 1)
    await store.rooms.create_room(room("moves"))
    async with store.events.subscribe("moves") as moved, store.events.subscribe(stays) as stayed:
        slot, channel = slot_of("moves"), f"events:{tagged('moves')}"
        subscribed = f"*2\r\n${len(channel)}\r\n{channel}\r\n:1\r\n".encode()
        for number, ends in enumerate([(owner, target), (target, owner)]):
            await asyncio.to_thread(migrate, cluster, slot, *ends)
            assert await one(moved) == Resync(room_id="moves")
            for name, events in (("moves", moved), (stays, stayed)):
                await store.events.publish(name, event(number, name))
                assert await one(events) == event(number, name)
            assert cluster.masters[ends[1]].ask("PUBSUB", "SHARDNUMSUB", channel) == subscribed
    await store.rooms.delete_room("moves")


async def test_what_happens_on_the_way_is_told(cluster: Cluster, store: RedisStore) -> None:
    """During the migration of a slot, a change to a room that has migrated, or to its chat, arrives as a Resync."""
    for kind in ("room", "chat"):
        name = f"way-{kind}"
        slot, owner = slot_of(name), cluster.home(name)
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
    """While slots move under load, each missing event has a Resync, and rooms that stay miss no event."""
    await check_moving_rooms(cluster, turns=1)


async def test_another_master_is_told() -> None:
    """When a replica is promoted, subscribers of its rooms receive a Resync and later events; others miss nothing."""
    with redis_cluster() as cluster:

        async def replace() -> None:
            cluster.masters[0].kill()
            await asyncio.to_thread(cluster.promote, 0)

        await check_another_master(cluster, replace)


async def test_a_replica_is_neither_listened_to_nor_told() -> None:
    """A store whose slot map names a replica as master neither subscribes nor publishes at the replica."""
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
                    told = server.ask("PUBSUB", "SHARDNUMSUB", f"events:{tagged(name)}")
                    assert told.endswith(f":{readers}\r\n".encode())
            assert b"cmdstat_spublish" not in old.ask("INFO", "commandstats")
