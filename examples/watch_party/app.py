"""A watch party: one page, one WebSocket for each guest, and all that they share in a store.

In this folder's parent: `uvicorn watch_party.app:app`. The environment says which store, and what may be how large.
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

from watch_party.presence import Presence
from watch_party.websocket import serve
from wnc_store import Store, StoreSettings, SystemClock, open_store
from wnc_store.starlette import ConnectionGuard, RateLimitMiddleware

STATIC = Path(__file__).parent / "static"
DEFAULTS = {
    "WNC_STORE_PUBLISH_CHANGES": "true",
    "WNC_STORE_CONNECTION_TTL": "6",  # how long a guest may be away: a page that is reloaded, a worker that died
    "WNC_STORE_MAX_USERS_PER_ROOM": "30",
    "WNC_STORE_KEY_PREFIX": "party:",  # the rooms of another app have guests without a socket here
}


def settings_of_the_party() -> StoreSettings:
    """Return the store's settings: the environment's, else those of this app."""
    return StoreSettings.from_environment({**DEFAULTS, **os.environ})


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncGenerator[None]:
    """Open the store that WNC_STORE_URL names, and close it when the app stops."""
    settings, clock = settings_of_the_party(), app.state.clock
    async with open_store(settings=settings, clock=clock) as store:
        presence = Presence(store, settings.connection_ttl, clock)
        app.state.store, app.state.settings, app.state.presence = store, settings, presence
        try:
            yield
        finally:
            await presence.aclose()


def store_of(scope: Scope) -> Store:
    """Return the app's store."""
    return scope["app"].state.store


app = FastAPI(title="A watch party", lifespan=lifespan)
app.state.clock = SystemClock()  # a test puts one here that it moves
app.add_middleware(RateLimitMiddleware, store=store_of)
app.mount("/static", StaticFiles(directory=STATIC), name="static")


@app.get("/", include_in_schema=False)
async def page() -> FileResponse:
    """Show the page: the code of the room, if any, is in the address's fragment, which no server sees."""
    return FileResponse(STATIC / "index.html")


@app.get("/healthz")
async def health() -> dict[str, str]:
    """Tell whether the store can serve."""
    await app.state.store.ping()
    return {"status": "ok"}


@app.websocket("/party")
async def party(websocket: WebSocket) -> None:
    """Serve one guest; not more than ten from one address at the same time."""
    await websocket.accept()  # first, because a page can't see why a handshake was refused
    state = websocket.app.state
    async with ConnectionGuard(state.store, websocket, connection_ttl=state.settings.connection_ttl):
        await serve(websocket, state.store, state.settings, state.presence, state.clock)
