"""Per-client limits: a rate limit for HTTP requests and a connection limit for WebSockets. Run: `uvicorn app:app`."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route, WebSocketRoute
from starlette.types import Scope
from starlette.websockets import WebSocket

from wnc_store import Store, open_store
from wnc_store.starlette import ConnectionGuard, RateLimitMiddleware


@asynccontextmanager
async def lifespan(app: Starlette) -> AsyncGenerator[None]:
    """Open the store that WNC_STORE_URL names, and close it when the app stops."""
    async with open_store() as store:
        app.state.store = store
        yield


def get_store(scope: Scope) -> Store:
    """Return the app's store."""
    return scope["app"].state.store


async def hello(_request: Request) -> PlainTextResponse:
    """Return a greeting. The middleware answers 429 above the rate limit."""
    return PlainTextResponse("hello")


async def echo(websocket: WebSocket) -> None:
    """Echo messages, with at most ten connections from one address."""
    async with ConnectionGuard(get_store(websocket.scope), websocket):
        await websocket.accept()
        async for text in websocket.iter_text():
            await websocket.send_text(text)


app = Starlette(
    routes=[Route("/", hello), WebSocketRoute("/echo", echo)],
    middleware=[Middleware(RateLimitMiddleware, store=get_store)],
    lifespan=lifespan,
)
