"""Events on a cluster with many slot migrations, planned failovers and paused masters."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

from cluster_events import check_another_master, check_moving_rooms
from event_recorder import event, one
from redis_cluster import Cluster, redis_cluster
from redis_server import wait_for_reply
from waiting import wait_until
from wnc_store import Resync, StoreSettings
from wnc_store_redis import RedisStore


async def test_slots_move_under_load(cluster: Cluster) -> None:
    """Each gap during slot migrations under load has a Resync, and other readers miss nothing."""
    await check_moving_rooms(cluster, turns=10)


async def test_a_planned_failover() -> None:
    """After a planned failover, readers of its rooms get a Resync and later events, and others miss nothing."""
    with redis_cluster() as cluster:

        async def replace() -> None:
            assert cluster.replicas[0].ask("CLUSTER", "FAILOVER") == b"+OK\r\n"
            await asyncio.to_thread(wait_for_reply, "role:master", cluster.replicas[0], to=("INFO", "replication"))

        await check_another_master(cluster, replace)


async def test_a_paused_master_is_detected(cluster: Cluster) -> None:
    """Readers of a paused master's rooms get a Resync when it continues."""
    name = cluster.names("silent", 0, 1)[0]
    settings = StoreSettings(operation_timeout=timedelta(seconds=1))
    async with RedisStore.from_url(cluster.url, settings) as store:
        async with store.events.subscribe(name) as events:
            inside: Any = store._events._subscriptions
            with cluster.masters[0].paused():
                await wait_until(lambda: inside._resubscribing)
            assert await one(events) == Resync(room_id=name)


async def test_a_paused_master_is_left() -> None:
    """After the replica of a paused master takes over, readers receive its events without any other call."""
    settings = StoreSettings(operation_timeout=timedelta(seconds=1))
    with redis_cluster() as cluster:
        name = cluster.names("left", 0, 1)[0]
        async with RedisStore.from_url(cluster.url, settings) as store, RedisStore.from_url(cluster.url) as other:
            async with store.events.subscribe(name) as events:
                cluster.masters[0].pause()
                cluster.promote(0)
                assert await one(events) == Resync(room_id=name)
                await other.events.publish(name, event(1, name))
                while isinstance(found := await one(events), Resync):
                    pass
                assert found == event(1, name)
