"""A cluster with many slot migrations and with paused masters, on real servers."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from datetime import timedelta

import pytest

from acknowledged import PATIENT, check_moves
from redis_cluster import Cluster, node, redis_cluster
from waiting import wait_until
from wnc_store import StoreError, StoreSettings
from wnc_store_contract.factories import room, user
from wnc_store_redis import RedisStore


async def test_slots_move_under_load(cluster: Cluster) -> None:
    """No call fails and nothing is lost or duplicated while slots migrate under load."""
    async with RedisStore.from_url(cluster.url, PATIENT) as store:
        await check_moves(cluster, store, turns=10)


@pytest.mark.parametrize("patience", [None, 1], ids=["the operation's time", "the caller's own time"])
async def test_a_paused_master_is_replaced(patience: float | None) -> None:
    """After the replica of a paused master takes over, calls find it, whether they timed out or were cancelled."""
    with redis_cluster() as mortal:
        name, *_ = mortal.names("hung", 0, 1)
        settings = StoreSettings() if patience else StoreSettings(operation_timeout=timedelta(seconds=1))
        async with RedisStore.from_url(mortal.url, settings) as store, RedisStore.from_url(mortal.url) as direct:
            await direct.rooms.create_room(room(name))
            with node(mortal.masters[0]) as client:
                client.execute_command("WAIT", 1, 60_000)
            with suppress(StoreError):
                await store.rooms.get_room(name)
            mortal.masters[0].pause()
            mortal.promote(0)

            async def joined() -> bool:
                with suppress(TimeoutError, StoreError):
                    async with asyncio.timeout(patience):
                        await store.rooms.add_user_to_room(name, user("guest"))
                        return True
                return False

            await wait_until(joined)
            mortal.masters[0].resume()
            found = await direct.rooms.get_room(name)
    assert found is not None
    assert [one.id for one in found.users] == ["host", "guest"]
