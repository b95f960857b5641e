"""Fixtures of the cluster tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from redis_cluster import Cluster, redis_cluster


@pytest.fixture(scope="module", name="cluster")
def _cluster() -> Iterator[Cluster]:
    """Three masters without replicas, shared by tests that leave them unchanged."""
    with redis_cluster(replicas=0) as made:
        yield made
