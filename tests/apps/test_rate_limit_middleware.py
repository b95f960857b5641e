"""The rate limit middleware for Starlette, on a store in memory."""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from unittest.mock import Mock

import httpx
import pytest
from starlette.requests import HTTPConnection
from starlette.types import Message, Scope

from wnc_store import (
    ManualClock,
    Store,
    StoreSettings,
    StoreUnavailableError,
    client_key,
    get_store,
    store_lifespan,
)
from wnc_store.starlette import RateLimitMiddleware, client_ip
from wnc_store_memory import MemoryStore

_GUEST = "203.0.113.7"


async def _greet(scope: Scope, receive: Any, send: Callable[[Message], Awaitable[None]]) -> None:
    """An ASGI app that responds without headers."""
    assert scope["type"] == "http", receive
    await send({"type": "http.response.start", "status": 200})
    await send({"type": "http.response.body", "body": b"hello"})


def _guest(app: RateLimitMiddleware, address: str = _GUEST) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(app, client=(address, 4321)), base_url="http://party.test")


def _limits(response: httpx.Response) -> tuple[int, ...]:
    return tuple(int(response.headers[f"X-RateLimit-{name}"]) for name in ("Limit", "Remaining", "Reset"))


async def test_the_shared_store_counts_by_default() -> None:
    """Without a store, the middleware counts requests in the store of store_lifespan."""
    async with store_lifespan(url="memory://"), _guest(RateLimitMiddleware(_greet)) as guest:
        assert (await guest.get("/")).status_code == 200
        assert (await (await get_store()).rate_limits.peek(_GUEST)).remaining == 359


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
