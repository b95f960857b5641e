"""The Starlette middleware and the connection guard, on a store in memory."""

from __future__ import annotations

import asyncio
import gc
import importlib.util
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from typing import Any
from unittest.mock import Mock

import anyio
import httpx
import pytest
from starlette.exceptions import WebSocketException
from starlette.requests import HTTPConnection
from starlette.types import Message, Scope

from waiting import wait_until
from wnc_store import (
    ConnectionCounter,
    ManualClock,
    OutcomeUnknownError,
    Store,
    StoreSettings,
    StoreUnavailableError,
    client_key,
)
from wnc_store.starlette import ConnectionGuard, RateLimitMiddleware, client_ip
from wnc_store_memory import MemoryStore

_GUEST = "203.0.113.7"


# --- RateLimitMiddleware


async def _greet(scope: Scope, receive: Any, send: Callable[[Message], Awaitable[None]]) -> None:
    """An ASGI app whose responses have no headers."""
    assert scope["type"] == "http", receive
    await send({"type": "http.response.start", "status": 200})
    await send({"type": "http.response.body", "body": b"hello"})


def _guest(app: RateLimitMiddleware, address: str = _GUEST) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(app, client=(address, 4321)), base_url="http://party.test")


def _limits(response: httpx.Response) -> tuple[int, ...]:
    return tuple(int(response.headers[f"X-RateLimit-{name}"]) for name in ("Limit", "Remaining", "Reset"))


async def test_the_rate_limit_of_a_window() -> None:
    """The 360th request of a minute succeeds, the 361st gets 429, and the next minute starts a new window."""
    clock = ManualClock(datetime(2026, 1, 1, 0, 0, 0, 500_000, tzinfo=UTC))
    start = int(datetime(2026, 1, 1, tzinfo=UTC).timestamp())
    async with (
        MemoryStore(clock=clock) as store,
        _guest(RateLimitMiddleware(_greet, store=store, clock=clock)) as guest,
    ):
        await store.rate_limits.hit(_GUEST, cost=359)
        clock.advance(timedelta(milliseconds=100))
        last = await guest.get("/")
        assert (last.status_code, last.text, _limits(last)) == (200, "hello", (360, 0, start + 61))
        assert "Retry-After" not in last.headers
        refused = await guest.get("/")
        assert (refused.status_code, _limits(refused)) == (429, (360, 0, start + 61))
        assert refused.headers["Retry-After"] == "60"
        assert refused.json() == {"error": "Too many requests", "retryAfter": 60}
        clock.advance(timedelta(seconds=59.899))
        assert (await guest.get("/")).headers["Retry-After"] == "1"
        clock.advance(timedelta(milliseconds=1))
        fresh = await guest.get("/")
        assert (fresh.status_code, _limits(fresh)) == (200, (360, 359, start + 121))


async def test_clients_are_counted_separately() -> None:
    """Each address has its own window, and `X-Forwarded-For` does not change the address."""
    async with MemoryStore(StoreSettings(rate_limit_max=1)) as store:
        app = RateLimitMiddleware(_greet, store=lambda _scope: store)
        async with _guest(app) as guest, _guest(app, "2001:db8::1") as other:
            assert (await guest.get("/")).status_code == 200
            assert (await guest.get("/", headers={"X-Forwarded-For": "198.51.100.1"})).status_code == 429
            assert (await other.get("/")).status_code == 200


async def test_a_custom_key() -> None:
    """A `key` function replaces the address."""

    def account(connection: HTTPConnection) -> str:
        return connection.headers["X-Account"]

    async with MemoryStore(StoreSettings(rate_limit_max=1)) as store:
        async with _guest(RateLimitMiddleware(_greet, store=store, key=account)) as guest:
            for name, status in (("ada", 200), ("ada", 429), ("grace", 200)):
                assert (await guest.get("/", headers={"X-Account": name})).status_code == status
        assert (await store.rate_limits.peek("ada")).remaining == 0


@pytest.mark.parametrize("kind", ["websocket", "lifespan"])
async def test_other_scopes_are_passed_through(kind: str) -> None:
    """WebSocket and lifespan scopes reach the app unchanged, without a use of the store."""
    calls: list[tuple[Any, ...]] = []

    async def app(*arguments: Any) -> None:
        calls.append(arguments)

    def no_store(_scope: Scope) -> Store:
        raise AssertionError

    async def receive() -> Message:
        return {}

    async def send(_message: Message) -> None: ...

    scope: Scope = {"type": kind}
    await RateLimitMiddleware(app, store=no_store)(scope, receive, send)
    assert calls == [(scope, receive, send)]


@pytest.mark.parametrize("allow", [False, True])
async def test_an_unavailable_store(*, allow: bool, caplog: pytest.LogCaptureFixture) -> None:
    """While the store is unavailable, requests get 503 with `Retry-After` or pass; each outage is logged once."""
    async with MemoryStore() as store:
        hit = Mock(wraps=store.rate_limits.hit)
        store.rate_limits = Mock(hit=hit)
        app = RateLimitMiddleware(_greet, store=store, when_unavailable="allow" if allow else "refuse")
        async with _guest(app) as guest:
            for outage in (1, 2):
                hit.side_effect = StoreUnavailableError("no reply from secret-host:6379")
                for response in [await guest.get("/") for _ in range(3)]:
                    assert response.status_code == (200 if allow else 503)
                    assert response.headers.get("Retry-After") == (None if allow else "1")
                    assert "secret-host" not in response.text
                    assert "X-RateLimit-Limit" not in response.headers
                logged = [record.levelno for record in caplog.records if record.name == "wnc_store"]
                assert logged == [logging.WARNING] * outage
                hit.side_effect = None
                assert (await guest.get("/")).status_code == 200


@pytest.mark.parametrize(
    ("client", "key"),
    [
        ((_GUEST, 1), _GUEST),
        (("2001:db8::1", 1), "2001:db8::"),
        (("fe80::1%eth0", 1), "fe80::"),
        (("::ffff:203.0.113.7", 1), _GUEST),
        (None, "unknown"),
        (("", 0), "unknown"),
        (("evil\r\nkey *", 0), "unknown"),
        (("1" * 129, 0), "unknown"),
    ],
)
def test_an_address_becomes_a_key(client: tuple[str, int] | None, key: str) -> None:
    """Every client address of a server becomes a valid key."""
    assert client_ip(HTTPConnection({"type": "http", "client": client})) == key


@pytest.mark.parametrize(
    ("address", "prefix", "key"),
    [
        ("::FFFF:cb00:7107", 64, _GUEST),
        ("64:ff9b::203.0.113.7", 64, _GUEST),
        ("2001:DB8:0:0:ffff::1", 64, "2001:db8::"),
        ("2001:db8:0:0:0:0:0:1%eth0", 64, "2001:db8::"),
        ("2001:db8:0:1::1", 64, "2001:db8:0:1::"),
        ("2001:db8:0:1::1", 48, "2001:db8::"),
        ("2001:0db8::0001", 128, "2001:db8::1"),
        ("fe80::1%eth0", 128, "fe80::1"),
        ("::ffff:203.0.113.7", 128, _GUEST),
        (_GUEST, 64, _GUEST),
        ("party.test", 64, "party.test"),
    ],
)
def test_the_key_of_an_address(address: str, prefix: int, key: str) -> None:
    """All spellings of an address have the same key, and the addresses of an IPv6 network share the key of it."""
    assert client_key(address, ipv6_prefix=prefix) == key


@pytest.mark.parametrize(("prefix", "statuses"), [(None, [200, 429, 200]), ("128", [200, 200, 200])])
async def test_addresses_of_a_network(prefix: str | None, statuses: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    """Requests from addresses of one /64 network share one window, unless `ipv6_prefix` is longer."""
    if prefix is not None:
        monkeypatch.setenv("WNC_STORE_IPV6_PREFIX", prefix)
    async with MemoryStore(StoreSettings(rate_limit_max=1)) as store:
        app = RateLimitMiddleware(_greet, store=store)
        for address, status in zip(("2001:db8::1", "2001:db8::2", "2001:db8:0:1::1"), statuses, strict=True):
            async with _guest(app, address) as guest:
                assert (await guest.get("/")).status_code == status


async def test_connections_of_a_network(slow: MemoryStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Connections from addresses of one /64 network are counted together, unless `ipv6_prefix` is longer."""
    first, second = (HTTPConnection({"type": "websocket", "client": (f"2001:db8::{n}", 1)}) for n in (1, 2))
    async with ConnectionGuard(slow, first, limit=1):
        with pytest.raises(WebSocketException):
            await ConnectionGuard(slow, second, limit=1).__aenter__()
        monkeypatch.setenv("WNC_STORE_IPV6_PREFIX", "128")
        async with ConnectionGuard(slow, second, limit=1):
            assert await slow.connections.count("2001:db8::2") == 1


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without Starlette, the import error names the extra to install."""
    spec = importlib.util.find_spec("wnc_store.starlette")
    assert spec is not None
    assert spec.loader is not None
    nothing: dict[str, object] = {}
    monkeypatch.setattr(importlib.util, "find_spec", nothing.get)
    with pytest.raises(ImportError, match=r"wnc-store\[starlette\]") as caught:
        spec.loader.exec_module(importlib.util.module_from_spec(spec))
    assert caught.value.name == "starlette"


# --- ConnectionGuard


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

    async def acquire(self, key: str, connection_id: str, *, limit: int | None = None) -> int:
        self.requests += 1
        if self.errors and not isinstance(self.errors[0], OutcomeUnknownError):
            raise self.errors.pop(0)

        async def execute(number: int) -> int:
            if number == self.blocked_request:
                await self.resume.wait()
                self.resume.clear()
            count = await self._inner.acquire(key, connection_id, limit=limit)
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
"""For the guard, of real time: it renews three times within. For the store, of the manual clock."""
_SOCKET = HTTPConnection({"type": "websocket", "client": (_GUEST, 1)})


@pytest.fixture(name="clock")
def _clock() -> ManualClock:
    """The manual clock of the store."""
    return ManualClock()


@pytest.fixture
async def slow(clock: ManualClock) -> AsyncGenerator[MemoryStore]:
    """A store with a slow connection counter. After the test no lease and no task is left."""
    async with MemoryStore(StoreSettings(connection_ttl=_TTL), clock=clock) as store:
        store.connections = _SlowServer(store.connections)
        yield store
        await wait_until(lambda: asyncio.all_tasks() == {asyncio.current_task()})
        assert await store.connections.count(_GUEST) == 0


def _server(store: MemoryStore) -> _SlowServer:
    assert isinstance(store.connections, _SlowServer)
    return store.connections


async def _stay(store: MemoryStore) -> None:
    """An endpoint that never returns."""
    async with ConnectionGuard(store, _SOCKET, connection_ttl=_TTL):
        await asyncio.Event().wait()


async def test_a_lease_is_renewed_and_released(slow: MemoryStore, clock: ManualClock) -> None:
    """A connection is counted for longer than its lease duration, until the endpoint returns."""
    async with ConnectionGuard(slow, _SOCKET, connection_ttl=_TTL):
        for _ in range(4):
            completed = _server(slow).completed
            await wait_until(lambda completed=completed: _server(slow).completed > completed)
            clock.advance(_TTL * 0.9)
            assert await slow.connections.count(_GUEST) == 1
    assert await slow.connections.count(_GUEST) == 0


@pytest.mark.parametrize("errors", [[], [StoreUnavailableError("away")]])
async def test_an_error_of_the_endpoint_is_raised(
    slow: MemoryStore, clock: ManualClock, errors: list[Exception]
) -> None:
    """An error of the endpoint is raised unchanged, even if the lease cannot be released and has to expire."""

    async def fail() -> None:
        async with ConnectionGuard(slow, _SOCKET, connection_ttl=_TTL):
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
    async with ConnectionGuard(slow, _SOCKET, connection_ttl=_TTL):
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
            await others.enter_async_context(ConnectionGuard(slow, _SOCKET, connection_ttl=_TTL))
        with pytest.raises(WebSocketException) as refused:
            await ConnectionGuard(slow, _SOCKET, connection_ttl=_TTL).__aenter__()
        assert refused.value.code == 1008
        async with ConnectionGuard(slow, _SOCKET, key=lambda _connection: "ada", limit=1, connection_ttl=_TTL):
            assert await slow.connections.count("ada") == 1


@pytest.mark.parametrize("error", [StoreUnavailableError("away"), OutcomeUnknownError("lost")])
async def test_connections_need_the_store(slow: MemoryStore, error: Exception) -> None:
    """While the store is unavailable, a connection is refused with code 1013, and a possible lease is released."""
    _server(slow).errors = [error]
    with pytest.raises(WebSocketException) as refused:
        await ConnectionGuard(slow, _SOCKET).__aenter__()
    assert refused.value.code == 1013
