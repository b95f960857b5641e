"""The Redis backend keeps the contract on a real cluster of three masters."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from redis_cluster import Cluster, redis_cluster
from wnc_store_contract import StoreContract
from wnc_store_contract.redis import RedisClusterHarness


@pytest.fixture(scope="module", name="cluster")
def _cluster() -> Iterator[Cluster]:
    """A cluster for these tests."""
    with redis_cluster(replicas=0) as made:
        yield made


class TestCluster(StoreContract):
    """With a prefix that nobody else has."""

    cluster: Cluster

    @pytest.fixture(autouse=True)
    def _use_cluster(self, cluster: Cluster) -> None:
        self.cluster = cluster

    def make_harness(self) -> RedisClusterHarness:
        """Return a namespace of its own."""
        return RedisClusterHarness(self.cluster.url)
