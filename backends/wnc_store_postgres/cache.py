"""Caches of decoded rooms and messages. An entry is only used for the version that it was decoded from."""

from __future__ import annotations

from typing import Generic, TypeVar

from cachetools import LRUCache

from wnc_store_postgres.transport.statistics import Statistics

_T = TypeVar("_T")

_OVERHEAD = 500
"""Bytes that an entry takes besides its record: keys, the entry and its links."""


class VersionCache(Generic[_T]):
    """The most recently used records, by their keys.

    Args:
        max_bytes: largest total size of the records' JSON, with an estimate of the overhead.
        statistics: counts hits and misses.
    """

    def __init__(self, max_bytes: int, statistics: Statistics) -> None:
        self._entries: LRUCache[str, tuple[int, _T, int]] = LRUCache(max_bytes, getsizeof=lambda entry: entry[2])
        self._statistics = statistics

    def get(self, key: str, version: int) -> _T | None:
        """Return the record, if it was cached with this version."""
        entry = self._entries.get(key)
        if entry is None or entry[0] != version:
            self._statistics.cache_misses += 1
            return None
        self._statistics.cache_hits += 1
        return entry[1]

    def newest(self, key: str) -> tuple[int, _T] | None:
        """Return the version and the record that were cached last, which may be out of date."""
        entry = self._entries.get(key)
        return entry and entry[:2]

    def put(self, key: str, version: int, record: _T, size: int) -> None:
        """Keep a record, unless it is larger than the cache."""
        self._entries.pop(key, None)
        if size + _OVERHEAD <= self._entries.maxsize:
            self._entries[key] = (version, record, size + _OVERHEAD)

    def discard(self, key: str) -> None:
        """Remove a record."""
        self._entries.pop(key, None)
