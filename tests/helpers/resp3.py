"""A harness of the Redis backend with RESP3."""

from __future__ import annotations

from typing import Any

from wnc_store_contract.redis import RedisHarness
from wnc_store_redis import RedisStore


class Resp3Harness(RedisHarness):
    """Stores whose connections use RESP3."""

    def open_store(self, **settings: Any) -> RedisStore:
        """Return a store with its own client."""
        return RedisStore.from_url(self.named(f"{self._url}?protocol=3"), self.settings(**settings))
