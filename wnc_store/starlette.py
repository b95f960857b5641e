"""Guards for a Starlette or FastAPI app: hits per client over HTTP, connections per client over WebSockets.

A client is its address. `X-Forwarded-For` is not read, because anybody can send it: let the server read it, and from
your proxy alone (uvicorn: `--proxy-headers --forwarded-allow-ips`, which is this machine by default), or pass a `key`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import timedelta
from importlib.util import find_spec
from typing import Literal, Self
from uuid import uuid4

from wnc_store.base.ids import is_id
from wnc_store.clock import Clock, SystemClock
from wnc_store.errors import LimitExceededError, OutcomeUnknownError, StoreUnavailableError
from wnc_store.protocols import Store
from wnc_store.settings import StoreSettings

if find_spec("starlette") is None:
    raise ImportError("the guards need starlette: pip install 'wnc-store[starlette]'", name="starlette")

from anyio import CancelScope  # Starlette brings it
from starlette.datastructures import MutableHeaders
from starlette.exceptions import WebSocketException
from starlette.requests import HTTPConnection
from starlette.responses import JSONResponse
from starlette.status import WS_1008_POLICY_VIOLATION, WS_1013_TRY_AGAIN_LATER
from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["ConnectionGuard", "RateLimitMiddleware", "client_ip"]

_logger = logging.getLogger("wnc_store")
_SECOND = timedelta(seconds=1)


def client_ip(connection: HTTPConnection) -> str:
    """Return the client's address, without an IPv6 zone; "unknown" if there is none, as on a Unix socket."""
    host = "" if connection.client is None else connection.client.host.partition("%")[0]
    return host if is_id(host) else "unknown"


class RateLimitMiddleware:
    """Counts each HTTP request as a hit, and answers 429 with `Retry-After` beyond the limit; WebSockets just pass.

    Every response to a counted request tells `X-RateLimit-Limit`, `X-RateLimit-Remaining` and `X-RateLimit-Reset`, the
    epoch second when the window ends; not one that is made further out, such as Starlette's 500 for a crash.

    Args:
        store: the store, or what returns it for a scope: `lambda scope: scope["app"].state.store` where the lifespan
            sets `app.state.store`, `lambda scope: scope["state"]["store"]` where it yields `{"store": store}`.
        key: returns an id: whose hits are counted. It must not believe what any client can send.
        when_unavailable: while the store is away, "refuse" answers 503 with `Retry-After`, and "allow" lets requests
            pass uncounted. Each outage is logged once. (`limits_on_unavailable` "memory" keeps counting instead.)
        clock: tells the time for `X-RateLimit-Reset`; the machine's if left out.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        store: Store | Callable[[Scope], Store],
        key: Callable[[HTTPConnection], str] = client_ip,
        when_unavailable: Literal["refuse", "allow"] = "refuse",
        clock: Clock | None = None,
    ) -> None:
        self._app = app
        self._store = store
        self._key = key
        self._when_unavailable = when_unavailable
        self._clock = clock or SystemClock()
        self._away = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve what the scope describes."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        store = self._store(scope) if callable(self._store) else self._store
        try:
            decision = await store.rate_limits.hit(self._key(HTTPConnection(scope)))
        except StoreUnavailableError as error:
            if not self._away:
                _logger.warning("no rate limits (%s all) until the store is back: %s", self._when_unavailable, error)
            self._away = True
            answer = self._app if self._when_unavailable == "allow" else _refusal(503, "Service unavailable")
            await answer(scope, receive, send)
            return
        self._away = False
        ends = timedelta(milliseconds=self._clock.now_ms()) + decision.reset_after
        told = {"Limit": decision.limit, "Remaining": decision.remaining, "Reset": -(-ends // _SECOND)}  # rounded up
        headers = {f"X-RateLimit-{name}": str(number) for name, number in told.items()}

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message.setdefault("headers", [])
                MutableHeaders(scope=message).update(headers)
            await send(message)

        answer = self._app if decision.allowed else _refusal(429, "Too many requests", decision.retry_after)
        await answer(scope, receive, send_with_headers)


class ConnectionGuard:
    """Counts a WebSocket for as long as an endpoint serves it: `async with ConnectionGuard(store, websocket):`.

    Entering raises `WebSocketException`: 1008 beyond the limit, 1013 while the store is away; before `accept()` both
    are an HTTP 403. Who is in stays in: the lease is renewed in the background, and a renewal that fails is logged once
    and tried again. Leaving ends the lease, for whatever reason.

    Args:
        store: counts the connections, over all processes.
        limit: how many a client may have; `connection_limit` of the environment's settings if left out.
        key: returns an id: whose connections are counted. It must not believe what any client can send.
        connection_ttl: the store's, from the environment if left out, as with `open_store`. If a store's settings come
            from elsewhere, say it: the lease is renewed when a third of it has passed.
    """

    def __init__(
        self,
        store: Store,
        websocket: HTTPConnection,
        *,
        limit: int | None = None,
        key: Callable[[HTTPConnection], str] = client_ip,
        connection_ttl: timedelta | None = None,
    ) -> None:
        self._connections = store.connections
        settings = StoreSettings.from_environment()
        self._limit = limit or settings.connection_limit
        self._key = key(websocket)
        self._id = uuid4().hex
        self._ttl = (connection_ttl or settings.connection_ttl).total_seconds()
        self._left: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def __aenter__(self) -> Self:
        """Begin the lease."""
        try:
            await run_shielded(self._connections.acquire(self._key, self._id, limit=self._limit))
        except LimitExceededError as error:
            raise WebSocketException(WS_1008_POLICY_VIOLATION, "too many connections") from error
        except StoreUnavailableError as error:
            _logger.warning("refused a connection of %s: %s", self._key, error)
            if isinstance(error, OutcomeUnknownError):
                await run_shielded(self._release())
            raise WebSocketException(WS_1013_TRY_AGAIN_LATER, "try again later") from error
        except asyncio.CancelledError:
            await run_shielded(self._release())
            raise
        self._lease = asyncio.create_task(self._renew_lease())
        return self

    async def __aexit__(self, *_: object) -> None:
        """End the lease."""
        self._left.set_result(None)
        await run_shielded(self._lease)

    async def _renew_lease(self) -> None:
        """Renew the lease until the guard is left, then end it: one task, so that no renewal comes after the end."""
        failing = False
        try:
            while not (await asyncio.wait([self._left], timeout=self._ttl / (12 if failing else 3)))[0]:
                try:
                    await self._connections.acquire(self._key, self._id)
                    failing = False
                except Exception as error:  # noqa: BLE001 - whatever it is, the connection goes on
                    if not failing:
                        _logger.warning("could not renew a connection of %s, trying again: %s", self._key, error)
                    failing = True
        finally:
            await self._release()

    async def _release(self) -> None:
        try:
            await self._connections.release(self._key, self._id)
        except Exception as error:  # noqa: BLE001 - the lease ends by itself; the endpoint's own error matters more
            _logger.warning("could not end the lease of a connection of %s: %s", self._key, error)


async def run_shielded(operation: Awaitable[object]) -> None:
    """Await an operation; who is cancelled meanwhile waits for its end, as a server may do what it was sent."""
    task = asyncio.ensure_future(operation)
    cancelled: asyncio.CancelledError | None = None
    with CancelScope(shield=True):
        while not task.done():
            try:
                await asyncio.wait([task])
            except asyncio.CancelledError as error:
                cancelled = error
    if cancelled is not None:
        task.exception()  # looked at, so that asyncio does not report it
        raise cancelled
    await task


def _refusal(status: int, error: str, retry_after: timedelta = timedelta(0)) -> JSONResponse:
    wait = max(1, -(-retry_after // _SECOND))
    return JSONResponse({"error": error, "retryAfter": wait}, status, headers={"Retry-After": str(wait)})
