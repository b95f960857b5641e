"""Sentinel: automatic and planned failovers under load, on real servers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from acknowledged import PATIENT, REPLICATED, check_failover
from redis_sentinels import SERVICE, Service, sentinel_service
from waiting import wait_until
from wnc_store_redis import RedisStore


@pytest.fixture
def service() -> Iterator[Service]:
    """A master, two replicas and three Sentinels, which mark a master as down after five seconds."""
    with sentinel_service(down_after_ms=5000) as made:
        yield made


async def test_writes_continue_after_the_masters_death(service: Service) -> None:
    """After the Sentinels detect the master's death, writes continue, and no later or replicated write is lost."""

    async def kill() -> None:
        service.servers[0].kill()
        await wait_until(lambda: service.master() is not service.servers[0])

    async with (
        RedisStore.from_url(service.url, PATIENT) as store,
        RedisStore.from_url(service.url, REPLICATED) as replicated,
    ):
        await check_failover(store, replicated, kill)


@pytest.mark.parametrize("sentinel", [0, 1], ids=["in time", "late"])
async def test_a_failover_by_hand(service: Service, sentinel: int) -> None:
    """No later or replicated write is lost in a failover of a running master, whichever Sentinel a store uses."""
    url = f"redis+sentinel://127.0.0.1:{service.sentinels[sentinel].port}/{SERVICE}/0"
    old = ("127.0.0.1", service.servers[0].port)

    async def fail_over() -> None:
        service.fail_over()
        await wait_until(lambda: all(route._monitor.master not in {None, old} for route in routes))

    async with RedisStore.from_url(url, PATIENT) as store, RedisStore.from_url(url, REPLICATED) as replicated:
        routes: list[Any] = [store._commands._router, replicated._commands._router]
        await check_failover(store, replicated, fail_over)
