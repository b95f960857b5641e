"""The contract on the Redis backend with fakeredis: fast, but not a substitute for a real server."""

from __future__ import annotations

from redis_harnesses import FakeHarness
from wnc_store_contract import StoreContract


class TestFakeRedis(StoreContract):
    """A new fake server for each clause."""

    def make_harness(self) -> FakeHarness:
        """Return a harness with a new fake server."""
        return FakeHarness()
