"""Mistakes in how connections and hits are counted."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from broken_stores.mutant import Mistakes
from wnc_store import RateLimitDecision
from wnc_store_memory.limiters import MemoryConnectionCounter, MemoryRateLimiter
from wnc_store_memory.ttl_map import TTLMap

MUTANTS = Mistakes()

acquire, renew, keep = (
    MemoryConnectionCounter.acquire,
    MemoryConnectionCounter._acquire,
    MemoryConnectionCounter._set_leases,
)
count, live = MemoryConnectionCounter._count, MemoryConnectionCounter._live
hit, peek, look = MemoryRateLimiter._hit, MemoryRateLimiter._peek, MemoryRateLimiter.peek
count_hit = MemoryRateLimiter.hit
FOREVER_MS = 10**15


@MUTANTS.breaks((MemoryConnectionCounter, "_release"), "releasing_an_unknown_connection_has_no_effect")
async def a_release_always_counts_down(self: MemoryConnectionCounter, key: str, connection_id: str) -> int:
    """Whoever releases what is not held ends somebody else's lease."""
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
)
def leases_never_end(self: MemoryConnectionCounter, key: str, leases: dict[str, int]) -> None:
    """A crashed process leaks its connections."""
    keep(self, key, dict.fromkeys(leases, FOREVER_MS))


@MUTANTS.breaks((MemoryConnectionCounter, "_acquire"), "acquire_renews_a_lease")
async def an_acquire_does_not_renew(
    self: MemoryConnectionCounter, key: str, connection_id: str, limit: int | None
) -> tuple[bool, int]:
    """Whoever holds a lease keeps its end."""
    leases = self._live(key)
    return (True, len(leases)) if connection_id in leases else await renew(self, key, connection_id, limit)


@MUTANTS.breaks((MemoryConnectionCounter, "_acquire"), "a_cancelled_acquire_is_atomic")
async def a_lease_is_given_its_end_a_moment_later(
    self: MemoryConnectionCounter, key: str, connection_id: str, limit: int | None
) -> tuple[bool, int]:
    """A lease is written without an end, and given one in a second step."""
    outcome = await renew(self, key, connection_id, limit)
    if outcome[0]:
        keep(self, key, self._live(key) | {connection_id: FOREVER_MS})
        await asyncio.sleep(0)
        if connection_id in (leases := self._live(key)):
            keep(self, key, leases | {connection_id: self._now_ms() + self._ttl_ms})
    return outcome


@MUTANTS.breaks((MemoryConnectionCounter, "_set_leases"), "a_short_lease_does_not_shorten_others")
def a_short_lease_shortens_all(self: MemoryConnectionCounter, key: str, leases: dict[str, int]) -> None:
    """All leases of a key end with the one that was acquired last."""
    keep(self, key, leases)
    if leases:
        self._leases.set(key, leases, self._ttl_ms)


@MUTANTS.breaks((MemoryConnectionCounter, "acquire"), "the_limit_holds_for_concurrent_calls")
async def a_limit_is_checked_too_early(
    self: MemoryConnectionCounter, key: str, connection_id: str, *, limit: int | None = None
) -> int:
    """Others may come in between the check and the count."""
    if type(limit) is not int or limit < 1 or connection_id in self._live(key) or await count(self, key) >= limit:
        return await acquire(self, key, connection_id, limit=limit)
    await asyncio.sleep(0)
    return await acquire(self, key, connection_id)


@MUTANTS.breaks((MemoryConnectionCounter, "acquire"), "a_limit_must_be_an_integer")
async def a_limit_may_be_any_number(
    self: MemoryConnectionCounter, key: str, connection_id: str, *, limit: float | None = None
) -> int:
    """A limit is rounded down."""
    return await acquire(self, key, connection_id, limit=int(limit) if isinstance(limit, float) else limit)


@MUTANTS.breaks((MemoryConnectionCounter, "_acquire"), "renewals_at_the_limit_are_accepted")
async def a_limit_refuses_renewals(
    self: MemoryConnectionCounter, key: str, connection_id: str, limit: int | None
) -> tuple[bool, int]:
    """Whoever holds a lease may be refused."""
    held = await count(self, key)
    return (False, held) if limit is not None and held >= limit else await renew(self, key, connection_id, limit)


@MUTANTS.breaks(
    (MemoryConnectionCounter, "_count"),
    "a_lease_expires_after_an_hour",
    "acquire_renews_a_lease",
    "the_lease_is_configurable",
)
async def counting_renews(self: MemoryConnectionCounter, key: str) -> int:
    """A count gives every lease its full time again."""
    leases = self._live(key)
    self._set_leases(key, dict.fromkeys(leases, self._now_ms() + self._ttl_ms))
    return len(leases)


@MUTANTS.breaks(
    (MemoryRateLimiter, "_hit"), "a_window_is_fixed", "a_rejected_hit_returns_retry_after", "the_window_is_configurable"
)
async def every_hit_begins_a_window(self: MemoryRateLimiter, key: str, cost: int) -> tuple[int, timedelta]:
    """Whoever keeps trying never gets in."""
    counted, _ = await hit(self, key, cost)
    self._hits.set(key, counted, self._window_ms)
    return await peek(self, key)


@MUTANTS.breaks((MemoryRateLimiter, "_hit"), "a_cancelled_first_hit_is_atomic")
async def a_window_is_given_its_end_a_moment_later(
    self: MemoryRateLimiter, key: str, cost: int
) -> tuple[int, timedelta]:
    """The first hit is counted without an end, which follows in a second step."""
    is_first = self._hits.get(key) is None
    found = await hit(self, key, cost)
    if is_first:
        self._hits.set(key, found[0], FOREVER_MS)
        await asyncio.sleep(0)
        if (counted := self._hits.get(key)) is not None:
            self._hits.set(key, counted.value, self._window_ms)
    return found


@MUTANTS.breaks((MemoryRateLimiter, "_hit"), "a_cancelled_hit_is_atomic")
async def what_a_hit_costs_is_counted_one_by_one(self: MemoryRateLimiter, key: str, cost: int) -> tuple[int, timedelta]:
    """A hit that costs more is many hits."""
    for _ in range(cost - 1):
        await hit(self, key, 1)
        await asyncio.sleep(0)
    return await hit(self, key, 1)


@MUTANTS.breaks((MemoryRateLimiter, "_hit"), "a_hit_counts_its_cost")
async def a_refused_hit_does_not_count(self: MemoryRateLimiter, key: str, cost: int) -> tuple[int, timedelta]:
    """What is over the limit is not counted, unlike in the Node app."""
    counted, left = await peek(self, key)
    if counted + cost > self._settings.rate_limit_max:
        return counted + cost, left
    return await hit(self, key, cost)


@MUTANTS.breaks((MemoryRateLimiter, "hit"), "a_cost_must_be_an_integer")
async def true_is_a_cost(self: MemoryRateLimiter, key: str, cost: int = 1) -> RateLimitDecision:
    """What Python takes for a number is one."""
    return await count_hit(self, key, int(cost) if isinstance(cost, bool) else cost)


@MUTANTS.breaks((MemoryRateLimiter, "hit"), "a_cost_must_be_an_integer")
async def a_refused_cost_is_counted_before(self: MemoryRateLimiter, key: str, cost: int = 1) -> RateLimitDecision:
    """What a hit costs is looked at when it has been counted."""
    if type(cost) is not int:
        await hit(self, key, 1)
    return await count_hit(self, key, cost)


@MUTANTS.breaks((MemoryRateLimiter, "peek"), "peek_counts_nothing", "hit_counts_see_other_clients")
async def a_peek_counts(self: MemoryRateLimiter, key: str) -> RateLimitDecision:
    """Looking is a hit."""
    decision = await look(self, key)
    await hit(self, key, 1)
    return decision


@MUTANTS.breaks(
    (MemoryRateLimiter, "_reset"), "reset_deletes_the_hits_of_one_key", "rate_limits_with_similar_keys_are_distinct"
)
async def a_reset_forgets_everybody(self: MemoryRateLimiter, key: str) -> None:
    """Everybody's hits are forgotten."""
    for one in list(self._hits.live_keys()):
        self._hits.pop(one or key)


@MUTANTS.breaks((MemoryRateLimiter, "_hit"), "concurrent_hits_are_all_counted")
async def hits_get_lost(self: MemoryRateLimiter, key: str, cost: int) -> tuple[int, timedelta]:
    """Reading and writing the count are two steps."""
    counted, left = await peek(self, key)
    await asyncio.sleep(0)
    left_ms = left // timedelta(milliseconds=1) or self._window_ms
    self._hits.set(key, counted + cost, left_ms)
    return counted + cost, timedelta(milliseconds=left_ms)


@MUTANTS.breaks(
    (MemoryRateLimiter, "_hit"),
    "360_hits_a_minute_are_allowed",
    "a_window_is_fixed",
    "the_window_is_configurable",
    "a_rejected_hit_returns_retry_after",
    "peek_counts_nothing",
)
async def a_window_never_ends(self: MemoryRateLimiter, key: str, cost: int) -> tuple[int, timedelta]:
    """A count has no end."""
    counted, left = await hit(self, key, cost)
    hits: TTLMap[int] = self._hits
    hits.set(key, counted, FOREVER_MS)
    return counted, min(left, timedelta(milliseconds=self._window_ms))


@MUTANTS.breaks((MemoryRateLimiter, "_hit"), "rate_limit_windows_have_millisecond_precision")
async def a_window_in_whole_seconds(self: MemoryRateLimiter, key: str, cost: int) -> tuple[int, timedelta]:
    """What is left of a window is cut."""
    counted, left = await hit(self, key, cost)
    return counted, timedelta(seconds=left // timedelta(seconds=1))
