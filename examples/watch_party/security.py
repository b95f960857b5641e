"""Security headers, and the check of the origin of WebSockets."""

from __future__ import annotations

from starlette.datastructures import Headers, MutableHeaders
from starlette.status import WS_1008_POLICY_VIOLATION
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocket

_YOUTUBE = "https://www.youtube.com https://www.youtube-nocookie.com"
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; "
    f"script-src 'self' {_YOUTUBE}; frame-src {_YOUTUBE}; "
    "media-src http: https:; "  # the host of a room chooses the video
    "style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "strict-origin-when-cross-origin",  # YouTube plays nothing without the origin
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


class SecurityMiddleware:
    """ASGI middleware that adds security headers, and refuses WebSockets of pages from other origins.

    Browsers let any page open a WebSocket to any server. Without the check, a foreign page could use up the connections
    that its visitor's address may have here.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one ASGI scope."""

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(_HEADERS)
            await send(message)

        if scope["type"] == "websocket" and _has_foreign_origin(Headers(scope=scope)):
            await WebSocket(scope, receive, send).close(WS_1008_POLICY_VIOLATION)  # before accept: a 403
        else:
            await self._app(scope, receive, send_with_headers)


def _has_foreign_origin(headers: Headers) -> bool:
    """Return whether a browser sent the request for a page of another host. Other clients send no origin."""
    origin = headers.get("origin")
    return origin is not None and origin.partition("://")[2].lower() != headers.get("host", "").lower()
