"""Checks of events while a cluster changes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine

from event_recorder import PUBLISHING, observed
from redis_cluster import Cluster, migrate, slot_of
from wnc_store import StoreSettings


def other_than(master: int) -> int:
    """Return the number of another master."""
    return (master + 1) % 3


async def check_moving_rooms(cluster: Cluster, turns: int, reading: StoreSettings = PUBLISHING) -> None:
    """Migrate slots under load, and check that each gap has a Resync and other readers miss nothing."""
    moving = [f"to-and-fro-{number}" for number in range(6)]
    staying = [f"staying-{number}" for number in range(6)]

    async def move() -> None:
        for turn in range(2 * turns):
            for name in moving:
                owner = cluster.home(name)
                ends = (owner, other_than(owner))
                source, target = ends if turn % 2 == 0 else ends[::-1]
                await asyncio.to_thread(migrate, cluster, slot_of(name), source, target)

    ledgers = await observed(cluster, [*moving, *staying], move, lost=moving, reading=reading)
    for name, ledger in ledgers.items():
        missing = ledger.check()
        assert ("" in ledger.on_message) == (name in moving)
        assert name in moving or missing == 0


async def check_another_master(
    cluster: Cluster, replace: Callable[[], Coroutine[None, None, None]], reading: StoreSettings = PUBLISHING
) -> None:
    """Replace master 0, and check that the readers of its rooms get a Resync and other readers miss nothing."""
    dying = cluster.names("dead", 0, 3)
    living = cluster.names("live", 1, 3)
    ledgers = await observed(cluster, [*dying, *living], replace, lost=dying, reading=reading)
    for name, ledger in ledgers.items():
        missing = ledger.check()
        assert ("" in ledger.on_message) == (name in dying)
        assert name in dying or missing == 0
