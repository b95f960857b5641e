"""A cluster: slot migrations, failovers and dead shards under load, on real servers."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from redis.asyncio import RedisCluster
from redis.asyncio.cluster import ClusterNode
from redis.crc import key_slot

from acknowledged import PATIENT, REPLICATED, check_failover, check_moves
from redis_cluster import Cluster, begin_migration, migrate, redis_cluster, set_owner
from redis_server import RedisServer
from waiting import wait_until
from wnc_store import (
    ConfigurationError,
    OutcomeUnknownError,
    RoomExistsError,
    StoreClosedError,
    StoreError,
    StoreSettings,
    StoreUnavailableError,
    open_store,
)
from wnc_store_contract.factories import message, room, user
from wnc_store_redis import RedisStore

HASTY = StoreSettings(operation_timeout=timedelta(milliseconds=300))
"""Settings for calls that get no reply."""


async def ids(store: RedisStore) -> set[str]:
    """Return the ids of the active rooms."""
    return {one async for one in store.rooms.active_room_ids()}


async def test_a_room_and_its_chat_on_two_masters(cluster: Cluster) -> None:
    """A room and its chat are created, deleted and created again without duplicates or old messages."""
    name = next(name for name in cluster.names("apart", 0, 100) if cluster.owner(f"chat:{name}"))
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


async def test_slots_move_under_load(cluster: Cluster) -> None:
    """No call fails and nothing is lost or duplicated while slots migrate under load."""
    async with RedisStore.from_url(cluster.url, PATIENT) as store:
        await check_moves(cluster, store, turns=1)


async def test_a_migrated_key_is_found(cluster: Cluster) -> None:
    """During a migration, a room is read and written on the target, even if the scripts are not loaded there."""
    async with RedisStore.from_url(cluster.url) as store:
        slot = key_slot(b"room:asked")
        owner = cluster.owner("room:asked")
        target = (owner + 1) % 3
        await store.rooms.create_room(room("asked"))
        cluster.masters[target].ask("SCRIPT", "FLUSH")
        begin_migration(cluster, slot, owner, target)
        assert (await store.rooms.add_user_to_room("asked", user("guest"))).users[-1].id == "guest"
        assert cluster.masters[owner].ask("EXISTS", "room:asked").startswith(b"-ASK")
        assert await store.rooms.get_room("asked") is not None
        set_owner(cluster, slot, target)
        assert (await store.rooms.add_user_to_room("asked", user("another"))).users[-1].id == "another"
        migrate(cluster, slot, target, owner)
        assert await store.rooms.delete_room("asked")


async def test_a_room_is_created_during_a_migration(cluster: Cluster) -> None:
    """A room that is created during its slot's migration is on the new master, whose scripts are not loaded."""
    async with RedisStore.from_url(cluster.url) as store:
        slot = key_slot(b"room:newborn")
        owner = cluster.owner("room:newborn")
        target = (owner + 1) % 3
        begin_migration(cluster, slot, owner, target)
        cluster.masters[target].ask("SCRIPT", "FLUSH")
        await store.rooms.create_room(room("newborn"))
        assert await ids(store) == {"newborn"}
        set_owner(cluster, slot, target)
        assert await store.rooms.delete_room("newborn")
        migrate(cluster, slot, target, owner)


async def test_listing_follows_the_index(cluster: Cluster) -> None:
    """If the index migrates while it is listed, all rooms are listed once."""
    async with RedisStore.from_url(cluster.url) as store:
        names = {f"listed-{number}" for number in range(300)}
        for name in names:
            await store.rooms.create_room(room(name))
        slot, owner = key_slot(b"active-rooms"), cluster.owner("active-rooms")
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


async def test_a_dead_shard_does_not_block_others(cluster: Cluster) -> None:
    """While calls to a paused master wait for their timeout, rooms on other masters are read and written."""
    dead = (cluster.owner("active-rooms") + 1) % 3
    stuck, *_ = cluster.names("stuck", dead, 1)
    others = [*cluster.names("free", (dead + 1) % 3, 3), *cluster.names("free", (dead + 2) % 3, 3)]
    others = [name for name in others if cluster.owner(f"chat:{name}") != dead]
    async with RedisStore.from_url(cluster.url, PATIENT) as store:
        for name in (stuck, *others):
            await store.rooms.create_room(room(name))
        with cluster.masters[dead].paused():
            waiting = [
                asyncio.ensure_future(store.rooms.get_room(stuck)),
                asyncio.ensure_future(store.rooms.add_user_to_room(stuck, user("guest"))),
            ]
            for number in range(20):
                for name in others:
                    await store.rooms.add_user_to_room(name, user(f"u{number}"))
                    await store.chat.add_message(message(number, name))
            for name in others:
                assert await store.rooms.delete_room(name)
            assert not any(one.done() for one in waiting)
        assert await waiting[0] is not None
        joined = await waiting[1]
        assert joined is not None
        assert joined.users[-1].id == "guest"
        assert await store.rooms.delete_room(stuck)


async def test_the_shard_of_the_index_is_down(cluster: Cluster) -> None:
    """While the index is unavailable, rooms can be used and deleted but not created, and a sweep repairs the index."""
    home = cluster.owner("active-rooms")
    names = [name for name in cluster.names("on", (home + 1) % 3, 20) if cluster.owner(f"chat:{name}") != home][:2]
    async with (
        RedisStore.from_url(cluster.url, PATIENT) as store,
        RedisStore.from_url(cluster.url, HASTY) as hasty,
    ):
        for name in names:
            await store.rooms.create_room(room(name))
        with cluster.masters[home].paused():
            await store.rooms.add_user_to_room(names[0], user("guest"))
            assert await store.rooms.delete_room(names[1])
            with pytest.raises(StoreUnavailableError):
                await hasty.rooms.create_room(room(names[1]))
            assert await store.rooms.get_room(names[1]) is None
            await hasty.aclose()
        assert await ids(store) == {names[0]}

        async def is_mended() -> bool:
            return await store.rooms.sweep_active_rooms() == 0

        await wait_until(is_mended)
        assert await ids(store) == {names[0]}
        assert await store.rooms.delete_room(names[0])


async def test_masters_that_disagree(cluster: Cluster) -> None:
    """If masters redirect a command to each other forever, the call fails at its deadline and nothing happens."""
    owner = cluster.owner("room:nowhere")
    other = (owner + 1) % 3
    slot = key_slot(b"room:nowhere")
    settings = StoreSettings(operation_timeout=timedelta(seconds=2))
    async with RedisStore.from_url(cluster.url, settings) as store:
        set_owner(cluster, slot, owner, on=[other])
        set_owner(cluster, slot, other, on=[owner])
        with pytest.raises(StoreUnavailableError, match=r"'room:nowhere'.*CLUSTERDOWN") as caught:
            await store.rooms.create_room(room("nowhere"))
        assert not isinstance(caught.value, OutcomeUnknownError)
        set_owner(cluster, slot, owner)
        assert await store.rooms.get_room("nowhere") is None


async def test_a_plain_url_of_a_cluster_node(cluster: Cluster) -> None:
    """A plain URL of a cluster node fails at the first key of another node, with the URL scheme to use."""
    elsewhere = cluster.names("elsewhere", 1, 1)[0]
    async with open_store(f"redis://127.0.0.1:{cluster.masters[0].port}") as store:
        with pytest.raises(ConfigurationError, match=r"redis\+cluster://"):
            await store.rooms.get_room(elsewhere)


async def test_a_callers_cluster_client_is_used(cluster: Cluster) -> None:
    """A store on a caller's RedisCluster uses the cluster and does not close the client."""
    client: Any = RedisCluster(startup_nodes=[ClusterNode("127.0.0.1", cluster.masters[2].port)])
    async with client:
        async with RedisStore(client) as store:
            await store.rooms.create_room(room("A"))
            await store.rooms.create_room(room("B"))
        assert await client.exists("room:A") == 1
        async with RedisStore(client) as store:
            assert await store.rooms.delete_room("A")
            assert await store.rooms.delete_room("B")


async def test_no_node_replies() -> None:
    """If no node replies, a call fails at its deadline and nothing happens."""
    async with open_store("redis+cluster://127.0.0.1:1,127.0.0.1:2", settings=HASTY) as store:
        with pytest.raises(StoreUnavailableError) as caught:
            await store.rooms.delete_room("A")
        assert not isinstance(caught.value, OutcomeUnknownError)


@pytest.fixture(scope="module", name="guarded")
def _guarded() -> Iterator[Cluster]:
    """Three masters that require a password."""
    with redis_cluster(replicas=0) as made:
        for master in made.masters:
            master.ask("CONFIG", "SET", "requirepass", "of-the-cluster")
        yield made


@pytest.mark.parametrize("credentials", ["", "me:mistaken@", ":mistaken@"])
async def test_wrong_credentials(guarded: Cluster, credentials: str) -> None:
    """Wrong credentials raise a ConfigurationError immediately, which does not contain the password."""
    settings = StoreSettings(operation_timeout=timedelta(minutes=5))
    dead = f"//{credentials}127.0.0.1:1,"
    async with open_store(guarded.url.replace("//", dead), settings=settings) as store, asyncio.timeout(60):
        with pytest.raises(ConfigurationError, match=r"credentials|user and its permissions") as caught:
            await store.rooms.get_room("A")
    assert "mistaken" not in str(caught.value)


async def test_a_standalone_server_is_not_a_cluster(redis_server: RedisServer) -> None:
    """A cluster URL of a standalone server raises a ConfigurationError with the URL scheme to use."""
    async with open_store(redis_server.url.replace("redis://", "redis+cluster://")) as store:
        with pytest.raises(ConfigurationError, match="use redis://"):
            await store.rooms.get_room("A")


async def test_a_redirection_during_the_close(cluster: Cluster) -> None:
    """A command that is redirected while the store is closed fails, and no connection is opened."""
    name, *_ = cluster.names("late", 1, 1)
    only_first = f"redis+cluster://127.0.0.1:{cluster.masters[0].port}"
    async with RedisStore.from_url(only_first) as store:
        await store.rooms.room_exists(cluster.names("first", 0, 1)[0])
        route: Any = store._commands._router
        route._slots[key_slot(f"room:{name}".encode())] = ("127.0.0.1", cluster.masters[0].port)
        known = set(route._nodes)
        call = asyncio.ensure_future(store.rooms.room_exists(name))
        await asyncio.sleep(0)
        await store.aclose()
        with pytest.raises(StoreClosedError):
            await call
        assert set(route._nodes) == known


async def test_a_second_event_loop_is_rejected(cluster: Cluster) -> None:
    """A store on a cluster belongs to one event loop, even for masters that it has not used yet."""
    first, second = (cluster.names("looped", owner, 1)[0] for owner in (0, 1))
    only_first = f"redis+cluster://127.0.0.1:{cluster.masters[0].port}"
    async with RedisStore.from_url(only_first) as store:
        await store.rooms.room_exists(first)
        elsewhere = asyncio.to_thread(asyncio.run, store.rooms.room_exists(second))
        with pytest.raises(StoreError, match="another event loop"):
            await elsewhere
        assert not await store.rooms.room_exists(second)


async def test_writes_continue_after_a_failover() -> None:
    """After a failover, writes continue, and neither later writes nor replicated writes are lost."""
    with redis_cluster() as mortal:

        async def replace() -> None:
            mortal.masters[0].kill()
            mortal.promote(0)
            mortal.masters[0].start()  # as a replica, because replicated writes need one
            await asyncio.to_thread(mortal.wait_until_demoted, 0)

        async with (
            RedisStore.from_url(mortal.url, PATIENT) as store,
            RedisStore.from_url(mortal.url, REPLICATED) as replicated,
        ):
            await check_failover(store, replicated, replace, lambda prefix: mortal.names(prefix, 0, 500))
