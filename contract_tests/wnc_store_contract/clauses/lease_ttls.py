"""Clauses about leases that are acquired with a TTL."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from wnc_store_contract.clause import ContractContext, clause
from wnc_store_contract.harness import Capability

MINUTE, HOUR = 60, 3600
MAX_TTL = timedelta(days=36500)
NON_DURATIONS: list[Any] = [60, 1.5, True, "60", float("nan")]
"""Values that are not valid TTLs, although some could be read as seconds."""


class LeaseTtlClauses:
    """Clauses about the TTLs of leases."""

    @clause(Capability.CONNECTIONS)
    async def test_a_lease_has_its_own_ttl(self, context: ContractContext) -> None:
        """A lease that is acquired with a ttl ends after this time, before or after connection_ttl."""
        connections = (await context.open()).connections
        assert await connections.acquire("short", "c1", ttl=timedelta(minutes=10)) == 1
        assert await connections.acquire("long", "c1", limit=1, ttl=timedelta(hours=3)) == 1
        await context.advance(9 * MINUTE)
        assert await connections.count("short") == 1
        await context.advance(MINUTE)
        assert await connections.count("short") == 0
        await context.advance(2 * HOUR)
        assert await connections.count("long") == 1
        await context.advance(HOUR)
        assert await connections.count("long") == 0

    @clause(Capability.CONNECTIONS)
    async def test_a_renewal_replaces_the_ttl(self, context: ContractContext) -> None:
        """A renewed lease ends after the ttl of the renewal, even if it had a longer one; None is connection_ttl."""
        connections = (await context.open()).connections
        short, long = timedelta(minutes=10), timedelta(hours=3)
        for key, first, second in (
            ("shortened", long, short),
            ("extended", short, long),
            ("without one", long, None),
            ("with one", None, short),
        ):
            await connections.acquire(key.replace(" ", "-"), "c1", ttl=first)
            assert await connections.acquire(key.replace(" ", "-"), "c1", ttl=second) == 1, key
        await context.advance(9 * MINUTE)
        assert [await connections.count(key) for key in ("shortened", "with-one")] == [1, 1]
        await context.advance(MINUTE)
        assert [await connections.count(key) for key in ("shortened", "with-one")] == [0, 0]
        assert [await connections.count(key) for key in ("extended", "without-one")] == [1, 1]
        await context.advance(HOUR)
        assert [await connections.count(key) for key in ("extended", "without-one")] == [1, 0]

    @clause(Capability.CONNECTIONS)
    async def test_leases_of_a_key_end_separately(self, context: ContractContext) -> None:
        """Acquiring, renewing and releasing a lease leaves the end of the key's other leases as it is."""
        connections = (await context.open()).connections
        await connections.acquire("ip", "long", ttl=timedelta(hours=3))
        await connections.acquire("ip", "default")
        for ttl in (timedelta(minutes=1), timedelta(minutes=10)):
            assert await connections.acquire("ip", "short", ttl=ttl) == 3
        await connections.acquire("other", "short", ttl=timedelta(minutes=10))
        await connections.acquire("other", "released")
        assert await connections.release("other", "released") == 1
        await context.advance(9 * MINUTE)
        assert [await connections.count(key) for key in ("ip", "other")] == [3, 1]
        await context.advance(MINUTE)
        assert [await connections.count(key) for key in ("ip", "other")] == [2, 0]
        for minutes, remaining in ((49, 2), (1, 1), (110, 1), (10, 0)):
            await context.advance(minutes * MINUTE)
            assert await connections.count("ip") == remaining

    @clause(Capability.CONNECTIONS)
    async def test_the_ttl_of_a_lease_has_millisecond_precision(self, context: ContractContext) -> None:
        """A ttl of 250.9 ms ends after 250 ms, and one of 36500 days is kept until its last day."""
        connections = (await context.open()).connections
        await connections.acquire("short", "c1", ttl=timedelta(milliseconds=250, microseconds=900))
        await context.advance(0.25)
        assert await connections.count("short") == 0
        await connections.acquire("long", "c1", ttl=MAX_TTL)
        await context.advance((MAX_TTL - timedelta(days=1)).total_seconds())
        assert await connections.count("long") == 1
        await context.advance(24 * HOUR)
        assert await connections.count("long") == 0

    @clause(Capability.CONNECTIONS)
    async def test_invalid_ttls_of_leases_are_rejected(self, context: ContractContext) -> None:
        """A ttl below 1 ms or above 36500 days raises ValueError, another type TypeError; nothing is acquired."""
        connections = (await context.open()).connections
        millisecond = timedelta(milliseconds=1)
        await connections.acquire("ip", "held", ttl=timedelta(minutes=10))
        for bad in (timedelta(0), timedelta(microseconds=999), -MAX_TTL, MAX_TTL + millisecond, timedelta.max):
            for connection_id in ("held", "new"):
                with pytest.raises(ValueError, match="ttl"):
                    await connections.acquire("ip", connection_id, ttl=bad)
        for bad in NON_DURATIONS:
            with pytest.raises(TypeError, match="ttl"):
                await connections.acquire("ip", "new", ttl=bad)
        assert await connections.count("ip") == 1
        await context.advance(10 * MINUTE)
        assert await connections.count("ip") == 0
