"""Limiters that use memory while the server is unavailable."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from loop_clock import advance_loop
from wnc_store import LimitExceededError, StoreUnavailableError
from wnc_store.base import circuit_breaker
from wnc_store.base.circuit_breaker import FallbackConnectionCounter, LimiterCircuitBreaker
from wnc_store_memory import MemoryStore

NO_PAUSE = timedelta(0)


class Server:
    """A server's connection counter that a test can make unavailable and delay."""

    def __init__(self) -> None:
        self._connections = MemoryStore().connections
        self.is_unavailable = False
        self.requests = 0
        self.replies = asyncio.Event()
        self.replies.set()

    async def acquire(
        self, key: str, connection_id: str, *, limit: int | None = None, ttl: timedelta | None = None
    ) -> int:
        """See `ConnectionCounter.acquire`."""
        await self._reply()
        return await self._connections.acquire(key, connection_id, limit=limit, ttl=ttl)

    async def release(self, key: str, connection_id: str) -> int:
        """See `ConnectionCounter.release`."""
        await self._reply()
        return await self._connections.release(key, connection_id)

    async def count(self, key: str) -> int:
        """See `ConnectionCounter.count`."""
        await self._reply()
        return await self._connections.count(key)

    async def _reply(self) -> None:
        self.requests += 1
        await self.replies.wait()
        if self.is_unavailable:
            raise StoreUnavailableError("the server is unavailable")


def with_fallback(
    server: Server, pause: timedelta = NO_PAUSE
) -> tuple[FallbackConnectionCounter, LimiterCircuitBreaker]:
    """Return a connection counter with a fallback to memory, and its circuit breaker."""
    breaker = LimiterCircuitBreaker(server.release, MemoryStore, pause)
    return FallbackConnectionCounter(server, breaker), breaker


async def released_during_an_outage(server: Server, count: int, *others: str) -> FallbackConnectionCounter:
    """Return a counter that acquired leases, and then released those with a number while the server was away."""
    connections, _ = with_fallback(server)
    numbered = [f"c{number}" for number in range(count)]
    for connection in (*numbered, *others):
        await connections.acquire("ip", connection)
    server.is_unavailable = True
    for connection in numbered:
        await connections.release("ip", connection)
    server.is_unavailable = False
    return connections


async def slow_outage() -> tuple[Server, FallbackConnectionCounter, LimiterCircuitBreaker]:
    """Return an unavailable server whose next replies wait, a counter with a fallback, and its open breaker."""
    server = Server()
    connections, breaker = with_fallback(server)
    server.is_unavailable = True
    await connections.count("ip")
    server.replies.clear()
    return server, connections, breaker


async def test_releases_during_an_outage_are_replayed() -> None:
    """Leases released during an outage are released on the server before the first call after it."""
    server = Server()
    connections = await released_during_an_outage(server, 249, "stays")
    assert await connections.acquire("ip", "new", limit=2) == 2
    assert await server.count("ip") == 2


async def test_a_reacquired_lease_is_not_released() -> None:
    """A connection that was released and acquired again during an outage is still counted after it."""
    server = Server()
    connections = await released_during_an_outage(server, 2)
    server.is_unavailable = True
    await connections.acquire("ip", "c0")
    server.is_unavailable = False
    assert await connections.count("ip") == 1
    assert await server.release("ip", "c0") == 0


async def test_unconfirmed_releases_are_replayed_again() -> None:
    """Releases whose replay fails stay pending until a replay succeeds."""
    server = Server()
    connections, breaker = with_fallback(server)
    await connections.acquire("ip", "a")
    server.is_unavailable = True
    await connections.release("ip", "a")
    for _ in range(3):
        assert await connections.count("other") == 0
        assert breaker.active
    server.is_unavailable = False
    assert await connections.count("ip") == 0


async def test_pending_releases_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A long outage keeps a limited number of pending releases and drops the oldest."""
    monkeypatch.setattr(circuit_breaker, "_MAX_PENDING", 3)
    connections = await released_during_an_outage(Server(), 5)
    assert await connections.count("ip") == 2


async def test_only_one_caller_probes_the_server() -> None:
    """After a pause, one of many callers tries the server while the others use memory."""
    server, connections, breaker = await slow_outage()
    server.requests = 0
    callers = [asyncio.ensure_future(connections.acquire("ip", f"c{number}")) for number in range(20)]
    await asyncio.gather(*callers[1:])
    assert server.requests == 1
    assert not callers[0].done()
    server.replies.set()
    assert await callers[0] == 20
    assert breaker.active
    server.is_unavailable = False
    assert await connections.count("ip") == 0
    assert not breaker.active


async def test_the_next_caller_probes_after_a_cancelled_probe() -> None:
    """If the caller that tries the server is cancelled, the next caller tries it."""
    server, connections, breaker = await slow_outage()
    probe = asyncio.ensure_future(connections.count("ip"))
    await asyncio.sleep(0)
    probe.cancel()
    await asyncio.wait([probe])
    server.replies.set()
    server.is_unavailable = False
    await connections.count("ip")
    assert not breaker.active


async def test_the_server_is_not_probed_during_the_pause() -> None:
    """A server that was unavailable is tried again after the pause and not before."""
    server = Server()
    connections, breaker = with_fallback(server, timedelta(hours=2))
    server.is_unavailable = True
    await connections.count("ip")
    server.is_unavailable = False
    advance_loop(3600)
    await connections.count("ip")
    assert server.requests == 1
    advance_loop(3600)
    await connections.count("ip")
    assert server.requests == 2
    assert not breaker.active


async def test_each_outage_starts_with_empty_counts() -> None:
    """Counts in memory are discarded when the server is available again."""
    server = Server()
    connections, _ = with_fallback(server)
    server.is_unavailable = True
    assert await connections.acquire("ip", "a", limit=1) == 1
    server.is_unavailable = False
    assert await connections.release("ip", "a") == 0
    server.is_unavailable = True
    assert await connections.acquire("ip", "b", limit=1) == 1


@pytest.mark.parametrize("is_unavailable", [False, True])
async def test_a_ttl_is_passed_on(is_unavailable: bool) -> None:
    """The TTL of a lease is passed to the server, and to the memory during an outage."""
    server = Server()
    server.is_unavailable = is_unavailable
    connections, breaker = with_fallback(server)
    await connections.acquire("ip", "a", ttl=timedelta(days=1))
    with pytest.raises(ValueError, match="ttl must be at least 1 millisecond"):
        await connections.acquire("ip", "a", ttl=timedelta(0))
    assert breaker.active == is_unavailable


async def test_an_exceeded_limit_closes_the_breaker() -> None:
    """A server that rejects a connection because of its limit is available."""
    server = Server()
    connections, breaker = with_fallback(server)
    await connections.acquire("ip", "a")
    server.is_unavailable = True
    await connections.count("ip")
    server.is_unavailable = False
    with pytest.raises(LimitExceededError):
        await connections.acquire("ip", "b", limit=1)
    assert not breaker.active
