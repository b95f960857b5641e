"""The contract on the Redis backend with a real cluster of three masters."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from redis_cluster import Cluster, redis_cluster
from wnc_store_contract import StoreContract
from wnc_store_contract.redis import RedisClusterHarness


@pytest.fixture(scope="module", name="cluster")
def _cluster() -> Iterator[Cluster]:
    """A cluster for these tests."""
    with redis_cluster(replicas=0) as cluster:
        yield cluster


class TestCluster(StoreContract):
    """A unique key prefix."""

    cluster: Cluster

    @pytest.fixture(autouse=True)
    def _use_cluster(self, cluster: Cluster) -> None:
        self.cluster = cluster

    def make_harness(self) -> RedisClusterHarness:
        """Return a harness with a unique key prefix."""
        return RedisClusterHarness(self.cluster.url)
