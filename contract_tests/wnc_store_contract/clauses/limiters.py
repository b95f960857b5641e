"""Clauses about connection counts and rate limits."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from wnc_store import InvalidIdError, LimitExceededError
from wnc_store_contract.calls import all_raise, connection_calls, rate_limit_calls
from wnc_store_contract.clause import ContractContext, clause
from wnc_store_contract.factories import NON_INTEGERS
from wnc_store_contract.harness import Capability

MINUTE, HOUR = 60, 3600
ADDRESSES = (
    *(
        "1.2.3.4",
        "1.2.3.0/24",
        "::1",
        "::ffff:1.2.3.4",
        "2001:db8::/64",
        "fe80::1%eth0",
        "fe80::1%eth1",
        "fe80::1%25en0",
    ),
    *("fe80::1", "unknown", "auth0|ann", "ben@example.com", "ben+tag@example.com", "a~b=", "x" * 128),
)


class ConnectionClauses:
    """Clauses about the leases of connections."""

    @clause(Capability.CONNECTIONS)
    async def test_connections_are_counted(self, context: ContractContext) -> None:
        """acquire, release and count return the number of connections of the key."""
        connections = (await context.open()).connections
        assert await connections.count("ip") == 0
        assert await connections.acquire("ip", "c1") == 1
        assert await connections.acquire("ip", "c2") == 2
        assert await connections.count("ip") == 2
        assert await connections.release("ip", "c1") == 1
        assert await connections.count("ip") == 1

    @clause(Capability.CONNECTIONS)
    async def test_connection_keys_are_independent(self, context: ContractContext) -> None:
        """The same connection id is counted separately under each key."""
        connections = (await context.open()).connections
        await connections.acquire("1.2.3.4", "c1")
        await connections.acquire("::1", "c1")
        assert await connections.release("::1", "c1") == 0
        assert await connections.count("1.2.3.4") == 1

    @clause(Capability.CONNECTIONS)
    async def test_a_connection_counts_once(self, context: ContractContext) -> None:
        """Acquiring a connection again does not count it twice."""
        connections = (await context.open()).connections
        await connections.acquire("ip", "c1")
        assert await connections.acquire("ip", "c1") == 1

    @clause(Capability.CONNECTIONS)
    async def test_releasing_an_unknown_connection_has_no_effect(self, context: ContractContext) -> None:
        """Releasing a connection that is not held has no effect, and the count is never negative."""
        connections = (await context.open()).connections
        assert await connections.release("ip", "c1") == 0
        await connections.acquire("ip", "c1")
        assert await connections.release("ip", "other") == 1
        assert await connections.release("ip", "c1") == 0
        assert await connections.release("ip", "c1") == 0

    @clause(Capability.CONNECTIONS)
    async def test_a_lease_expires_after_an_hour(self, context: ContractContext) -> None:
        """A connection that is not renewed is counted for one hour."""
        connections = (await context.open()).connections
        await connections.acquire("ip", "c1")
        await context.advance(HOUR - MINUTE)
        await connections.acquire("ip", "c2")
        assert await connections.count("ip") == 2
        await context.advance(MINUTE)
        assert await connections.count("ip") == 1
        await context.advance(HOUR)
        assert await connections.count("ip") == 0

    @clause(Capability.CONNECTIONS)
    async def test_acquire_renews_a_lease(self, context: ContractContext) -> None:
        """Acquiring a connection again renews its lease; counting it and acquiring others do not."""
        connections = (await context.open()).connections
        await connections.acquire("ip", "renewed")
        await connections.acquire("ip", "left")
        await context.advance(HOUR - MINUTE)
        await connections.acquire("ip", "renewed")
        await connections.count("ip")
        await context.advance(HOUR - MINUTE)
        assert await connections.count("ip") == 1
        assert await connections.release("ip", "renewed") == 0

    @clause(Capability.CONNECTIONS)
    async def test_the_lease_is_configurable(self, context: ContractContext) -> None:
        """A lease expires after connection_ttl."""
        connections = (await context.open(connection_ttl=timedelta(minutes=10))).connections
        await connections.acquire("ip", "c1")
        await context.advance(9 * MINUTE)
        assert await connections.count("ip") == 1
        await context.advance(MINUTE)
        assert await connections.count("ip") == 0

    @clause(Capability.CONNECTIONS, Capability.SHARED)
    async def test_a_short_lease_does_not_shorten_others(self, context: ContractContext) -> None:
        """A client with a shorter connection_ttl does not shorten the leases of other clients."""
        long, short = await context.open(), await context.open(connection_ttl=timedelta(minutes=1))
        await long.connections.acquire("ip", "long")
        assert await short.connections.acquire("ip", "short") == 2
        await context.advance(2 * MINUTE)
        assert await short.connections.count("ip") == 1

    @clause(Capability.CONNECTIONS)
    async def test_connections_beyond_the_limit_are_rejected(self, context: ContractContext) -> None:
        """Acquiring beyond the limit raises LimitExceededError and counts nothing."""
        connections = (await context.open()).connections
        await connections.acquire("ip", "c1", limit=2)
        await connections.acquire("ip", "c2", limit=2)
        with pytest.raises(LimitExceededError, match="ip"):
            await connections.acquire("ip", "c3", limit=2)
        assert await connections.count("ip") == 2
        await connections.release("ip", "c1")
        assert await connections.acquire("ip", "c3", limit=2) == 2

    @clause(Capability.CONNECTIONS)
    async def test_renewals_at_the_limit_are_accepted(self, context: ContractContext) -> None:
        """A held connection can be renewed at and beyond the limit."""
        connections = (await context.open()).connections
        await connections.acquire("ip", "c1")
        await connections.acquire("ip", "c2")
        assert await connections.acquire("ip", "c1", limit=1) == 2

    @clause(Capability.CONNECTIONS)
    async def test_expired_leases_do_not_count(self, context: ContractContext) -> None:
        """Expired leases do not count towards the limit."""
        connections = (await context.open()).connections
        await connections.acquire("ip", "c1")
        await context.advance(HOUR - MINUTE)
        await connections.acquire("ip", "c2")
        await context.advance(MINUTE)
        with pytest.raises(LimitExceededError):
            await connections.acquire("ip", "c1", limit=1)
        assert await connections.acquire("ip", "c1", limit=2) == 2

    @clause(Capability.CONNECTIONS)
    async def test_a_limit_below_one_is_rejected(self, context: ContractContext) -> None:
        """A limit below 1 raises ValueError."""
        connections = (await context.open()).connections
        with pytest.raises(ValueError, match="limit"):
            await connections.acquire("ip", "c1", limit=0)

    @clause(Capability.CONNECTIONS)
    async def test_a_limit_must_be_an_integer(self, context: ContractContext) -> None:
        """A limit that is not an integer, such as 1.5 or True, raises ValueError and counts nothing."""
        connections = (await context.open()).connections
        for bad in NON_INTEGERS:
            with pytest.raises(ValueError, match="limit"):
                await connections.acquire("ip", "c1", limit=bad)
        assert await connections.count("ip") == 0

    @clause(Capability.CONNECTIONS, Capability.SHARED)
    async def test_the_limit_holds_for_concurrent_calls(self, context: ContractContext) -> None:
        """Of 100 concurrent acquires through two clients, exactly as many succeed as the limit allows."""
        clients = [await context.open(), await context.open()]
        calls = [clients[number % 2].connections.acquire("ip", f"c{number}", limit=10) for number in range(100)]
        results = await asyncio.gather(*calls, return_exceptions=True)
        assert sum(isinstance(result, int) for result in results) == 10
        assert sum(isinstance(result, LimitExceededError) for result in results) == 90
        assert await clients[0].connections.count("ip") == 10

    @clause(Capability.CONNECTIONS, Capability.SHARED)
    async def test_clients_share_connection_counts(self, context: ContractContext) -> None:
        """Connections that two clients hold under one key are counted together."""
        first, second = await context.open(), await context.open()
        await first.connections.acquire("ip", "c1")
        assert await second.connections.acquire("ip", "c2") == 2
        assert await second.connections.release("ip", "c1") == 1

    @clause(Capability.CONNECTIONS)
    async def test_invalid_connection_ids_are_rejected(self, context: ContractContext) -> None:
        """An invalid key or connection id raises InvalidIdError."""
        connections = (await context.open()).connections
        for bad in ("", "a b", "a*", "x" * 200):
            await all_raise(InvalidIdError, connection_calls(connections, bad, "c1"))
            await all_raise(InvalidIdError, connection_calls(connections, "ip", bad)[:2])

    @clause(Capability.CONNECTIONS)
    async def test_connections_of_any_address_are_counted(self, context: ContractContext) -> None:
        """Connections are counted by address, also with an IPv6 zone or a prefix, and by the user id of a provider."""
        connections = (await context.open()).connections
        for number, key in enumerate(ADDRESSES):
            assert await connections.acquire(key, f"c%/{number}") == 1
        for number, key in enumerate(ADDRESSES):
            assert await connections.release(key, f"c%/{number}") == 0


class RateLimitClauses:
    """Clauses about hits in fixed windows."""

    @clause(Capability.RATE_LIMITS)
    async def test_hits_reduce_the_remaining_count(self, context: ContractContext) -> None:
        """Each hit reduces the remaining count, and a hit beyond the limit is not allowed."""
        limits = (await context.open(rate_limit_max=3)).rate_limits
        decisions = [await limits.hit("ip") for _ in range(4)]
        assert [decision.allowed for decision in decisions] == [True, True, True, False]
        assert [decision.remaining for decision in decisions] == [2, 1, 0, 0]
        assert {decision.limit for decision in decisions} == {3}

    @clause(Capability.RATE_LIMITS)
    async def test_a_rejected_hit_returns_retry_after(self, context: ContractContext) -> None:
        """A rejected hit returns the rest of the window as retry_after; an allowed hit returns zero."""
        limits = (await context.open(rate_limit_max=1)).rate_limits
        allowed = await limits.hit("ip")
        assert allowed.retry_after == timedelta(0)
        await context.advance(20)
        refused = await limits.hit("ip")
        assert timedelta(seconds=10) < refused.retry_after <= timedelta(seconds=40)
        assert refused.reset_after == refused.retry_after

    @clause(Capability.RATE_LIMITS)
    async def test_360_hits_a_minute_are_allowed(self, context: ContractContext) -> None:
        """By default 360 hits per 60 seconds are allowed."""
        limits = (await context.open()).rate_limits
        assert (await limits.hit("ip", 359)).remaining == 1
        assert (await limits.hit("ip")).allowed is True
        assert (await limits.hit("ip")).allowed is False
        await context.advance(60)
        assert (await limits.hit("ip")).remaining == 359

    @clause(Capability.RATE_LIMITS)
    async def test_a_window_is_fixed(self, context: ContractContext) -> None:
        """A window starts with its first hit, and later hits do not extend it."""
        limits = (await context.open(rate_limit_max=2)).rate_limits
        await limits.hit("ip")
        await context.advance(30)
        await limits.hit("ip")
        assert (await limits.hit("ip")).allowed is False
        await context.advance(30)
        assert (await limits.hit("ip")).remaining == 1

    @clause(Capability.RATE_LIMITS)
    async def test_the_window_is_configurable(self, context: ContractContext) -> None:
        """A window ends after rate_limit_window."""
        limits = (await context.open(rate_limit_max=1, rate_limit_window=timedelta(hours=1))).rate_limits
        await limits.hit("ip")
        await context.advance(HOUR - MINUTE)
        assert (await limits.hit("ip")).allowed is False
        await context.advance(MINUTE)
        assert (await limits.hit("ip")).allowed is True

    @clause(Capability.RATE_LIMITS)
    async def test_a_hit_counts_its_cost(self, context: ContractContext) -> None:
        """A hit counts its cost even if it is rejected, and a cost below 1 raises ValueError."""
        limits = (await context.open(rate_limit_max=5)).rate_limits
        assert (await limits.hit("ip", cost=3)).remaining == 2
        assert (await limits.hit("ip", cost=3)).allowed is False
        assert (await limits.hit("ip")).allowed is False
        with pytest.raises(ValueError, match="cost"):
            await limits.hit("ip", cost=0)

    @clause(Capability.RATE_LIMITS)
    async def test_a_cost_must_be_an_integer(self, context: ContractContext) -> None:
        """A cost that is not an integer, such as 1.5 or True, raises ValueError and counts nothing."""
        limits = (await context.open(rate_limit_max=5)).rate_limits
        for counted in range(2):
            for bad in NON_INTEGERS:
                with pytest.raises(ValueError, match="cost"):
                    await limits.hit("ip", cost=bad)
            assert (await limits.hit("ip")).remaining == 4 - counted

    @clause(Capability.RATE_LIMITS)
    async def test_peek_counts_nothing(self, context: ContractContext) -> None:
        """Peeking returns whether a hit would be allowed; it starts no window and counts nothing."""
        limits = (await context.open(rate_limit_max=1)).rate_limits
        before = await limits.peek("ip")
        assert (before.allowed, before.remaining, before.reset_after) == (True, 1, timedelta(0))
        assert (await limits.hit("ip")).allowed is True
        after = await limits.peek("ip")
        assert (after.allowed, after.remaining) == (False, 0)
        assert timedelta(0) < after.retry_after <= timedelta(seconds=60)

    @clause(Capability.RATE_LIMITS)
    async def test_reset_deletes_the_hits_of_one_key(self, context: ContractContext) -> None:
        """Resetting deletes the hits of one key."""
        limits = (await context.open(rate_limit_max=1)).rate_limits
        await limits.hit("ip")
        await limits.hit("other")
        await limits.reset("ip")
        assert (await limits.hit("ip")).allowed is True
        assert (await limits.hit("other")).allowed is False

    @clause(Capability.RATE_LIMITS, Capability.SHARED)
    async def test_concurrent_hits_are_all_counted(self, context: ContractContext) -> None:
        """Of 100 concurrent hits through two clients, exactly as many are allowed as the limit allows."""
        clients = [await context.open(rate_limit_max=10), await context.open(rate_limit_max=10)]
        decisions = await asyncio.gather(*(clients[number % 2].rate_limits.hit("ip") for number in range(100)))
        assert sum(decision.allowed for decision in decisions) == 10

    @clause(Capability.RATE_LIMITS, Capability.SHARED)
    async def test_rejected_hits_are_counted(self, context: ContractContext) -> None:
        """Hits beyond the limit of one client are counted, as a client with a larger limit sees."""
        strict, lax = await context.open(rate_limit_max=2), await context.open(rate_limit_max=100)
        assert [(await strict.rate_limits.hit("ip")).allowed for _ in range(10)] == [True] * 2 + [False] * 8
        assert (await lax.rate_limits.peek("ip")).remaining == 90

    @clause(Capability.RATE_LIMITS)
    async def test_hits_of_any_address_are_counted(self, context: ContractContext) -> None:
        """Hits are counted by address, also with an IPv6 zone or a prefix, and by the user id of a provider."""
        limits = (await context.open(rate_limit_max=10)).rate_limits
        assert {(await limits.hit(key)).remaining for key in ADDRESSES} == {9}
        assert {(await limits.peek(key)).remaining for key in ADDRESSES} == {9}

    @clause(Capability.RATE_LIMITS)
    async def test_invalid_rate_limit_keys_are_rejected(self, context: ContractContext) -> None:
        """An invalid key raises InvalidIdError from every method of the rate limits."""
        limits = (await context.open()).rate_limits
        for bad in ("", "a b", "a*", "x" * 200):
            await all_raise(InvalidIdError, rate_limit_calls(limits, bad))
