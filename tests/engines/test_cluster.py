"""On a cluster: slots on the move, masters and shards that die, under load, on real servers."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import timedelta
from itertools import count, islice
from typing import Any

import pytest
from redis.asyncio import RedisCluster
from redis.asyncio.cluster import ClusterNode

from acknowledged import PATIENT, REPLICATED, check_failover, check_moves
from counting import tasks_of_calls
from redis_cluster import Cluster, begin_migration, migrate, open_slot, redis_cluster, set_owner, slot_of, tagged
from redis_server import RedisServer
from waiting import wait_until
from wnc_store import (
    ConfigurationError,
    OutcomeUnknownError,
    RoomExistsError,
    Snapshot,
    StoreClosedError,
    StoreError,
    StoreSettings,
    StoreUnavailableError,
    open_store,
)
from wnc_store_contract.factories import message, room, user
from wnc_store_contract.redis_client import open_client
from wnc_store_redis import RedisStore

HASTY = StoreSettings(operation_timeout=timedelta(milliseconds=300))
"""Settings for calls that nobody answers."""


async def ids(store: RedisStore) -> set[str]:
    """Return the ids of the active rooms."""
    return {one async for one in store.rooms.active_room_ids()}


async def test_many_rooms_of_all_shards_are_read_together(cluster: Cluster) -> None:
    """get_rooms and active_rooms return rooms of every shard."""
    names = [f"many-{number}" for number in range(300)]
    async with RedisStore.from_url(cluster.url, PATIENT) as store:
        await asyncio.gather(*(store.rooms.create_room(room(name)) for name in names[1:]))
        found = await store.rooms.get_rooms([*names, names[5]])
        assert [one and one.id for one in found] == [None, *names[1:], names[5]]
        assert sorted([one.id async for one in store.rooms.active_rooms()]) == sorted(names[1:])
        await asyncio.gather(*(store.rooms.delete_room(name) for name in names[1:]))
        assert await store.rooms.get_rooms(names) == [None] * 300


async def test_a_room_and_its_chat(cluster: Cluster) -> None:
    """A room is not created twice, ends with its chat, and begins without the messages of an earlier room."""
    name = "lived-twice"
    async with RedisStore.from_url(cluster.url, PATIENT) as store:
        await store.rooms.create_room(room(name))
        for _ in range(2):
            with pytest.raises(RoomExistsError):
                await store.rooms.create_room(room(name))
            await store.chat.add_message(message(1, name))
        assert [one.id for one in await store.chat.get_messages(name)] == ["m1"]
        assert await store.rooms.remove_user_from_room(name, "host") is None
        assert await store.chat.get_messages(name) == []
        await store.chat.add_message(message(2, name))
        await store.rooms.create_room(room(name))
        assert await store.chat.get_messages(name) == []
        assert await store.rooms.delete_room(name)
        assert await ids(store) == set()


async def test_calls_start_no_tasks(cluster: Cluster) -> None:
    """Once the masters are known, a call starts no additional task."""
    async with RedisStore.from_url(cluster.url, PATIENT) as store:
        assert await tasks_of_calls(store) == []


async def test_slots_move_under_load(cluster: Cluster) -> None:
    """While slots move to another master and back, nothing fails, is lost or is there twice."""
    async with RedisStore.from_url(cluster.url, PATIENT) as store:
        await check_moves(cluster, store, turns=1)


async def test_a_key_that_has_moved_already_is_asked_for(cluster: Cluster) -> None:
    """During a migration, a room is read and written on the target, even if the scripts are not loaded there."""
    async with RedisStore.from_url(cluster.url) as store:
        slot, owner = slot_of("asked"), cluster.home("asked")
        target = (owner + 1) % 3
        await store.rooms.create_room(room("asked"))
        cluster.masters[target].ask("SCRIPT", "FLUSH")
        begin_migration(cluster, slot, owner, target)
        assert (await store.rooms.add_user_to_room("asked", user("guest"))).users[-1].id == "guest"
        assert cluster.masters[owner].ask("EXISTS", f"room:{tagged('asked')}").startswith(b"-ASK")
        assert await store.rooms.get_room("asked") is not None
        set_owner(cluster, slot, target)
        assert (await store.rooms.add_user_to_room("asked", user("another"))).users[-1].id == "another"
        migrate(cluster, slot, target, owner)
        assert await store.rooms.delete_room("asked")


async def test_a_room_begins_when_its_slot_has_moved(cluster: Cluster) -> None:
    """A room that is created while its slot migrates begins when the slot has moved, on a master without the script."""
    async with RedisStore.from_url(cluster.url, PATIENT) as store:
        slot, owner = slot_of("newborn"), cluster.home("newborn")
        target = (owner + 1) % 3
        begin_migration(cluster, slot, owner, target)
        cluster.masters[target].ask("SCRIPT", "FLUSH")
        creating = asyncio.ensure_future(store.rooms.create_room(room("newborn")))
        await wait_until(lambda: store.statistics()["retries"] > 10)
        assert not creating.done()
        set_owner(cluster, slot, target)
        await creating
        assert await ids(store) == {"newborn"}
        assert await store.rooms.delete_room("newborn")
        migrate(cluster, slot, target, owner)


async def test_a_room_whose_slot_begins_to_move_is_replaced_and_deleted(cluster: Cluster) -> None:
    """While its slot begins to move, a room with a chat is changed, replaced and deleted where it still is."""
    async with RedisStore.from_url(cluster.url, PATIENT) as store:
        slot, owner = slot_of("replaced"), cluster.home("replaced")
        target = (owner + 1) % 3
        await store.rooms.create_room(room("replaced"))
        await store.chat.add_message(message(1, "replaced"))
        open_slot(cluster, slot, owner, target)
        await store.rooms.add_user_to_room("replaced", user("guest"))
        messages = message(2, "replaced"), message(3, "replaced")
        day = timedelta(days=1)
        await store.restore(Snapshot(room("replaced", rev=9), day, messages, day), replace=True)
        assert await store.rooms.get_room("replaced") == room("replaced", rev=9)
        assert await store.chat.get_messages("replaced") == list(messages)
        assert await store.rooms.delete_room("replaced")
        set_owner(cluster, slot, target)
        migrate(cluster, slot, target, owner)
        assert await store.chat.get_messages("replaced") == []


async def test_many_rooms_are_listed_and_swept(cluster: Cluster) -> None:
    """A listing finds the rooms of all buckets, a sweep the dead ones, and `activity` counts all that are listed."""
    async with RedisStore.from_url(cluster.url, PATIENT) as store:
        names = {f"many-{number}" for number in range(200)}
        await asyncio.gather(*(store.rooms.create_room(room(name)) for name in names))
        assert await ids(store) == names
        dead = sorted(names)[:50]
        for name in dead:
            cluster.masters[cluster.home(name)].ask("DEL", f"room:{tagged(name)}")
        assert await ids(store) == names.difference(dead)
        assert (await store.activity()).listed_rooms == 200
        assert await store.rooms.sweep_active_rooms() == 50
        assert (await store.activity()).listed_rooms == 150
        for name in names.difference(dead):
            await store.rooms.delete_room(name)
        assert (await store.activity()).listed_rooms == 0


async def test_listing_follows_the_index(cluster: Cluster) -> None:
    """When the index of a bucket moves while it is listed, all its rooms are listed, each once."""
    async with RedisStore.from_url(cluster.url) as store:
        candidates = (f"listed-{number}" for number in count())
        names = set(islice((name for name in candidates if tagged(name).startswith("{0417}")), 300))
        for name in names:
            await store.rooms.create_room(room(name))
        slot, owner = slot_of(min(names)), cluster.home(min(names))
        target = (owner + 1) % 3
        found: list[str] = []
        async for room_id in store.rooms.active_room_ids():
            if not found:
                await asyncio.to_thread(migrate, cluster, slot, owner, target)
            found.append(room_id)
        assert sorted(found) == sorted(names)
        migrate(cluster, slot, target, owner)
        for name in names:
            await store.rooms.delete_room(name)
        assert await store.rooms.sweep_active_rooms() == 0


async def test_a_dead_shard_does_not_affect_the_others(cluster: Cluster) -> None:
    """While a master hangs, rooms of the others are created, changed and deleted; its own calls and listings wait."""
    stuck, *_ = cluster.names("stuck", 1, 1)
    others = [*cluster.names("free", 0, 3), *cluster.names("free", 2, 3)]
    async with (
        RedisStore.from_url(cluster.url, PATIENT) as store,
        RedisStore.from_url(cluster.url, HASTY) as hasty,
    ):
        for name in (stuck, *others[1:]):
            await store.rooms.create_room(room(name))
        with cluster.masters[1].paused():
            reading = asyncio.ensure_future(store.rooms.get_room(stuck))
            joining = asyncio.ensure_future(store.rooms.add_user_to_room(stuck, user("guest")))
            await store.rooms.create_room(room(others[0]))
            for number in range(20):
                for name in others:
                    await store.rooms.add_user_to_room(name, user(f"u{number}"))
                    await store.chat.add_message(message(number, name))
            for name in others:
                assert await store.rooms.delete_room(name)
            with pytest.raises(StoreUnavailableError):
                await ids(hasty)
            await hasty.aclose()
            assert not reading.done()
            assert not joining.done()
        assert await reading is not None
        assert (await joining).users[-1].id == "guest"
        assert await ids(store) == {stuck}
        assert await store.rooms.delete_room(stuck)


async def test_masters_that_disagree_are_said(cluster: Cluster) -> None:
    """Where masters send a command to one another and never run it, a call fails in its time, and nothing happened."""
    slot, owner = slot_of("nowhere"), cluster.home("nowhere")
    other = (owner + 1) % 3
    settings = StoreSettings(operation_timeout=timedelta(seconds=2))
    async with RedisStore.from_url(cluster.url, settings) as store:
        set_owner(cluster, slot, owner, on=[other])
        set_owner(cluster, slot, other, on=[owner])
        with pytest.raises(StoreUnavailableError, match=r"'room:\{\d{4}\}:nowhere'.*CLUSTERDOWN") as caught:
            await store.rooms.create_room(room("nowhere"))
        assert not isinstance(caught.value, OutcomeUnknownError)
        set_owner(cluster, slot, owner)
        assert await store.rooms.get_room("nowhere") is None


async def test_a_member_is_not_a_server_by_itself(cluster: Cluster) -> None:
    """A plain URL of a cluster's member is refused at the first key that is another's, with the URL's scheme to use."""
    elsewhere = cluster.names("elsewhere", 1, 1)[0]
    async with open_store(f"redis://127.0.0.1:{cluster.masters[0].port}") as store:
        with pytest.raises(ConfigurationError, match=r"redis\+cluster://"):
            await store.rooms.get_room(elsewhere)


async def test_a_callers_cluster_client_is_used(cluster: Cluster) -> None:
    """A caller's RedisCluster leads to the cluster, and is not closed."""
    client: Any = RedisCluster(startup_nodes=[ClusterNode("127.0.0.1", cluster.masters[2].port)])
    async with client:
        async with RedisStore(client) as store:
            await store.rooms.create_room(room("A"))
            await store.rooms.create_room(room("B"))
        assert await client.exists(f"room:{tagged('A')}") == 1
        async with RedisStore(client) as store:
            assert await store.rooms.delete_room("A")
            assert await store.rooms.delete_room("B")


async def test_the_raw_client_of_the_harness_is_closed(cluster: Cluster) -> None:
    """All connections of a cluster client are closed, also if an error of a node made it forget the cluster."""
    async with open_client(cluster.url) as client:
        await client.ping(target_nodes=RedisCluster.ALL_NODES)
        client._initialize = True  # as redis-py does after such an error
        manager = client.nodes_manager
        nodes = [*manager.nodes_cache.values(), *manager.startup_nodes.values()]
        connections = [one for node in nodes for one in node._connections]
        assert all(one.is_connected for one in connections)
    assert not any(one.is_connected for one in connections)


async def test_no_cluster_at_all_is_said() -> None:
    """Where nobody answers, a call fails in its time, and nothing happened."""
    async with open_store("redis+cluster://127.0.0.1:1,127.0.0.1:2", settings=HASTY) as store:
        with pytest.raises(StoreUnavailableError) as caught:
            await store.rooms.delete_room("A")
        assert not isinstance(caught.value, OutcomeUnknownError)


@pytest.fixture(scope="module", name="guarded")
def _guarded() -> Iterator[Cluster]:
    """Three masters that want a password of everybody."""
    with redis_cluster(replicas=0) as made:
        for master in made.masters:
            master.ask("CONFIG", "SET", "requirepass", "of-the-cluster")
        yield made


@pytest.mark.parametrize("credentials", ["", "me:mistaken@", ":mistaken@"])
async def test_credentials_that_a_cluster_refuses_are_said(guarded: Cluster, credentials: str) -> None:
    """A cluster that refuses user or password is a ConfigurationError, at once, that does not show the password."""
    settings = StoreSettings(operation_timeout=timedelta(minutes=5))
    dead = f"//{credentials}127.0.0.1:1,"
    async with open_store(guarded.url.replace("//", dead), settings=settings) as store, asyncio.timeout(60):
        with pytest.raises(ConfigurationError, match=r"credentials|user and its permissions") as caught:
            await store.rooms.get_room("A")
    assert "mistaken" not in str(caught.value)


async def test_a_server_by_itself_is_no_cluster(redis_server: RedisServer) -> None:
    """A cluster's URL of a plain server is a ConfigurationError that names the scheme to use."""
    async with open_store(redis_server.url.replace("redis://", "redis+cluster://")) as store:
        with pytest.raises(ConfigurationError, match="use redis://"):
            await store.rooms.get_room("A")


async def test_a_redirection_during_the_close_opens_nothing(cluster: Cluster) -> None:
    """A command that is sent on to another server while the store is closed is refused, and no connection is opened."""
    name, *_ = cluster.names("late", 1, 1)
    only_first = f"redis+cluster://127.0.0.1:{cluster.masters[0].port}"
    async with RedisStore.from_url(only_first) as store:
        await store.rooms.room_exists(cluster.names("first", 0, 1)[0])
        route: Any = store._commands._router
        route._slots[slot_of(name)] = ("127.0.0.1", cluster.masters[0].port)
        known = set(route._nodes)
        call = asyncio.ensure_future(store.rooms.room_exists(name))
        for _ in range(2):  # the command is submitted by a task, and sent in the next tick
            await asyncio.sleep(0)
        await store.aclose()
        with pytest.raises(StoreClosedError):
            await call
        assert set(route._nodes) == known


async def test_a_second_event_loop_is_told_so_by_every_server(cluster: Cluster) -> None:
    """A cluster's store belongs to one event loop, also for the masters that it has not used there yet."""
    first, second = (cluster.names("looped", owner, 1)[0] for owner in (0, 1))
    only_first = f"redis+cluster://127.0.0.1:{cluster.masters[0].port}"
    async with RedisStore.from_url(only_first) as store:
        await store.rooms.room_exists(first)
        elsewhere = asyncio.to_thread(asyncio.run, store.rooms.room_exists(second))
        with pytest.raises(StoreError, match="another event loop"):
            await elsewhere
        assert not await store.rooms.room_exists(second)


async def test_writes_go_on_after_a_masters_death() -> None:
    """When a replica takes a dead master's place, writes go on, none of the later ones is lost, nor any replicated."""
    with redis_cluster() as mortal:

        async def replace() -> None:
            mortal.masters[0].kill()
            mortal.promote(0)
            mortal.masters[0].start()  # as a replica: replicated writes need one
            await asyncio.to_thread(mortal.wait_until_demoted, 0)

        async with (
            RedisStore.from_url(mortal.url, PATIENT) as store,
            RedisStore.from_url(mortal.url, REPLICATED) as replicated,
        ):
            await check_failover(store, replicated, replace, lambda prefix: mortal.names(prefix, 0, 500))
