"""Mutants of connection counts and rate limits."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from weakref import WeakKeyDictionary

from broken_stores.mutant import Mutants
from wnc_store import RateLimitDecision
from wnc_store_memory.limiters import MemoryConnectionCounter, MemoryRateLimiter
from wnc_store_memory.ttl_map import TTLMap

MUTANTS = Mutants()

acquire, acquire_lease, keep = (
    MemoryConnectionCounter.acquire,
    MemoryConnectionCounter._acquire,
    MemoryConnectionCounter._set_leases,
)
count, live = MemoryConnectionCounter._count, MemoryConnectionCounter._live
hit, peek = MemoryRateLimiter._hit, MemoryRateLimiter._peek
public_hit, public_peek = MemoryRateLimiter.hit, MemoryRateLimiter.peek
FOREVER_MS = 10**15
MILLISECOND = timedelta(milliseconds=1)
REJECTED: WeakKeyDictionary[MemoryRateLimiter, dict[str, tuple[int, RateLimitDecision]]] = WeakKeyDictionary()


@MUTANTS.breaks((MemoryConnectionCounter, "_release"), "releasing_an_unknown_connection_has_no_effect")
async def a_release_always_decrements(self: MemoryConnectionCounter, key: str, connection_id: str) -> int:
    """End another connection's lease if the released one is not held."""
    leases = self._live(key)
    if leases:
        leases.pop(connection_id if connection_id in leases else next(iter(leases)))
    self._set_leases(key, leases)
    return len(leases)


@MUTANTS.breaks(
    (MemoryConnectionCounter, "_set_leases"),
    "a_lease_expires_after_an_hour",
    "acquire_renews_a_lease",
    "the_lease_is_configurable",
    "a_short_lease_does_not_shorten_others",
    "expired_leases_do_not_count",
    "a_cancelled_acquire_is_atomic",
    "a_lease_has_its_own_ttl",
    "a_renewal_replaces_the_ttl",
    "leases_of_a_key_end_separately",
    "the_ttl_of_a_lease_has_millisecond_precision",
    "invalid_ttls_of_leases_are_rejected",
)
def leases_never_expire(self: MemoryConnectionCounter, key: str, leases: dict[str, int]) -> None:
    """Store leases without an expiry, so that a crashed process leaks connections."""
    keep(self, key, dict.fromkeys(leases, FOREVER_MS))


@MUTANTS.breaks(
    (MemoryConnectionCounter, "_acquire"),
    "acquire_renews_a_lease",
    "a_renewal_replaces_the_ttl",
    "leases_of_a_key_end_separately",
)
async def an_acquire_does_not_renew(
    self: MemoryConnectionCounter, key: str, connection_id: str, limit: int | None, ttl: timedelta
) -> tuple[bool, int]:
    """Keep the expiry of a lease that is held already."""
    leases = self._live(key)
    if connection_id in leases:
        return True, len(leases)
    return await acquire_lease(self, key, connection_id, limit, ttl)


@MUTANTS.breaks((MemoryConnectionCounter, "_acquire"), "a_cancelled_acquire_is_atomic")
async def a_leases_expiry_is_set_in_a_second_step(
    self: MemoryConnectionCounter, key: str, connection_id: str, limit: int | None, ttl: timedelta
) -> tuple[bool, int]:
    """Store the lease without an expiry, then set the expiry."""
    outcome = await acquire_lease(self, key, connection_id, limit, ttl)
    if outcome[0]:
        keep(self, key, self._live(key) | {connection_id: FOREVER_MS})
        await asyncio.sleep(0)
        if connection_id in (leases := self._live(key)):
            keep(self, key, leases | {connection_id: self._now_ms() + ttl // MILLISECOND})
    return outcome


@MUTANTS.breaks(
    (MemoryConnectionCounter, "_set_leases"),
    "a_short_lease_does_not_shorten_others",
    "a_lease_has_its_own_ttl",
    "a_renewal_replaces_the_ttl",
    "leases_of_a_key_end_separately",
    "the_ttl_of_a_lease_has_millisecond_precision",
)
def a_short_lease_shortens_all(self: MemoryConnectionCounter, key: str, leases: dict[str, int]) -> None:
    """Expire all leases of a key with the lease that was acquired last."""
    keep(self, key, leases)
    if leases:
        self._leases.set(key, leases, self._settings.connection_ttl // MILLISECOND)


@MUTANTS.breaks((MemoryConnectionCounter, "acquire"), "the_limit_holds_for_concurrent_calls")
async def a_limit_is_checked_in_a_separate_step(
    self: MemoryConnectionCounter,
    key: str,
    connection_id: str,
    *,
    limit: int | None = None,
    ttl: timedelta | None = None,
) -> int:
    """Let other callers run between the check and the increment."""
    if type(limit) is not int or limit < 1 or connection_id in self._live(key) or await count(self, key) >= limit:
        return await acquire(self, key, connection_id, limit=limit, ttl=ttl)
    await asyncio.sleep(0)
    return await acquire(self, key, connection_id, ttl=ttl)


@MUTANTS.breaks((MemoryConnectionCounter, "acquire"), "a_limit_must_be_an_integer")
async def a_limit_may_be_a_float(
    self: MemoryConnectionCounter,
    key: str,
    connection_id: str,
    *,
    limit: float | None = None,
    ttl: timedelta | None = None,
) -> int:
    """Round the limit down."""
    whole = int(limit) if isinstance(limit, float) else limit
    return await acquire(self, key, connection_id, limit=whole, ttl=ttl)


@MUTANTS.breaks((MemoryConnectionCounter, "_acquire"), "renewals_at_the_limit_are_accepted")
async def a_limit_rejects_renewals(
    self: MemoryConnectionCounter, key: str, connection_id: str, limit: int | None, ttl: timedelta
) -> tuple[bool, int]:
    """Apply the limit to leases that are held already."""
    total = await count(self, key)
    if limit is not None and total >= limit:
        return False, total
    return await acquire_lease(self, key, connection_id, limit, ttl)


@MUTANTS.breaks(
    (MemoryConnectionCounter, "_count"),
    "a_lease_expires_after_an_hour",
    "acquire_renews_a_lease",
    "the_lease_is_configurable",
    "a_lease_has_its_own_ttl",
    "a_renewal_replaces_the_ttl",
    "leases_of_a_key_end_separately",
    "invalid_ttls_of_leases_are_rejected",
)
async def counting_renews_leases(self: MemoryConnectionCounter, key: str) -> int:
    """Renew every lease of the key."""
    leases = self._live(key)
    self._set_leases(key, dict.fromkeys(leases, self._now_ms() + self._settings.connection_ttl // MILLISECOND))
    return len(leases)


@MUTANTS.breaks(
    (MemoryRateLimiter, "_hit"), "a_window_is_fixed", "a_rejected_hit_returns_retry_after", "the_window_is_configurable"
)
async def every_hit_restarts_the_window(self: MemoryRateLimiter, key: str, cost: int) -> tuple[int, timedelta]:
    """Give the window its full length with each hit."""
    counted, _ = await hit(self, key, cost)
    self._hits.set(key, counted, self._window_ms)
    return await peek(self, key)


@MUTANTS.breaks((MemoryRateLimiter, "_hit"), "a_cancelled_first_hit_is_atomic")
async def a_windows_ttl_is_set_in_a_second_step(self: MemoryRateLimiter, key: str, cost: int) -> tuple[int, timedelta]:
    """Store the first hit without a TTL, then set the TTL."""
    is_first = self._hits.get(key) is None
    result = await hit(self, key, cost)
    if is_first:
        self._hits.set(key, result[0], FOREVER_MS)
        await asyncio.sleep(0)
        if (counted := self._hits.get(key)) is not None:
            self._hits.set(key, counted.value, self._window_ms)
    return result


@MUTANTS.breaks((MemoryRateLimiter, "_hit"), "a_cancelled_hit_is_atomic")
async def a_cost_is_counted_in_single_steps(self: MemoryRateLimiter, key: str, cost: int) -> tuple[int, timedelta]:
    """Count a cost of n as n separate hits."""
    for _ in range(cost - 1):
        await hit(self, key, 1)
        await asyncio.sleep(0)
    return await hit(self, key, 1)


@MUTANTS.breaks((MemoryRateLimiter, "_hit"), "a_hit_counts_its_cost", "rejected_hits_are_counted")
async def a_rejected_hit_does_not_count(self: MemoryRateLimiter, key: str, cost: int) -> tuple[int, timedelta]:
    """Count only allowed hits, unlike the Node app."""
    counted, remaining = await peek(self, key)
    if counted + cost > self._settings.rate_limit_max:
        return counted + cost, remaining
    return await hit(self, key, cost)


@MUTANTS.breaks((MemoryRateLimiter, "hit"), "a_cost_must_be_an_integer")
async def a_bool_is_a_cost(self: MemoryRateLimiter, key: str, cost: int = 1) -> RateLimitDecision:
    """Accept True as a cost of 1."""
    return await public_hit(self, key, int(cost) if isinstance(cost, bool) else cost)


@MUTANTS.breaks((MemoryRateLimiter, "hit"), "a_cost_must_be_an_integer")
async def an_invalid_cost_is_counted(self: MemoryRateLimiter, key: str, cost: int = 1) -> RateLimitDecision:
    """Count a hit before validating its cost."""
    if type(cost) is not int:
        await hit(self, key, 1)
    return await public_hit(self, key, cost)


@MUTANTS.breaks((MemoryRateLimiter, "peek"), "peek_counts_nothing", "hit_counts_see_other_clients")
async def a_peek_is_counted(self: MemoryRateLimiter, key: str) -> RateLimitDecision:
    """Count a peek as a hit."""
    decision = await public_peek(self, key)
    await hit(self, key, 1)
    return decision


@MUTANTS.breaks(
    (MemoryRateLimiter, "_reset"), "reset_deletes_the_hits_of_one_key", "rate_limits_with_similar_keys_are_distinct"
)
async def a_reset_deletes_all_keys(self: MemoryRateLimiter, key: str) -> None:
    """Delete the hits of all keys."""
    for live_key in list(self._hits.live_keys()):
        self._hits.pop(live_key or key)


@MUTANTS.breaks((MemoryRateLimiter, "_hit"), "concurrent_hits_are_all_counted")
async def hits_are_not_atomic(self: MemoryRateLimiter, key: str, cost: int) -> tuple[int, timedelta]:
    """Read and write the count in two steps."""
    counted, remaining = await peek(self, key)
    await asyncio.sleep(0)
    remaining_ms = remaining // timedelta(milliseconds=1) or self._window_ms
    self._hits.set(key, counted + cost, remaining_ms)
    return counted + cost, timedelta(milliseconds=remaining_ms)


@MUTANTS.breaks(
    (MemoryRateLimiter, "_hit"),
    "360_hits_a_minute_are_allowed",
    "a_window_is_fixed",
    "the_window_is_configurable",
    "a_rejected_hit_returns_retry_after",
    "peek_counts_nothing",
)
async def a_window_never_ends(self: MemoryRateLimiter, key: str, cost: int) -> tuple[int, timedelta]:
    """Store counts without a TTL."""
    counted, remaining = await hit(self, key, cost)
    hits: TTLMap[int] = self._hits
    hits.set(key, counted, FOREVER_MS)
    return counted, min(remaining, timedelta(milliseconds=self._window_ms))


@MUTANTS.breaks((MemoryRateLimiter, "_hit"), "rate_limit_windows_have_millisecond_precision")
async def a_window_is_in_whole_seconds(self: MemoryRateLimiter, key: str, cost: int) -> tuple[int, timedelta]:
    """Round the rest of the window down to seconds."""
    counted, remaining = await hit(self, key, cost)
    return counted, timedelta(seconds=remaining // timedelta(seconds=1))


@MUTANTS.breaks((MemoryRateLimiter, "_hit"), "rejected_hits_are_counted")
async def a_count_is_saturated(self: MemoryRateLimiter, key: str, cost: int) -> tuple[int, timedelta]:
    """Stop counting above the client's limit."""
    counted, remaining = await hit(self, key, cost)
    entry = self._hits.get(key)
    if entry is not None:
        self._hits.change(key, entry, min(counted, self._settings.rate_limit_max + 1))
    return counted, remaining


@MUTANTS.breaks((MemoryRateLimiter, "hit"), "hit_counts_see_other_clients", "rejected_hits_are_counted")
async def a_rejection_is_remembered(self: MemoryRateLimiter, key: str, cost: int = 1) -> RateLimitDecision:
    """Reject hits without counting them until the window of a rejected hit ends."""
    rejected = REJECTED.setdefault(self, {})
    ends_ms, decision = rejected.get(key, (0, None))
    now_ms = self._hits._now_ms()
    if decision is None or ends_ms <= now_ms or cost < 1:
        decision = await public_hit(self, key, cost)
        if not decision.allowed:
            rejected[key] = now_ms + decision.reset_after // timedelta(milliseconds=1), decision
        return decision
    rest = timedelta(milliseconds=ends_ms - now_ms)
    return replace(decision, retry_after=rest, reset_after=rest)
