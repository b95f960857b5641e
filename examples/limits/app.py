"""Per-client limits: a rate limit for HTTP requests and a connection limit for WebSockets. Run: `uvicorn app:app`."""

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket

from wnc_store import get_store, store_lifespan
from wnc_store.starlette import ConnectionGuard, RateLimitMiddleware


async def hello(_request: Request) -> PlainTextResponse:
    """Return a greeting. The middleware answers 429 above the rate limit."""
    return PlainTextResponse("hello")


async def echo(websocket: WebSocket) -> None:
    """Echo messages, with at most ten connections from one address."""
    async with ConnectionGuard(await get_store(), websocket):
        await websocket.accept()
        async for text in websocket.iter_text():
            await websocket.send_text(text)


app = Starlette(
    routes=[Route("/", hello), WebSocketRoute("/echo", echo)],
    middleware=[Middleware(RateLimitMiddleware)],
    lifespan=store_lifespan,
)
