"""The connection guard for Starlette, on a store in memory."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack
from datetime import timedelta
from typing import Any

import anyio
import pytest
from starlette.exceptions import WebSocketException
from starlette.requests import HTTPConnection

from waiting import wait_until
from wnc_store import ConnectionCounter, ManualClock, OutcomeUnknownError, StoreSettings, StoreUnavailableError
from wnc_store.starlette import ConnectionGuard
from wnc_store_memory import MemoryStore

_GUEST = "203.0.113.7"


class _SlowServer:
    """A connection counter that executes every request, even if its caller was cancelled.

    It blocks the request number `blocked_request` until `resume` is set, and raises `errors` in order.
    """

    def __init__(self, inner: ConnectionCounter) -> None:
        self._inner = inner
        self.errors: list[Exception] = []
        self.requests = 0
        self.completed = 0
        self.blocked_request = 0
        self.resume = asyncio.Event()

    async def acquire(
        self, key: str, connection_id: str, *, limit: int | None = None, ttl: timedelta | None = None
    ) -> int:
        self.requests += 1
        if self.errors and not isinstance(self.errors[0], OutcomeUnknownError):
            raise self.errors.pop(0)

        async def execute(number: int) -> int:
            if number == self.blocked_request:
                await self.resume.wait()
                self.resume.clear()
            count = await self._inner.acquire(key, connection_id, limit=limit, ttl=ttl)
            self.completed += 1
            return count

        count = await asyncio.shield(asyncio.ensure_future(execute(self.requests)))
        if self.errors:
            raise self.errors.pop(0)
        return count

    async def release(self, key: str, connection_id: str) -> int:
        await asyncio.sleep(0)
        if self.errors:
            raise self.errors.pop(0)
        return await self._inner.release(key, connection_id)

    async def count(self, key: str) -> int:
        return await self._inner.count(key)

    async def resume_soon(self) -> None:
        for _ in range(10):  # the cancelled task runs first
            await asyncio.sleep(0)
        self.resume.set()


_TTL = timedelta(seconds=0.06)
"""For the guard, of real time: it renews three times within. For the leases, of the manual clock of the store."""
_SOCKET = HTTPConnection({"type": "websocket", "client": (_GUEST, 1)})


@pytest.fixture(name="clock")
def _clock() -> ManualClock:
    """The manual clock of the store."""
    return ManualClock()


@pytest.fixture
async def slow(clock: ManualClock) -> AsyncGenerator[MemoryStore]:
    """A store with a slow connection counter and short leases. After the test no lease and no task is left."""
    async with MemoryStore(StoreSettings(connection_ttl=timedelta(milliseconds=1)), clock=clock) as store:
        store.connections = _SlowServer(store.connections)
        yield store
        await wait_until(lambda: asyncio.all_tasks() == {asyncio.current_task()})
        assert await store.connections.count(_GUEST) == 0


def _server(store: MemoryStore) -> _SlowServer:
    assert isinstance(store.connections, _SlowServer)
    return store.connections


async def _stay(store: MemoryStore) -> None:
    """An endpoint that never returns."""
    async with ConnectionGuard(store, _SOCKET, ttl=_TTL):
        await asyncio.Event().wait()


async def test_a_lease_is_renewed_and_released(slow: MemoryStore, clock: ManualClock) -> None:
    """A connection is counted for longer than its lease duration, until the endpoint returns."""
    async with ConnectionGuard(slow, _SOCKET, ttl=_TTL):
        for _ in range(4):
            completed = _server(slow).completed
            await wait_until(lambda completed=completed: _server(slow).completed > completed)
            clock.advance(_TTL * 0.9)
            assert await slow.connections.count(_GUEST) == 1
    assert await slow.connections.count(_GUEST) == 0


@pytest.mark.parametrize("store_ttl", [timedelta(minutes=1), timedelta(hours=1)])
@pytest.mark.parametrize("ttl", [timedelta(minutes=9), None])
async def test_a_lease_lasts_its_ttl(
    clock: ManualClock, monkeypatch: pytest.MonkeyPatch, store_ttl: timedelta, ttl: timedelta | None
) -> None:
    """A lease lasts `ttl`, by default `connection_ttl` of the environment, whatever `connection_ttl` the store has."""
    monkeypatch.setenv("WNC_STORE_CONNECTION_TTL", "PT9M")
    async with (
        MemoryStore(StoreSettings(connection_ttl=store_ttl), clock=clock) as store,
        ConnectionGuard(store, _SOCKET, ttl=ttl),
    ):
        clock.advance(timedelta(minutes=9, milliseconds=-1))
        assert await store.connections.count(_GUEST) == 1
        clock.advance(timedelta(milliseconds=1))
        assert await store.connections.count(_GUEST) == 0


async def test_invalid_arguments_of_a_guard(slow: MemoryStore) -> None:
    """A `ttl` of zero or below, and a `limit` of zero, are rejected."""
    with pytest.raises(ValueError, match="ttl must be at least 1 millisecond"):
        ConnectionGuard(slow, _SOCKET, ttl=timedelta(0))
    with pytest.raises(ValueError, match="limit"):
        await ConnectionGuard(slow, _SOCKET, limit=0).__aenter__()


@pytest.mark.parametrize("errors", [[], [StoreUnavailableError("away")]])
async def test_an_error_of_the_endpoint_is_raised(
    slow: MemoryStore, clock: ManualClock, errors: list[Exception]
) -> None:
    """An error of the endpoint is raised unchanged, even if the lease cannot be released and has to expire."""

    async def fail() -> None:
        async with ConnectionGuard(slow, _SOCKET, ttl=_TTL):
            _server(slow).errors = [*errors]
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()
    assert await slow.connections.count(_GUEST) == len(errors)
    clock.advance(_TTL)


@pytest.mark.parametrize("request_number", [1, 2])
@pytest.mark.parametrize("times", [1, 3])
async def test_cancelling_leaves_no_lease(slow: MemoryStore, request_number: int, times: int) -> None:
    """Cancelling an endpoint leaves no lease, even while a request to acquire or renew the lease is in flight."""
    _server(slow).blocked_request = request_number
    endpoint = asyncio.create_task(_stay(slow))
    await wait_until(lambda: _server(slow).requests == request_number)  # the request is in flight
    for _ in range(times):
        endpoint.cancel()
        await asyncio.sleep(0)
    await _server(slow).resume_soon()
    with pytest.raises(asyncio.CancelledError):
        await endpoint


async def test_an_error_after_cancellation(slow: MemoryStore, caplog: pytest.LogCaptureFixture) -> None:
    """An error that arrives after the endpoint was cancelled is not logged as never retrieved."""
    _server(slow).errors = [OutcomeUnknownError("lost")]
    _server(slow).blocked_request = 1
    endpoint = asyncio.create_task(_stay(slow))
    await wait_until(lambda: _server(slow).requests == 1)
    endpoint.cancel()
    await _server(slow).resume_soon()
    await asyncio.wait([endpoint])
    assert endpoint.cancelled()
    del endpoint
    gc.collect()
    assert caplog.records == []


async def test_cancelling_a_scope_leaves_no_lease(slow: MemoryStore) -> None:
    """A cancelled anyio scope, which cancels every await inside it, leaves no lease."""
    background: list[asyncio.Task[None]] = []
    for request_number in (1, 3):
        _server(slow).blocked_request = request_number
        async with anyio.create_task_group() as group:
            group.start_soon(_stay, slow)
            await wait_until(lambda request_number=request_number: _server(slow).requests == request_number)
            group.cancel_scope.cancel()
            background.append(asyncio.create_task(_server(slow).resume_soon()))
        assert await slow.connections.count(_GUEST) == 0


async def test_a_failing_renewal(
    slow: MemoryStore, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A failed renewal does not stop the endpoint; it is retried soon and logged once."""
    pauses: list[float] = []
    wait = asyncio.wait

    async def record_timeout(tasks: Any, timeout: float | None = None) -> Any:  # noqa: ASYNC109 - same as asyncio.wait
        if timeout is not None:
            pauses.append(timeout)
        return await wait(tasks, timeout=timeout)

    monkeypatch.setattr(asyncio, "wait", record_timeout)
    async with ConnectionGuard(slow, _SOCKET, ttl=_TTL):
        _server(slow).errors = [
            StoreUnavailableError("away"),
            StoreUnavailableError("still unavailable"),
            RuntimeError("odd"),
        ]
        await wait_until(lambda: _server(slow).completed == 2)
        assert await slow.connections.count(_GUEST) == 1
    assert pauses[:4] == pytest.approx([0.02, 0.005, 0.005, 0.005])
    assert [record.getMessage() for record in caplog.records] == [
        f"could not renew a connection lease of {_GUEST}, retrying: away"
    ]


async def test_the_connection_limit(slow: MemoryStore) -> None:
    """Beyond the limit, 10 by default, a connection is refused with code 1008 and leaves no lease."""
    async with AsyncExitStack() as others:
        for _ in range(10):
            await others.enter_async_context(ConnectionGuard(slow, _SOCKET, ttl=_TTL))
        with pytest.raises(WebSocketException) as refused:
            await ConnectionGuard(slow, _SOCKET, ttl=_TTL).__aenter__()
        assert refused.value.code == 1008
        async with ConnectionGuard(slow, _SOCKET, key=lambda _connection: "ada", limit=1, ttl=_TTL):
            assert await slow.connections.count("ada") == 1


@pytest.mark.parametrize("error", [StoreUnavailableError("away"), OutcomeUnknownError("lost")])
async def test_connections_need_the_store(slow: MemoryStore, error: Exception) -> None:
    """While the store is unavailable, a connection is refused with code 1013, and a possible lease is released."""
    _server(slow).errors = [error]
    with pytest.raises(WebSocketException) as refused:
        await ConnectionGuard(slow, _SOCKET).__aenter__()
    assert refused.value.code == 1013


async def test_connections_of_a_network(slow: MemoryStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Connections from addresses of one /64 network are counted together, unless `ipv6_prefix` is longer."""
    first, second = (HTTPConnection({"type": "websocket", "client": (f"2001:db8::{n}", 1)}) for n in (1, 2))
    async with ConnectionGuard(slow, first, limit=1):
        with pytest.raises(WebSocketException):
            await ConnectionGuard(slow, second, limit=1).__aenter__()
        monkeypatch.setenv("WNC_STORE_IPV6_PREFIX", "128")
        async with ConnectionGuard(slow, second, limit=1):
            assert await slow.connections.count("2001:db8::2") == 1
