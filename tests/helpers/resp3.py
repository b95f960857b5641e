"""The Redis backend over RESP3, as a harness."""

from __future__ import annotations

from typing import Any

from wnc_store_contract.redis import RedisHarness
from wnc_store_redis import RedisStore


class Resp3Harness(RedisHarness):
    """Stores that speak RESP3."""

    def open_store(self, **settings: Any) -> RedisStore:
        """Return a store on a client of its own."""
        return RedisStore.from_url(self.named(f"{self._url}?protocol=3"), self.settings(**settings))
