"""Guards that count in memory while the server is away: what they ask it, and what they tell it when it is back."""

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
    """The connections of a server that comes and goes, and may leave its callers waiting before it fails them."""

    def __init__(self) -> None:
        self._connections = MemoryStore().connections
        self.is_away = False
        self.asked = 0
        self.patience = asyncio.Event()
        self.patience.set()

    async def acquire(self, key: str, connection_id: str, *, limit: int | None = None) -> int:
        """See `ConnectionCounter.acquire`."""
        await self._answer()
        return await self._connections.acquire(key, connection_id, limit=limit)

    async def release(self, key: str, connection_id: str) -> int:
        """See `ConnectionCounter.release`."""
        await self._answer()
        return await self._connections.release(key, connection_id)

    async def count(self, key: str) -> int:
        """See `ConnectionCounter.count`."""
        await self._answer()
        return await self._connections.count(key)

    async def _answer(self) -> None:
        self.asked += 1
        await self.patience.wait()
        if self.is_away:
            raise StoreUnavailableError("it is away")


def guarded(server: Server, pause: timedelta = NO_PAUSE) -> tuple[FallbackConnectionCounter, LimiterCircuitBreaker]:
    """Return connections that fall back to memory, and what they ask whether they have."""
    state = LimiterCircuitBreaker(server.release, MemoryStore, pause)
    return FallbackConnectionCounter(server, state), state


async def test_what_was_released_meanwhile_is_released_when_the_server_is_back() -> None:
    """Who left during an outage is counted no more after it, and the first caller after it is told so already."""
    server = Server()
    connections, _ = guarded(server)
    for number in range(250):
        await connections.acquire("ip", f"c{number}")
    server.is_away = True
    for number in range(249):
        await connections.release("ip", f"c{number}")
    server.is_away = False
    assert await connections.acquire("ip", "new", limit=2) == 2
    assert await server.count("ip") == 2


async def test_what_was_acquired_again_is_not_released() -> None:
    """A connection that was released and acquired again during an outage stays counted after it."""
    server = Server()
    connections, _ = guarded(server)
    for connection in ("a", "b"):
        await connections.acquire("ip", connection)
    server.is_away = True
    for connection in ("a", "b"):
        await connections.release("ip", connection)
    await connections.acquire("ip", "a")
    server.is_away = False
    assert await connections.count("ip") == 1
    assert await server.release("ip", "a") == 0


async def test_what_the_server_did_not_hear_is_told_again() -> None:
    """Releases that the server does not answer to, though it was back for a moment, are told it the next time."""
    server = Server()
    connections, state = guarded(server)
    await connections.acquire("ip", "a")
    server.is_away = True
    await connections.release("ip", "a")
    for _ in range(3):
        assert await connections.count("other") == 0
        assert state.active
    server.is_away = False
    assert await connections.count("ip") == 0


async def test_only_so_many_releases_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    """An outage that lasts takes no more and more memory: the first releases are forgotten, and end by themselves."""
    monkeypatch.setattr(circuit_breaker, "_MAX_PENDING", 3)
    server = Server()
    connections, _ = guarded(server)
    for number in range(5):
        await connections.acquire("ip", f"c{number}")
    server.is_away = True
    for number in range(5):
        await connections.release("ip", f"c{number}")
    server.is_away = False
    assert await connections.count("ip") == 2


async def test_one_caller_waits_for_a_server_that_is_away() -> None:
    """After a pause, one of many callers asks the server, and the others are answered from memory meanwhile."""
    server = Server()
    connections, state = guarded(server)
    server.is_away = True
    await connections.count("ip")
    server.patience.clear()
    server.asked = 0
    callers = [asyncio.ensure_future(connections.acquire("ip", f"c{number}")) for number in range(20)]
    await asyncio.gather(*callers[1:])
    assert server.asked == 1
    assert not callers[0].done()
    server.patience.set()
    assert await callers[0] == 20
    assert state.active
    server.is_away = False
    assert await connections.count("ip") == 0
    assert not state.active


async def test_a_caller_who_gives_up_leaves_the_question_to_the_next() -> None:
    """Where the one who asks the server is cancelled, the next caller asks it."""
    server = Server()
    connections, state = guarded(server)
    server.is_away = True
    await connections.count("ip")
    server.patience.clear()
    asking = asyncio.ensure_future(connections.count("ip"))
    await asyncio.sleep(0)
    asking.cancel()
    await asyncio.wait([asking])
    server.patience.set()
    server.is_away = False
    await connections.count("ip")
    assert not state.active


async def test_a_server_is_left_alone_for_a_pause() -> None:
    """A server that did not answer is queried again after the pause, and not before, whenever it is back."""
    server = Server()
    connections, state = guarded(server, timedelta(hours=2))
    server.is_away = True
    await connections.count("ip")
    server.is_away = False
    advance_loop(3600)
    await connections.count("ip")
    assert server.asked == 1
    advance_loop(3600)
    await connections.count("ip")
    assert server.asked == 2
    assert not state.active


async def test_each_outage_begins_with_nothing() -> None:
    """What was counted in memory is forgotten when the server is back: the next outage does not go on with it."""
    server = Server()
    connections, _ = guarded(server)
    server.is_away = True
    assert await connections.acquire("ip", "a", limit=1) == 1
    server.is_away = False
    assert await connections.release("ip", "a") == 0
    server.is_away = True
    assert await connections.acquire("ip", "b", limit=1) == 1


async def test_a_refusal_is_an_answer() -> None:
    """A server that refuses a connection is back."""
    server = Server()
    connections, state = guarded(server)
    await connections.acquire("ip", "a")
    server.is_away = True
    await connections.count("ip")
    server.is_away = False
    with pytest.raises(LimitExceededError):
        await connections.acquire("ip", "b", limit=1)
    assert not state.active
