"""The guards for Starlette, in memory."""

from __future__ import annotations

import asyncio
import gc
import importlib.util
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from typing import Any

import anyio
import httpx
import pytest
from starlette.exceptions import WebSocketException
from starlette.requests import HTTPConnection
from starlette.types import Message, Scope

import wnc_store.starlette
from waiting import wait_until
from wnc_store import (
    ConnectionCounter,
    ManualClock,
    OutcomeUnknownError,
    RateLimitDecision,
    RateLimiter,
    Store,
    StoreSettings,
    StoreUnavailableError,
)
from wnc_store.starlette import ConnectionGuard, RateLimitMiddleware, client_ip
from wnc_store_memory import MemoryStore

_GUEST = "203.0.113.7"


# --- Over HTTP, in memory


async def _greet(scope: Scope, receive: Any, send: Callable[[Message], Awaitable[None]]) -> None:
    """Answer as an ASGI app that sends no headers at all."""
    assert scope["type"] == "http", receive
    await send({"type": "http.response.start", "status": 200})
    await send({"type": "http.response.body", "body": b"hello"})


def _guest(app: RateLimitMiddleware, address: str = _GUEST) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(app, client=(address, 4321)), base_url="http://party.test")


def _limits(answer: httpx.Response) -> tuple[int, ...]:
    return tuple(int(answer.headers[f"X-RateLimit-{name}"]) for name in ("Limit", "Remaining", "Reset"))


class _Switched:
    """A rate limiter whose server can be away."""

    def __init__(self, inner: RateLimiter) -> None:
        self._inner = inner
        self.away = True

    async def hit(self, key: str, cost: int = 1) -> RateLimitDecision:
        if self.away:
            raise StoreUnavailableError("nobody answers at secret-host:6379")
        return await self._inner.hit(key, cost)

    async def peek(self, key: str) -> RateLimitDecision:
        return await self._inner.peek(key)

    async def reset(self, key: str) -> None:
        await self._inner.reset(key)


async def test_the_window_is_told() -> None:
    """The 360th hit of a minute passes, the 361st is answered with 429, and the next minute begins anew."""
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


async def test_clients_are_told_apart() -> None:
    """Each address has a window of its own, and `X-Forwarded-For` does not change whose it is."""
    async with MemoryStore(StoreSettings(rate_limit_max=1)) as store:
        guarded = RateLimitMiddleware(_greet, store=lambda _scope: store)
        async with _guest(guarded) as one, _guest(guarded, "2001:db8::1") as other:
            assert (await one.get("/")).status_code == 200
            assert (await one.get("/", headers={"X-Forwarded-For": "198.51.100.1"})).status_code == 429
            assert (await other.get("/")).status_code == 200


async def test_a_key_of_its_own() -> None:
    """An app may count by something else than the address."""

    def account(connection: HTTPConnection) -> str:
        return connection.headers["X-Account"]

    async with MemoryStore(StoreSettings(rate_limit_max=1)) as store:
        async with _guest(RateLimitMiddleware(_greet, store=store, key=account)) as guest:
            for name, status in (("ada", 200), ("ada", 429), ("grace", 200)):
                assert (await guest.get("/", headers={"X-Account": name})).status_code == status
        assert (await store.rate_limits.peek("ada")).remaining == 0


@pytest.mark.parametrize("kind", ["websocket", "lifespan"])
async def test_other_scopes_pass(kind: str) -> None:
    """A WebSocket or a lifespan reaches the app as it is, and nothing asks for a store."""
    seen: list[tuple[Any, ...]] = []

    async def app(*what: Any) -> None:
        seen.append(what)

    def no_store(_scope: Scope) -> Store:
        raise AssertionError

    async def receive() -> Message:
        return {}

    async def send(_message: Message) -> None: ...

    scope: Scope = {"type": kind}
    await RateLimitMiddleware(app, store=no_store)(scope, receive, send)
    assert seen == [(scope, receive, send)]


@pytest.mark.parametrize("allow", [False, True])
async def test_a_store_that_is_away(*, allow: bool, caplog: pytest.LogCaptureFixture) -> None:
    """While the store is away, requests get 503 and a time to wait, or pass if asked to; each outage is logged once."""
    async with MemoryStore() as store:
        switch = store.rate_limits = _Switched(store.rate_limits)
        guarded = RateLimitMiddleware(_greet, store=store, when_unavailable="allow" if allow else "refuse")
        async with _guest(guarded) as guest:
            for outage in (1, 2):
                switch.away = True
                for answer in [await guest.get("/") for _ in range(3)]:
                    assert answer.status_code == (200 if allow else 503)
                    assert answer.headers.get("Retry-After") == (None if allow else "1")
                    assert "secret-host" not in answer.text
                    assert "X-RateLimit-Limit" not in answer.headers
                logged = [record.levelno for record in caplog.records if record.name == "wnc_store"]
                assert logged == [logging.WARNING] * outage
                switch.away = False
                assert (await guest.get("/")).status_code == 200


@pytest.mark.parametrize(
    ("client", "key"),
    [
        ((_GUEST, 1), _GUEST),
        (("2001:db8::1", 1), "2001:db8::1"),
        (("fe80::1%eth0", 1), "fe80::1"),
        (("::ffff:203.0.113.7", 1), "::ffff:203.0.113.7"),
        (None, "unknown"),
        (("", 0), "unknown"),
        (("evil\r\nkey *", 0), "unknown"),
        (("1" * 129, 0), "unknown"),
    ],
)
def test_an_address_becomes_a_key(client: tuple[str, int] | None, key: str) -> None:
    """Whatever a server says of its client becomes a valid key; an IPv6 zone is left out."""
    assert client_ip(HTTPConnection({"type": "http", "client": client})) == key


def test_it_names_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without Starlette, importing the guards says which extra to install."""
    spec = importlib.util.find_spec("wnc_store.starlette")
    assert spec is not None
    assert spec.loader is not None
    nothing: dict[str, object] = {}
    monkeypatch.setattr(importlib.util, "find_spec", nothing.get)
    with pytest.raises(ImportError, match=r"wnc-store\[starlette\]") as caught:
        spec.loader.exec_module(importlib.util.module_from_spec(spec))
    assert caught.value.name == "starlette"


def test_the_public_face_is_sorted() -> None:
    """`__all__` is sorted and names what is there."""
    names = wnc_store.starlette.__all__
    assert names == sorted(names)
    assert all(hasattr(wnc_store.starlette, name) for name in names)


# --- A connection's lease, in memory


class _Server:
    """Connections on a server that does what it was sent even if nobody waits any more.

    It holds one request back, if asked to, until it is let go.
    """

    def __init__(self, inner: ConnectionCounter) -> None:
        self._inner = inner
        self.errors: list[Exception] = []
        self.asked = 0
        self.done = 0
        self.holds = 0
        self.goes_on = asyncio.Event()

    async def acquire(self, key: str, connection_id: str, *, limit: int | None = None) -> int:
        self.asked += 1
        if self.errors and not isinstance(self.errors[0], OutcomeUnknownError):
            raise self.errors.pop(0)

        async def arrive(number: int) -> int:
            if number == self.holds:
                await self.goes_on.wait()
                self.goes_on.clear()
            held = await self._inner.acquire(key, connection_id, limit=limit)
            self.done += 1
            return held

        held = await asyncio.shield(asyncio.ensure_future(arrive(self.asked)))
        if self.errors:
            raise self.errors.pop(0)
        return held

    async def release(self, key: str, connection_id: str) -> int:
        await asyncio.sleep(0)
        if self.errors:
            raise self.errors.pop(0)
        return await self._inner.release(key, connection_id)

    async def count(self, key: str) -> int:
        return await self._inner.count(key)

    async def let_go_soon(self) -> None:
        for _ in range(10):  # whoever was cancelled gets some turns first
            await asyncio.sleep(0)
        self.goes_on.set()


_TTL = timedelta(seconds=0.06)
"""Of real time for the guard, which renews three times in it; of a clock that is moved by hand for the store."""
_SOCKET = HTTPConnection({"type": "websocket", "client": (_GUEST, 1)})


@pytest.fixture(name="clock")
def _clock() -> ManualClock:
    """The clock of the store."""
    return ManualClock()


@pytest.fixture
async def slow(clock: ManualClock) -> AsyncGenerator[MemoryStore]:
    """A store whose connections are on a slow server. In the end no lease is held, and no task is left."""
    async with MemoryStore(StoreSettings(connection_ttl=_TTL), clock=clock) as store:
        store.connections = _Server(store.connections)
        yield store
        await wait_until(lambda: asyncio.all_tasks() == {asyncio.current_task()})
        assert await store.connections.count(_GUEST) == 0


def _server(store: MemoryStore) -> _Server:
    assert isinstance(store.connections, _Server)
    return store.connections


async def _stay(store: MemoryStore) -> None:
    """Be an endpoint that goes on and on."""
    async with ConnectionGuard(store, _SOCKET, connection_ttl=_TTL):
        await asyncio.Event().wait()


async def test_a_lease_is_renewed_and_ended(slow: MemoryStore, clock: ManualClock) -> None:
    """A connection counts for longer than a lease lasts, and no more once the endpoint is done."""
    async with ConnectionGuard(slow, _SOCKET, connection_ttl=_TTL):
        for _ in range(4):
            before = _server(slow).done
            await wait_until(lambda before=before: _server(slow).done > before)
            clock.advance(_TTL * 0.9)
            assert await slow.connections.count(_GUEST) == 1
    assert await slow.connections.count(_GUEST) == 0


@pytest.mark.parametrize("errors", [[], [StoreUnavailableError("away")]])
async def test_the_endpoints_error_is_its_own(slow: MemoryStore, clock: ManualClock, errors: list[Exception]) -> None:
    """What the endpoint raises comes out as it is, also when the lease can't be ended; that ends by itself then."""

    async def fail() -> None:
        async with ConnectionGuard(slow, _SOCKET, connection_ttl=_TTL):
            _server(slow).errors = [*errors]
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()
    assert await slow.connections.count(_GUEST) == len(errors)
    clock.advance(_TTL)


@pytest.mark.parametrize("asked", [1, 2])
@pytest.mark.parametrize("times", [1, 3])
async def test_cancelling_leaves_no_lease(slow: MemoryStore, asked: int, times: int) -> None:
    """Cancelling an endpoint leaves no lease, not even while the server is about to give one or renew it."""
    _server(slow).holds = asked
    endpoint = asyncio.create_task(_stay(slow))
    await wait_until(lambda: _server(slow).asked == asked)  # the request is under way
    for _ in range(times):
        endpoint.cancel()
        await asyncio.sleep(0)
    await _server(slow).let_go_soon()
    with pytest.raises(asyncio.CancelledError):
        await endpoint


async def test_an_answer_that_nobody_awaits(slow: MemoryStore, caplog: pytest.LogCaptureFixture) -> None:
    """An error that comes after the endpoint was cancelled is not reported as forgotten."""
    _server(slow).errors = [OutcomeUnknownError("lost")]
    _server(slow).holds = 1
    endpoint = asyncio.create_task(_stay(slow))
    await wait_until(lambda: _server(slow).asked == 1)
    endpoint.cancel()
    await _server(slow).let_go_soon()
    await asyncio.wait([endpoint])
    assert endpoint.cancelled()
    del endpoint
    gc.collect()
    assert caplog.records == []


async def test_cancelling_a_scope_leaves_no_lease(slow: MemoryStore) -> None:
    """The cancel scope of anyio, which cancels each wait inside it, does not keep a lease from its end."""
    background: list[asyncio.Task[None]] = []
    for asked in (1, 3):
        _server(slow).holds = asked
        async with anyio.create_task_group() as group:
            group.start_soon(_stay, slow)
            await wait_until(lambda asked=asked: _server(slow).asked == asked)
            group.cancel_scope.cancel()
            background.append(asyncio.create_task(_server(slow).let_go_soon()))
        assert await slow.connections.count(_GUEST) == 0


async def test_a_failing_renewal(
    slow: MemoryStore, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A renewal that fails does not end the endpoint; it is tried again soon, and logged once."""
    pauses: list[float] = []
    wait = asyncio.wait

    async def remember(tasks: Any, timeout: float | None = None) -> Any:  # noqa: ASYNC109 - as asyncio's own
        if timeout is not None:
            pauses.append(timeout)
        return await wait(tasks, timeout=timeout)

    monkeypatch.setattr(asyncio, "wait", remember)
    async with ConnectionGuard(slow, _SOCKET, connection_ttl=_TTL):
        _server(slow).errors = [StoreUnavailableError("away"), StoreUnavailableError("still"), RuntimeError("odd")]
        await wait_until(lambda: _server(slow).done == 2)
        assert await slow.connections.count(_GUEST) == 1
    assert pauses[:4] == pytest.approx([0.02, 0.005, 0.005, 0.005])
    assert [record.getMessage() for record in caplog.records] == [
        f"could not renew a connection of {_GUEST}, trying again: away"
    ]


async def test_one_too_many(slow: MemoryStore) -> None:
    """Beyond the limit, 10 by default, a connection is refused with 1008 and leaves nothing behind."""
    async with AsyncExitStack() as others:
        for _ in range(10):
            await others.enter_async_context(ConnectionGuard(slow, _SOCKET, connection_ttl=_TTL))
        with pytest.raises(WebSocketException) as refused:
            await ConnectionGuard(slow, _SOCKET, connection_ttl=_TTL).__aenter__()
        assert refused.value.code == 1008
        async with ConnectionGuard(slow, _SOCKET, key=lambda _connection: "ada", limit=1, connection_ttl=_TTL):
            assert await slow.connections.count("ada") == 1


@pytest.mark.parametrize("error", [StoreUnavailableError("away"), OutcomeUnknownError("lost")])
async def test_no_connection_without_a_store(slow: MemoryStore, error: Exception) -> None:
    """While the store is away, a connection is refused with 1013, and a lease that it may hold is ended."""
    _server(slow).errors = [error]
    with pytest.raises(WebSocketException) as refused:
        await ConnectionGuard(slow, _SOCKET).__aenter__()
    assert refused.value.code == 1013
