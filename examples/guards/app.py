"""Guests that can't be too many: hits over HTTP, connections over WebSockets. Run it here: `uvicorn app:app`."""

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
    """Open the store that the environment names, for as long as the app runs."""
    async with open_store() as store:
        app.state.store = store
        yield


def store_of(scope: Scope) -> Store:
    """Return the app's store."""
    return scope["app"].state.store


async def hello(_request: Request) -> PlainTextResponse:
    """Greet a guest who has not come too often."""
    return PlainTextResponse("hello")


async def echo(websocket: WebSocket) -> None:
    """Repeat what a guest says who is not here ten times already."""
    async with ConnectionGuard(store_of(websocket.scope), websocket):
        await websocket.accept()
        async for text in websocket.iter_text():
            await websocket.send_text(text)


app = Starlette(
    routes=[Route("/", hello), WebSocketRoute("/echo", echo)],
    middleware=[Middleware(RateLimitMiddleware, store=store_of)],
    lifespan=lifespan,
)
