"""The watch party's web app: one page, one WebSocket for each guest, and a store for all shared state.

Run it in the parent folder: `uvicorn watch_party.app:app`. Environment variables configure the store and its limits.
"""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

from fastapi import FastAPI, WebSocket
from fastapi.responses import FileResponse
from fastapi.staticfiles import StaticFiles
from starlette.types import Scope

from watch_party.security import SecurityMiddleware
from watch_party.websocket import serve
from wnc_store import Store, StoreSettings, SystemClock, open_store
from wnc_store.presence import Presence
from wnc_store.starlette import RateLimitMiddleware

STATIC = Path(__file__).parent / "static"
DEFAULTS = {
    "WNC_STORE_PUBLISH_CHANGES": "true",
    "WNC_STORE_CONNECTION_TTL": "6",  # seconds that a guest may be disconnected, for example while the page is reloaded
    "WNC_STORE_MAX_USERS_PER_ROOM": "30",
    "WNC_STORE_KEY_PREFIX": "party:",  # separate from the Node app, whose rooms this page does not show
}


def party_settings() -> StoreSettings:
    """Return the store's settings: the environment's, with this app's defaults."""
    return StoreSettings.from_environment({**DEFAULTS, **os.environ})


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncGenerator[None]:
    """Open the store that WNC_STORE_URL names, and close it when the app stops."""
    settings, clock = party_settings(), app.state.clock
    async with (
        open_store(settings=settings, clock=clock) as store,
        Presence(store, grace=settings.connection_ttl, clock=clock) as presence,
    ):
        app.state.store, app.state.settings, app.state.presence = store, settings, presence
        yield


def get_store(scope: Scope) -> Store:
    """Return the app's store."""
    return scope["app"].state.store


app = FastAPI(lifespan=lifespan, openapi_url=None)  # one page, and no HTTP API to describe
app.state.clock = SystemClock()  # tests replace it with a ManualClock
app.add_middleware(RateLimitMiddleware, store=get_store)
app.add_middleware(SecurityMiddleware)  # the last is the outermost: it refuses before anything is counted
app.mount("/static", StaticFiles(directory=STATIC), name="static")


@app.get("/", include_in_schema=False)
async def page() -> FileResponse:
    """Return the page. The room code is in the URL's fragment, which browsers do not send to the server."""
    return FileResponse(STATIC / "index.html")


@app.get("/healthz")
async def health() -> dict[str, str]:
    """Check that the store is available."""
    await app.state.store.ping()
    return {"status": "ok"}


@app.websocket("/party")
async def party(websocket: WebSocket) -> None:
    """Serve one guest, with at most ten connections from one address."""
    await websocket.accept()  # before the check, because a page cannot read why a handshake failed
    state = websocket.app.state
    await serve(websocket, state.store, state.settings, state.presence, state.clock)
