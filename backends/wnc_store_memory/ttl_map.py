"""Mapping with a TTL per entry."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Generic, NamedTuple, TypeVar

from cachetools import TLRUCache

V = TypeVar("V")

_SHARDS = 256

_WRITES_PER_PURGE = 4
"""One shard is purged after this number of writes."""


class Entry(NamedTuple, Generic[V]):
    """A value and its expiry time in milliseconds of the monotonic clock."""

    value: V
    expires_ms: int


class TTLMap(Generic[V]):
    """Map from strings to values with a TTL each. Entries are never evicted before their TTL ends.

    Reads and renewals use only a dict of entries. Separate caches order the keys by the time at which to purge them. A
    renewal does not update that time. If a key is due but its entry is still live, the key is scheduled again.

    A `TLRUCache` keeps this order, but it purges all due keys in one call: 100,000 rooms that expire at the same time
    would block the event loop. The keys are therefore distributed over many small caches, and every few writes purge
    the next one.

    Args:
        monotonic_ms: Monotonic clock in milliseconds.
    """

    def __init__(self, monotonic_ms: Callable[[], int]) -> None:
        self._now_ms = monotonic_ms
        self._entries: dict[str, Entry[V]] = {}
        self._expiry_buckets: dict[int, TLRUCache[str, int]] = {}
        self._purge_time = 0  # the time used by the buckets, constant while one of them is purged
        self._write_count = 0

    def get(self, key: str) -> Entry[V] | None:
        """Return the live entry of a key, or None."""
        entry = self._entries.get(key)
        return entry if entry is not None and entry.expires_ms > self._now_ms() else None

    def set(self, key: str, value: V, ttl_ms: int) -> None:
        """Set a key with a TTL of `ttl_ms`."""
        self._set(key, value, self._now_ms(), ttl_ms)

    def replace(self, key: str, former: Entry[V], value: V, ttl_ms: int) -> bool:
        """Set a key with a TTL of `ttl_ms` if its live entry is `former`. Return whether that is so."""
        now = self._now_ms()
        if self._entries.get(key) is not former or former.expires_ms <= now:
            return False
        self._set(key, value, now, ttl_ms)
        return True

    def change(self, key: str, former: Entry[V], value: V) -> None:
        """Replace the value of the entry `former` and keep its expiry time."""
        now = self._now_ms()
        self._set(key, value, now, former.expires_ms - now)

    def pop(self, key: str) -> Entry[V] | None:
        """Remove a key. Return its entry if it was live, otherwise None."""
        entry = self.get(key)
        if self._entries.pop(key, None) is not None:
            self._expiry_buckets[hash(key) % _SHARDS].pop(key, None)
        return entry

    def get_with_ttl(self, key: str) -> tuple[Entry[V], int] | None:
        """Return the live entry of a key and its remaining milliseconds from one reading of the clock, or None."""
        entry = self._entries.get(key)
        if entry is None:
            return None
        remaining_ms = entry.expires_ms - self._now_ms()
        return (entry, remaining_ms) if remaining_ms > 0 else None

    def remaining_ms(self, key: str) -> int | None:
        """Return the remaining milliseconds of a live key, or None."""
        current = self.get_with_ttl(key)
        return None if current is None else current[1]

    def live_keys(self) -> Iterator[str]:
        """Iterate over the live keys. The map may change during the iteration."""
        for key in tuple(self._entries):
            if self.get(key) is not None:
                yield key

    def purge_expired(self) -> Iterator[int]:
        """Purge the expired entries bucket by bucket. Yield the number of entries purged from each bucket."""
        for number in tuple(self._expiry_buckets):
            self._purge_time = self._now_ms()
            yield self._purge(number)

    def _set(self, key: str, value: V, now: int, ttl_ms: int) -> None:
        self._purge_time = now
        former = self._entries.get(key)
        self._entries[key] = entry = Entry(value, now + ttl_ms)
        if former is None or entry.expires_ms < former.expires_ms:
            self._put(key, entry)
        self._write_count = (self._write_count + 1) % (_WRITES_PER_PURGE * _SHARDS)
        if not self._write_count % _WRITES_PER_PURGE:
            self._purge(self._write_count // _WRITES_PER_PURGE)

    def _put(self, key: str, entry: Entry[V]) -> None:
        number = hash(key) % _SHARDS
        self._purge(number)  # otherwise the cache would purge expired keys without returning them
        if number not in self._expiry_buckets:
            self._expiry_buckets[number] = TLRUCache(math.inf, _due_ms, lambda: self._purge_time)
        # The cache does not accept a key that is already due.
        self._expiry_buckets[number][key] = max(entry.expires_ms, self._purge_time + 1)

    def _purge(self, number: int) -> int:
        bucket = self._expiry_buckets.get(number)
        if bucket is None:
            return 0
        purged = 0
        for key, _ in bucket.expire():
            entry = self._entries.get(key)
            if entry is None:  # removed by `pop` when the key was already due
                continue
            if entry.expires_ms > self._purge_time:
                bucket[key] = entry.expires_ms
            else:
                del self._entries[key]
                purged += 1
        return purged


def _due_ms(_key: str, due_ms: int, _now_ms: float) -> float:
    return due_ms


def to_timedelta(milliseconds: int | None) -> timedelta | None:
    """Return a result of `TTLMap.remaining_ms` as a duration, or None."""
    return None if milliseconds is None else timedelta(milliseconds=milliseconds)
