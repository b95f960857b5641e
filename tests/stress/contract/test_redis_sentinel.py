"""The contract on the Redis backend with Sentinel and replicated durability."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from redis_sentinels import Service, sentinel_service
from wnc_store import StoreSettings
from wnc_store_contract import StoreContract
from wnc_store_contract.redis import RedisHarness


class ReplicatedHarness(RedisHarness):
    """Stores whose writes wait for all replicas."""

    def settings(self, **settings: Any) -> StoreSettings:
        """Return settings with replicated durability."""
        return super().settings(durability="replicated", **settings)


@pytest.fixture(scope="module", name="service")
def _service() -> Iterator[Service]:
    """A master, a replica and a Sentinel."""
    with sentinel_service(replicas=1, sentinels=1) as service:
        yield service


class TestSentinel(StoreContract):
    """The key names of the Node app."""

    service: Service

    @pytest.fixture(autouse=True)
    def _use_service(self, service: Service) -> None:
        self.service = service

    def make_harness(self) -> ReplicatedHarness:
        """Return a harness that uses all of database 0."""
        return ReplicatedHarness(self.service.url, key_prefix="")
