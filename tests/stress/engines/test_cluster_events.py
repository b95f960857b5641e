"""Events on a cluster with many slot migrations, planned failovers and paused masters."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from itertools import count
from typing import Any

import pytest

from event_recorder import EXTERNAL, PUBLISHING, check_another_master, check_moving_rooms, event, one, other_than
from redis_cluster import Cluster, migrate, redis_cluster, slot_of, tagged
from redis_server import wait_for_reply
from waiting import wait_until
from wnc_store import Resync, RoomChanged, StoreSettings, to_wire
from wnc_store_contract.factories import room
from wnc_store_contract.redis_client import open_client
from wnc_store_redis import RedisStore


@pytest.mark.parametrize("reading", [PUBLISHING, EXTERNAL])
async def test_slots_move_under_load(cluster: Cluster, reading: StoreSettings) -> None:
    """Each gap during migrations under load has a Resync, other readers miss nothing, and no change looks external."""
    cluster.enable_notifications()
    await check_moving_rooms(cluster, turns=10, reading=reading)


async def test_external_changes_while_slots_move(cluster: Cluster) -> None:
    """A reader that reads its room after each event sees the last external change, however often the slot moves."""
    cluster.enable_notifications()
    names = [f"written-{number}" for number in range(4)]
    entered, written, seen = set[str](), dict[str, str](), dict[str, str | None]()
    async with RedisStore.from_url(cluster.url, EXTERNAL) as store, open_client(cluster.url) as client:

        async def read(name: str) -> None:
            async with store.events.subscribe(name) as events:
                entered.add(name)
                async for found in events:
                    assert isinstance(found, RoomChanged | Resync)
                    current = await store.rooms.get_room(name)
                    seen[name] = current and current.video_url

        async def write(stop: asyncio.Event) -> None:
            while not stop.is_set():
                for name in names:
                    url = f"https://video.example/{next(numbers)}"
                    await client.set(f"room:{tagged(name)}", to_wire(room(name, video_url=url)))
                    written[name] = url

        numbers = count()
        reading = [asyncio.ensure_future(read(name)) for name in names]
        await wait_until(lambda: len(entered) == len(names))
        for turn in range(10):
            stop = asyncio.Event()
            writing = asyncio.ensure_future(write(stop))
            for name in names:
                owner = cluster.home(name)
                ends = (owner, other_than(owner))
                await asyncio.to_thread(migrate, cluster, slot_of(name), *(ends if turn % 2 == 0 else ends[::-1]))
            stop.set()
            await writing
            await wait_until(lambda: seen == written)
        for one_reading in reading:
            one_reading.cancel()
        ended = await asyncio.gather(*reading, return_exceptions=True)
        assert {type(error) for error in ended} == {asyncio.CancelledError}
        for name in names:
            await store.rooms.delete_room(name)


@pytest.mark.parametrize("reading", [PUBLISHING, EXTERNAL])
async def test_a_planned_failover(reading: StoreSettings) -> None:
    """After a planned failover, readers of its rooms get a Resync and later events, and others miss nothing."""
    with redis_cluster() as cluster:
        cluster.enable_notifications()

        async def replace() -> None:
            assert cluster.replicas[0].ask("CLUSTER", "FAILOVER") == b"+OK\r\n"
            await asyncio.to_thread(wait_for_reply, "role:master", cluster.replicas[0], to=("INFO", "replication"))

        await check_another_master(cluster, replace, reading)


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
