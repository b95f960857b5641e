"""The calls under faults of `wnc-store verify --faults` on real servers, with thousands of calls."""

from __future__ import annotations

import asyncio

import pytest

from chaos.server import DurableServer
from redis_cluster import Cluster
from wnc_store_contract import Capability, Harness
from wnc_store_contract.faults.run import FaultReport, run_faults
from wnc_store_contract.redis import RedisClusterHarness, RedisHarness

pytestmark = pytest.mark.timeout(1200)


class RestartingHarness(RedisHarness):
    """Stores on a server that can be killed and restarted."""

    capabilities = RedisHarness.capabilities | {Capability.RESTART}

    def __init__(self, server: DurableServer) -> None:
        super().__init__(server.url)
        self._server = server

    async def restart(self) -> None:
        """Kill the server and start it again."""
        self._server.kill()
        await asyncio.to_thread(self._server.start)


async def run_thousands(harness: Harness, seed: int) -> FaultReport:
    """Run thousands of calls, and return the report."""
    try:
        return await run_faults(harness, seed, operations=3000)
    finally:
        await harness.aclose()


@pytest.mark.parametrize("seed", range(10))
async def test_redis_violates_nothing(server: DurableServer, seed: int) -> None:
    """Stores whose connections are killed and whose server restarts violate no rule."""
    report = await run_thousands(RestartingHarness(server), seed)
    assert (report.violations, report.undecided) == ([], 0)
    assert report.faults > 50


@pytest.mark.parametrize("seed", range(3))
async def test_a_cluster_violates_nothing(cluster: Cluster, seed: int) -> None:
    """Stores whose connections to all nodes are killed violate no rule."""
    report = await run_thousands(RedisClusterHarness(cluster.url), seed)
    assert (report.violations, report.undecided) == ([], 0)
    assert report.faults > 50
