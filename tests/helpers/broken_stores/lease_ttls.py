"""Mutants of the TTLs with which leases are acquired."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from broken_stores.mutant import Mutants
from wnc_store.base import limiters
from wnc_store_memory.limiters import MemoryConnectionCounter

MUTANTS = Mutants()

acquire, acquire_lease = MemoryConnectionCounter.acquire, MemoryConnectionCounter._acquire
release, check_duration = MemoryConnectionCounter._release, limiters.check_duration
MILLISECOND, SECOND, MINUTE = timedelta(milliseconds=1), timedelta(seconds=1), timedelta(minutes=1)
CHECK = (limiters, "check_duration")
Ttl = timedelta | None
LONG_TTLS = (
    "a_lease_has_its_own_ttl",
    "a_renewal_replaces_the_ttl",
    "leases_of_a_key_end_separately",
    "the_ttl_of_a_lease_has_millisecond_precision",
)
"""The clauses that acquire leases with a TTL above the setting connection_ttl."""


@MUTANTS.breaks((MemoryConnectionCounter, "acquire"), *LONG_TTLS, "invalid_ttls_of_leases_are_rejected")
async def a_ttl_is_ignored(
    self: MemoryConnectionCounter, key: str, connection_id: str, *, limit: int | None = None, ttl: Ttl = None
) -> int:
    """Give each lease the setting connection_ttl."""
    if ttl is not None:
        check_duration("ttl", ttl)
    return await acquire(self, key, connection_id, limit=limit)


@MUTANTS.breaks((MemoryConnectionCounter, "acquire"), *LONG_TTLS)
async def a_ttl_is_at_most_the_setting(
    self: MemoryConnectionCounter, key: str, connection_id: str, *, limit: int | None = None, ttl: Ttl = None
) -> int:
    """End each lease after connection_ttl at the latest."""
    if isinstance(ttl, timedelta) and MILLISECOND <= ttl <= timedelta(days=36500):
        ttl = min(ttl, self._settings.connection_ttl)
    return await acquire(self, key, connection_id, limit=limit, ttl=ttl)


@MUTANTS.breaks((MemoryConnectionCounter, "acquire"), "a_lease_has_its_own_ttl")
async def a_ttl_is_lost_with_a_limit(
    self: MemoryConnectionCounter, key: str, connection_id: str, *, limit: int | None = None, ttl: Ttl = None
) -> int:
    """Use the TTL only without a limit."""
    return await acquire(self, key, connection_id, limit=limit, ttl=ttl if limit is None else None)


@MUTANTS.breaks((MemoryConnectionCounter, "_acquire"), "a_renewal_replaces_the_ttl")
async def a_renewal_never_shortens_a_lease(
    self: MemoryConnectionCounter, key: str, connection_id: str, limit: int | None, ttl: timedelta
) -> tuple[bool, int]:
    """Keep the end of a lease that is later than that of the renewal."""
    former_ms = self._live(key).get(connection_id, 0)
    return await acquire_lease(self, key, connection_id, limit, max(ttl, (former_ms - self._now_ms()) * MILLISECOND))


@MUTANTS.breaks((MemoryConnectionCounter, "acquire"), "a_renewal_replaces_the_ttl")
async def a_renewal_without_a_ttl_keeps_the_end(
    self: MemoryConnectionCounter, key: str, connection_id: str, *, limit: int | None = None, ttl: Ttl = None
) -> int:
    """Keep the end of a lease that is renewed without a TTL, if it is later than after connection_ttl."""
    former_ms = self._live(key).get(connection_id, 0)
    rest = (former_ms - self._now_ms()) * MILLISECOND
    if ttl is None and rest > self._settings.connection_ttl:
        ttl = rest
    return await acquire(self, key, connection_id, limit=limit, ttl=ttl)


@MUTANTS.breaks((MemoryConnectionCounter, "_acquire"), "leases_of_a_key_end_separately")
async def a_renewal_moves_the_end_of_the_key(
    self: MemoryConnectionCounter, key: str, connection_id: str, limit: int | None, ttl: timedelta
) -> tuple[bool, int]:
    """End all leases of a key when the lease that was renewed last ends."""
    is_renewal = connection_id in self._live(key)
    acquired, total = await acquire_lease(self, key, connection_id, limit, ttl)
    if is_renewal:
        self._leases.set(key, self._live(key), ttl // MILLISECOND)
    return acquired, total


@MUTANTS.breaks((MemoryConnectionCounter, "_acquire"), "leases_of_a_key_end_separately")
async def a_ttl_is_that_of_all_leases(
    self: MemoryConnectionCounter, key: str, connection_id: str, limit: int | None, ttl: timedelta
) -> tuple[bool, int]:
    """Let all leases of the key end with a lease that has another TTL than connection_ttl."""
    acquired, total = await acquire_lease(self, key, connection_id, limit, ttl)
    if acquired and ttl != self._settings.connection_ttl:
        self._set_leases(key, dict.fromkeys(self._live(key), self._now_ms() + ttl // MILLISECOND))
    return acquired, total


@MUTANTS.breaks((MemoryConnectionCounter, "_release"), "leases_of_a_key_end_separately")
async def a_release_renews_the_others(self: MemoryConnectionCounter, key: str, connection_id: str) -> int:
    """Give the remaining leases of the key the setting connection_ttl."""
    is_held = connection_id in self._live(key)
    total = await release(self, key, connection_id)
    if is_held and total:
        expiry = self._now_ms() + self._settings.connection_ttl // MILLISECOND
        self._set_leases(key, dict.fromkeys(self._live(key), expiry))
    return total


@MUTANTS.breaks(CHECK, "the_ttl_of_a_lease_has_millisecond_precision")
def a_ttl_is_in_whole_seconds(name: str, value: Any) -> timedelta:
    """Round a TTL up to seconds, the unit of many servers."""
    return -(-check_duration(name, value) // SECOND) * SECOND


@MUTANTS.breaks(CHECK, "the_ttl_of_a_lease_has_millisecond_precision")
def a_ttl_is_rounded_up(name: str, value: Any) -> timedelta:
    """Round a TTL up to milliseconds."""
    check_duration(name, value)
    return -(-value // MILLISECOND) * MILLISECOND


@MUTANTS.breaks(CHECK, "the_ttl_of_a_lease_has_millisecond_precision")
def a_lease_has_30_days_at_most(name: str, value: Any) -> timedelta:
    """Shorten a TTL to 30 days."""
    return min(check_duration(name, value), timedelta(days=30))


@MUTANTS.breaks(CHECK, "invalid_ttls_of_leases_are_rejected")
def a_ttl_of_zero_is_a_millisecond(name: str, value: Any) -> timedelta:
    """Extend a TTL that is too short."""
    return check_duration(name, max(value, MILLISECOND) if isinstance(value, timedelta) else value)


@MUTANTS.breaks(CHECK, "invalid_ttls_of_leases_are_rejected")
def a_ttl_has_no_upper_bound(name: str, value: Any) -> timedelta:
    """Shorten a TTL that is too long."""
    return check_duration(name, min(value, timedelta(days=36500)) if isinstance(value, timedelta) else value)


@MUTANTS.breaks(CHECK, "invalid_ttls_of_leases_are_rejected")
def a_number_of_seconds_is_a_ttl(name: str, value: Any) -> timedelta:
    """Accept a number as a TTL in seconds."""
    return check_duration(name, timedelta(seconds=value) if isinstance(value, int | float) else value)


@MUTANTS.breaks((MemoryConnectionCounter, "acquire"), "invalid_ttls_of_leases_are_rejected")
async def an_invalid_ttl_is_found_after_the_renewal(
    self: MemoryConnectionCounter, key: str, connection_id: str, *, limit: int | None = None, ttl: Ttl = None
) -> int:
    """Renew a lease that is held before the TTL is validated."""
    if connection_id in self._live(key) and isinstance(ttl, timedelta) and ttl < MILLISECOND:
        await acquire_lease(self, key, connection_id, limit, self._settings.connection_ttl)
    return await acquire(self, key, connection_id, limit=limit, ttl=ttl)
