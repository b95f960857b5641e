"""The Redis backend keeps the contract on fakeredis: quick, and not a proof."""

from __future__ import annotations

from fake_redis import FakeHarness
from wnc_store_contract import StoreContract


class TestFakeRedis(StoreContract):
    """A fake server for each clause."""

    def make_harness(self) -> FakeHarness:
        """Return a new fake server."""
        return FakeHarness()
