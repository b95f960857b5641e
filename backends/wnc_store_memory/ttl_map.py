"""A mapping whose entries expire, each at its own time."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Generic, NamedTuple, TypeVar

from cachetools import TLRUCache

V = TypeVar("V")

_SHARDS = 256

_WRITES = 4
"""Every so many writes, one shard is freed."""


class Entry(NamedTuple, Generic[V]):
    """A value and the clock's reading, in milliseconds, from which on it is gone."""

    value: V
    expires_ms: int


class TTLMap(Generic[V]):
    """String keys to values with a TTL each, never evicted before its end.

    The entries are in a dict, which is all that a read or a renewal touches. Aside, in order, is kept when each key is
    due to be freed; a renewal leaves that as it is, and a key that is due but lives on is put back.

    A `TLRUCache` keeps that order, but frees all that is due at once: 100,000 rooms that expire together would stall
    the event loop. So the keys are spread over many small ones, and every few writes free what is due in the next.
    """

    def __init__(self, monotonic_ms: Callable[[], int]) -> None:
        self._now_ms = monotonic_ms
        self._entries: dict[str, Entry[V]] = {}
        self._expiry_buckets: dict[int, TLRUCache[str, int]] = {}
        self._due_as_of = 0  # the time that these go by, which stands still while one of them is looked at
        self._turn = 0

    def get(self, key: str) -> Entry[V] | None:
        """Return the live entry of a key."""
        entry = self._entries.get(key)
        return entry if entry is not None and entry.expires_ms > self._now_ms() else None

    def set(self, key: str, value: V, ttl_ms: int) -> None:
        """Set a key for `ttl_ms` from now."""
        self._set(key, self._entries.get(key), value, self._now_ms(), ttl_ms)

    def replace(self, key: str, former: Entry[V], value: V, ttl_ms: int) -> bool:
        """Set a key for `ttl_ms` from now if it holds this very entry, and that is live; tell whether it did."""
        now = self._now_ms()
        if self._entries.get(key) is not former or former.expires_ms <= now:
            return False
        self._set(key, former, value, now, ttl_ms)
        return True

    def change(self, key: str, former: Entry[V], value: V) -> None:
        """Set a key that holds this entry to another value, which ends when the entry does."""
        now = self._now_ms()
        self._set(key, former, value, now, former.expires_ms - now)

    def pop(self, key: str) -> Entry[V] | None:
        """Remove a key; return the live entry that was there."""
        entry = self.get(key)
        if self._entries.pop(key, None) is not None:
            self._expiry_buckets[hash(key) % _SHARDS].pop(key, None)
        return entry

    def get_with_ttl(self, key: str) -> tuple[Entry[V], int] | None:
        """Return the live entry of a key and how long it still lives, both by one reading of the clock."""
        entry = self._entries.get(key)
        if entry is None:
            return None
        left_ms = entry.expires_ms - self._now_ms()
        return (entry, left_ms) if left_ms > 0 else None

    def remaining_ms(self, key: str) -> int | None:
        """Return how long a live key still lives."""
        found = self.get_with_ttl(key)
        return None if found is None else found[1]

    def live_keys(self) -> Iterator[str]:
        """Yield the live keys; the map may be changed meanwhile."""
        for key in tuple(self._entries):
            if self.get(key) is not None:
                yield key

    def purge_expired(self) -> Iterator[int]:
        """Free all that has expired and was not freed yet, piece by piece; yield how much each piece was."""
        for number in tuple(self._expiry_buckets):
            self._due_as_of = self._now_ms()
            yield self._purge(number)

    def _set(self, key: str, former: Entry[V] | None, value: V, now: int, ttl_ms: int) -> None:
        self._due_as_of = now
        self._entries[key] = entry = Entry(value, now + ttl_ms)
        if former is None or entry.expires_ms < former.expires_ms:
            self._put(key, entry)
        self._turn = (self._turn + 1) % (_WRITES * _SHARDS)
        if not self._turn % _WRITES:
            self._purge(self._turn // _WRITES)

    def _put(self, key: str, entry: Entry[V]) -> None:
        number = hash(key) % _SHARDS
        self._purge(number)  # or else the cache would, and not say what
        if number not in self._expiry_buckets:
            self._expiry_buckets[number] = TLRUCache(math.inf, _due_ms, lambda: self._due_as_of)
        self._expiry_buckets[number][key] = max(
            entry.expires_ms, self._due_as_of + 1
        )  # it takes nothing that is due already

    def _purge(self, number: int) -> int:
        due = self._expiry_buckets.get(number)
        if due is None:
            return 0
        freed = 0
        for key, _ in due.expire():
            entry = self._entries.get(key)
            if entry is None:  # it was removed when it was due already
                continue
            if entry.expires_ms > self._due_as_of:
                due[key] = entry.expires_ms
            else:
                del self._entries[key]
                freed += 1
        return freed


def _due_ms(_key: str, due_ms: int, _now_ms: float) -> float:
    return due_ms
