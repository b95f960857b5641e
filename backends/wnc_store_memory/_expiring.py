"""A mapping whose entries expire, each at its own time."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

from cachetools import TLRUCache

V = TypeVar("V")

_SHARDS = 1024


@dataclass(frozen=True, slots=True)
class Entry(Generic[V]):
    """A value and the clock's reading, in milliseconds, from which on it is gone."""

    value: V
    expires_ms: int


class ExpiringMap(Generic[V]):
    """String keys to values with a TTL each, never evicted before its end.

    A `TLRUCache` frees all that has expired at once, when it is next written to: 100,000 rooms that expire together
    would stall the event loop. So the keys are spread over many small caches, and every write frees the expired of two:
    the one it writes to, and the next one in turn, which is how entries are freed that nobody asks for again.
    """

    def __init__(self, monotonic_ms: Callable[[], int]) -> None:
        self._now_ms = monotonic_ms
        self._shards: dict[int, TLRUCache[str, Entry[V]]] = {}
        self._turn = 0

    def get(self, key: str) -> Entry[V] | None:
        """Return the live entry of a key."""
        shard = self._shards.get(hash(key) % _SHARDS)
        return None if shard is None else shard.get(key)

    def set(self, key: str, value: V, ttl_ms: int) -> None:
        """Set a key for `ttl_ms` from now."""
        number = hash(key) % _SHARDS
        shard = self._shards.get(number)
        if shard is None:
            shard = self._shards[number] = TLRUCache(math.inf, _expires, self._now_ms)
        shard[key] = Entry(value, self._now_ms() + ttl_ms)
        self._free_next()

    def pop(self, key: str) -> Entry[V] | None:
        """Remove a key; return the live entry that was there."""
        shard = self._shards.get(hash(key) % _SHARDS)
        return None if shard is None else shard.pop(key, None)

    def remaining_ms(self, key: str) -> int | None:
        """Return how long a live key still lives."""
        entry = self.get(key)
        return None if entry is None else entry.expires_ms - self._now_ms()

    def live_keys(self) -> Iterator[str]:
        """Yield the live keys; the map may be changed meanwhile."""
        for shard in tuple(self._shards.values()):
            for key in tuple(iter(shard)):  # of a cache itself, tuple() asks for the length, and that frees
                if key in shard:
                    yield key

    def free(self) -> Iterator[int]:
        """Free all that has expired and was not freed yet, piece by piece; yield how much each piece was."""
        for shard in tuple(self._shards.values()):
            yield len(list(shard.expire()))

    def _free_next(self) -> None:
        self._turn = (self._turn + 1) % _SHARDS
        shard = self._shards.get(self._turn)
        if shard is not None:
            shard.expire()


def _expires(_key: str, entry: Entry[V], _now_ms: float) -> float:
    return entry.expires_ms
