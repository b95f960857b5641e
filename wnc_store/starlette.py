"""Per-client rate and connection limits, and room events over WebSockets, for Starlette and FastAPI apps.

A client is identified by its IP address, an IPv6 client by its network. `X-Forwarded-For` is ignored, because any
client can send it. Behind a proxy, configure the server to trust only that proxy (uvicorn: `--proxy-headers
--forwarded-allow-ips`), or pass a `key`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from collections.abc import Set as AbstractSet
from contextlib import suppress
from datetime import timedelta
from functools import partial
from importlib.util import find_spec
from typing import Any, Literal, Self
from uuid import uuid4

from pydantic import JsonValue

from wnc_store.base.ids import is_id
from wnc_store.clock import Clock, SystemClock
from wnc_store.errors import LimitExceededError, OutcomeUnknownError, StoreUnavailableError
from wnc_store.events import (
    MessageAdded,
    MessageRemoved,
    MessagesCleared,
    Resync,
    RoomChanged,
    RoomClosed,
    RoomEvent,
)
from wnc_store.protocols import Store
from wnc_store.rate_limit import client_key
from wnc_store.records.codec import to_json_text
from wnc_store.settings import StoreSettings, check_duration
from wnc_store.shared import get_store

if find_spec("starlette") is None:
    raise ImportError("the Starlette middleware needs starlette: pip install 'wnc-store[starlette]'", name="starlette")

from anyio import CancelScope  # a dependency of Starlette
from starlette.datastructures import MutableHeaders
from starlette.exceptions import WebSocketException
from starlette.requests import HTTPConnection
from starlette.responses import JSONResponse
from starlette.status import (
    WS_1000_NORMAL_CLOSURE,
    WS_1006_ABNORMAL_CLOSURE,
    WS_1008_POLICY_VIOLATION,
    WS_1013_TRY_AGAIN_LATER,
)
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocket, WebSocketDisconnect

__all__ = [
    "ConnectionGuard",
    "RateLimitMiddleware",
    "WireResponse",
    "client_ip",
    "forward_room",
    "run_until_disconnect",
    "send_json",
]

_logger = logging.getLogger("wnc_store")
_SECOND = timedelta(seconds=1)


def client_ip(connection: HTTPConnection[Any], *, ipv6_prefix: int = 64) -> str:
    """Return the `wnc_store.client_key` of the client; "unknown" without an IP address, as on a Unix socket."""
    key = "" if connection.client is None else client_key(connection.client.host, ipv6_prefix=ipv6_prefix)
    return key if is_id(key) else "unknown"


class RateLimitMiddleware:
    """ASGI middleware that counts HTTP requests per client and responds 429 with `Retry-After` beyond the limit.

    Responses to counted requests have the headers `X-RateLimit-Limit`, `X-RateLimit-Remaining` and `X-RateLimit-Reset`
    (the epoch second at which the window ends). Responses of outer middleware, such as Starlette's 500 for an unhandled
    exception, do not have them. WebSocket connections are passed through and not counted.

    Args:
        app: The wrapped ASGI app.
        store: The store, or a function that returns it for a scope: `lambda scope: scope["app"].state.store` if the
            lifespan sets `app.state.store`. Default: the result of `wnc_store.get_store`.
        key: Returns the id of the client whose requests are counted. It must not trust headers that any client can set.
            Default: `client_ip` with the `ipv6_prefix` of `StoreSettings.from_environment()`.
        when_unavailable: Behaviour while the store is unavailable. "refuse" responds 503 with `Retry-After`; "allow"
            passes requests through without counting them. Each outage is logged once. To keep counting during an
            outage, set `limits_on_unavailable="memory"` instead.
        clock: Clock for `X-RateLimit-Reset`. Default: the system clock.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        store: Store | Callable[[Scope], Store] | None = None,
        key: Callable[[HTTPConnection[Any]], str] | None = None,
        when_unavailable: Literal["refuse", "allow"] = "refuse",
        clock: Clock | None = None,
    ) -> None:
        self._app = app
        self._store = store
        self._key = key or partial(client_ip, ipv6_prefix=StoreSettings.from_environment().ipv6_prefix)
        self._when_unavailable = when_unavailable
        self._clock = clock or SystemClock()
        self._unavailable = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one ASGI scope."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        store = self._store(scope) if callable(self._store) else self._store or await get_store()
        try:
            decision = await store.rate_limits.hit(self._key(HTTPConnection(scope)))
        except StoreUnavailableError as error:
            if not self._unavailable:
                action = "allowing them uncounted" if self._when_unavailable == "allow" else "refusing them with 503"
                _logger.warning("could not count requests, %s until the store is available: %s", action, error)
            self._unavailable = True
            response = self._app if self._when_unavailable == "allow" else _error_response(503, "Service unavailable")
            await response(scope, receive, send)
            return
        self._unavailable = False
        reset_at = timedelta(milliseconds=self._clock.now_ms()) + decision.reset_after
        headers = {
            "X-RateLimit-Limit": str(decision.limit),
            "X-RateLimit-Remaining": str(decision.remaining),
            "X-RateLimit-Reset": str(-(-reset_at // _SECOND)),  # rounded up
        }

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message.setdefault("headers", [])
                MutableHeaders(scope=message).update(headers)
            await send(message)

        response = self._app if decision.allowed else _error_response(429, "Too many requests", decision.retry_after)
        await response(scope, receive, send_with_headers)


class ConnectionGuard:
    """Counts a WebSocket while an endpoint serves it: `async with ConnectionGuard(store, websocket):`.

    The endpoint must notice that the client has disconnected, as `forward_room` and `run_until_disconnect` do.
    Otherwise the client remains counted.

    The guard holds a lease on a connection of the client and renews it in the background. If a renewal fails, the
    failure is logged once, the renewal is retried, and the WebSocket stays open. Leaving the context ends the lease.

    Args:
        store: The store that counts the connections of all processes.
        websocket: The WebSocket to count.
        limit: Maximum number of connections per client, at least 1. Default: `connection_limit` of `StoreSettings`.
        key: Returns the id of the client whose connections are counted. It must not trust headers that any client can
            set. Default: `client_ip` with the `ipv6_prefix` of `StoreSettings.from_environment()`.
        ttl: Duration of the lease, whatever `connection_ttl` the store has. It is renewed after a third of this time. A
            crashed process leaves its connections counted for up to this time. Default: `connection_ttl` of
            `StoreSettings.from_environment()`.

    Raises:
        TypeError, ValueError: `ttl` is invalid. See `ConnectionCounter.acquire`.
        WebSocketException: On entering the context: code 1008 beyond the limit, code 1013 while the store is
            unavailable. Before `accept()` both become HTTP 403.
    """

    def __init__(
        self,
        store: Store,
        websocket: HTTPConnection[Any],
        *,
        limit: int | None = None,
        key: Callable[[HTTPConnection[Any]], str] | None = None,
        ttl: timedelta | None = None,
    ) -> None:
        self._connections = store.connections
        settings = StoreSettings.from_environment()
        self._limit = settings.connection_limit if limit is None else limit
        self._key = key(websocket) if key else client_ip(websocket, ipv6_prefix=settings.ipv6_prefix)
        self._id = uuid4().hex
        self._ttl = settings.connection_ttl if ttl is None else check_duration("ttl", ttl)
        self._exited: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def __aenter__(self) -> Self:
        """Acquire the lease."""
        try:
            await run_shielded(self._connections.acquire(self._key, self._id, limit=self._limit, ttl=self._ttl))
        except LimitExceededError as error:
            raise WebSocketException(WS_1008_POLICY_VIOLATION, "too many connections") from error
        except StoreUnavailableError as error:
            _logger.warning("refused a connection of %s because the store is unavailable: %s", self._key, error)
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
        self._exited.set_result(None)
        await run_shielded(self._lease)

    async def _renew_lease(self) -> None:
        """Renew the lease until the context exits, then release it. A single task does both, in this order."""
        failing, seconds = False, self._ttl.total_seconds()
        try:
            while not (await asyncio.wait([self._exited], timeout=seconds / (12 if failing else 3)))[0]:
                try:
                    await self._connections.acquire(self._key, self._id, ttl=self._ttl)
                    failing = False
                except Exception as error:  # noqa: BLE001 - no error of a renewal may close the WebSocket
                    if not failing:
                        _logger.warning("could not renew a connection lease of %s, retrying: %s", self._key, error)
                    failing = True
        finally:
            await self._release()

    async def _release(self) -> None:
        try:
            await self._connections.release(self._key, self._id)
        except Exception as error:  # noqa: BLE001 - must not replace an error of the endpoint; the lease expires
            _logger.warning("could not release a connection lease of %s: %s", self._key, error)


async def run_shielded(operation: Awaitable[object]) -> None:
    """Await an operation to its end, even if the caller is cancelled, because the server may execute a sent command."""
    task = asyncio.ensure_future(operation)
    cancelled: asyncio.CancelledError | None = None
    with CancelScope(shield=True):
        while not task.done():
            try:
                await asyncio.wait([task])
            except asyncio.CancelledError as error:
                cancelled = error
    if cancelled is not None:
        task.exception()  # retrieved, so that asyncio does not log it as never retrieved
        raise cancelled
    await task


async def forward_room(
    store: Store,
    room_id: str,
    websocket: WebSocket[Any],
    on_message: Callable[[str | bytes], Awaitable[object]] | None = None,
    *,
    include: AbstractSet[str] = frozenset(),
) -> None:
    """Send a room and then its events to an accepted WebSocket until the room is closed or the client disconnects.

    The WebSocket is closed at the end: with code 1008 if the room id is invalid, with code 1013 if the store became
    unavailable, otherwise with code 1000.

    The first message is `{"type": "room", "room": ..., "messages": [...]}`: the room, as `Room.to_public` returns it,
    and its chat. Each event follows, as `RoomEvent.to_public` returns it, except `RoomChanged`, `RoomClosed` and
    `Resync`: instead of these, the room and its chat are sent again. If the room does not exist, the last message has a
    null `"room"`. Events that the sent room or chat already contains are skipped.

    Args:
        store: The store of the room. Without `publish_changes`, only events of the app are published.
        room_id: Id of the room.
        websocket: The WebSocket. It must be accepted.
        on_message: See `run_until_disconnect`.
        include: Names of the extra fields to send, as for `Room.to_public`. Chat messages are always sent with all of
            theirs.

    Raises:
        TypeError, ValueError: `include` is invalid. See `Room.to_public`.
        Exception: Another error of the store or of `on_message`. The WebSocket is not closed.
    """
    code = WS_1000_NORMAL_CLOSURE
    try:
        if is_id(room_id):
            async with store.events.subscribe(
                room_id
            ) as events:  # subscribe before reading, so that no event is missed
                sending = _send_events(store, room_id, websocket, events, include)
                await run_until_disconnect(websocket, sending, on_message)
        else:
            code = WS_1008_POLICY_VIOLATION
    except StoreUnavailableError as error:
        _logger.warning("closed a WebSocket of room %s because the store is unavailable: %s", room_id, error)
        code = WS_1013_TRY_AGAIN_LATER
    with suppress(WebSocketDisconnect, RuntimeError):  # either side may have closed it
        await websocket.close(code)


async def _send_events(
    store: Store, room_id: str, websocket: WebSocket[Any], events: AsyncIterator[RoomEvent], include: AbstractSet[str]
) -> None:
    event: RoomEvent = RoomChanged(room_id=room_id)
    rev, message_ids = -1, set[str]()
    while True:
        if isinstance(event, RoomChanged | RoomClosed | Resync):
            room, messages = await store.rooms.get_room(room_id), await store.chat.get_messages(room_id)
            rev, message_ids = -1 if room is None else room.rev, {message.id for message in messages}
            public = None if room is None else room.to_public(include=include).to_json()
            chat: list[JsonValue] = [message.to_json() for message in messages]
            await send_json(websocket, {"type": "room", "room": public, "messages": chat})
            if room is None:
                return
        elif not (isinstance(event, MessageAdded) and event.message.id in message_ids):
            # The read chat may already contain messages that were added after a removal, which the client now undoes.
            if isinstance(event, MessageRemoved):
                message_ids.discard(event.message_id)
            elif isinstance(event, MessagesCleared):
                message_ids.clear()
            await send_json(websocket, event.to_public(include=include).to_json())
        event = await anext(events)
        while event.rev is not None and event.rev <= rev:
            event = await anext(events)


async def run_until_disconnect(
    websocket: WebSocket[Any],
    sending: Coroutine[Any, Any, object],
    on_message: Callable[[str | bytes], Awaitable[object]] | None = None,
) -> None:
    """Run a coroutine that sends to an accepted WebSocket, and cancel it when the client disconnects.

    A server reports a disconnect to the endpoint that waits for the client's messages. An endpoint that only waits for
    events of a quiet room would run, and keep its lease, long after the client has left.

    Args:
        websocket: The WebSocket. It must be accepted, and nothing else may receive from it.
        sending: The coroutine. It should send with `send_json`. If it returns or raises, receiving ends, too.
        on_message: Called with each message of the client, one after the other. If it raises, `sending` is cancelled.
            By default messages are discarded.

    Raises:
        Exception: An error of `sending` or `on_message`, except `WebSocketDisconnect`.
    """

    async def receive() -> None:
        while (message := await websocket.receive())["type"] != "websocket.disconnect":
            if on_message is not None:
                text = message.get("text")
                await on_message(message["bytes"] if text is None else text)

    errors: list[BaseException] = []
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(sending), group.create_task(receive())]
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in tasks:
                task.cancel()
    except BaseExceptionGroup as group:
        errors = [error for error in group.exceptions if not isinstance(error, WebSocketDisconnect)]
    if errors:  # raised here, so that its traceback does not contain the group
        raise errors[0]


async def send_json(websocket: WebSocket[Any], value: JsonValue) -> None:
    """Send a value as JSON in a text message.

    `to_json_text` encodes it, because the Node app may have stored lone surrogates.

    Raises:
        WebSocketDisconnect: The connection is closed.
    """
    try:
        await websocket.send_text(to_json_text(value))
    except RuntimeError as error:  # another task's send noticed it first, or the server closed it after a ping timeout
        raise WebSocketDisconnect(WS_1006_ABNORMAL_CLOSURE) from error


class WireResponse(JSONResponse):
    """JSON response whose texts may contain half an emoji, a lone surrogate. Other responses raise an error.

    `to_json_text` encodes the content. In FastAPI: `FastAPI(default_response_class=WireResponse)`.
    """

    def render(self, content: Any) -> bytes:
        """Encode a JSON value, for example the result of `PublicRoom.to_json`."""
        return to_json_text(content).encode()


def _error_response(status: int, error: str, retry_after: timedelta = timedelta(0)) -> JSONResponse:
    wait = max(1, -(-retry_after // _SECOND))
    return JSONResponse({"error": error, "retryAfter": wait}, status, headers={"Retry-After": str(wait)})
