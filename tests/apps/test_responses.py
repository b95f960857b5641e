"""Rooms in the responses of FastAPI, and the shared store as its dependency."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Annotated, Any

import httpx
import pytest
from fastapi import Depends, FastAPI
from pydantic_core import PydanticSerializationError

from wnc_store import PublicRoom, Room, Store, User, get_store, store_lifespan
from wnc_store.starlette import WireResponse

_ROOM = Room.hosted_by(User(id="u1", name="half an emoji: \ud83d"), room_id="A").with_extra(
    {"passwordHash": "SECRET", "settings": {"theme": "dark"}}
)
_PUBLIC = _ROOM.to_public().to_json()
app = FastAPI(default_response_class=WireResponse)


@app.get("/public")
async def public() -> PublicRoom:
    """Return the public room with an extra field."""
    return _ROOM.to_public(include={"settings"})


@app.get("/filtered", response_model=PublicRoom)
async def filtered() -> Any:
    """Return the room, which the response model filters."""
    return _ROOM


@app.get("/filtered-json", response_model=PublicRoom)
async def filtered_json() -> Any:
    """Return the JSON of the room, which the response model filters."""
    return _ROOM.to_json()


@app.get("/annotated")
async def annotated() -> Room:
    """Return the room by mistake."""
    return _ROOM


@app.get("/without-a-type", response_model=None)
async def without_a_type() -> Any:
    """Return the room in a dict by mistake."""
    return {"rooms": [_ROOM]}


@app.get("/any-type")
async def any_type() -> dict[str, Any]:
    """Return the room in a typed dict by mistake."""
    return {"room": _ROOM}


@app.get("/store")
async def rooms(store: Annotated[Store, Depends(get_store)]) -> list[str]:
    """Return the ids of the rooms."""
    return [room_id async for room_id in store.rooms.active_room_ids()]


@pytest.fixture
async def client() -> AsyncGenerator[httpx.AsyncClient]:
    """A client of the app."""
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://party.test") as client:
        yield client


async def test_a_public_room_is_returned(client: httpx.AsyncClient) -> None:
    """A response contains the declared fields, the included extra fields, and half an emoji."""
    assert (await client.get("/public")).json() == {**_PUBLIC, "settings": {"theme": "dark"}}


@pytest.mark.parametrize("path", ["/filtered", "/filtered-json"])
async def test_a_response_model_filters(client: httpx.AsyncClient, path: str) -> None:
    """With PublicRoom as the response model, a room or its JSON is returned without token and extra fields."""
    assert (await client.get(path)).json() == _PUBLIC


@pytest.mark.parametrize("path", ["/annotated", "/without-a-type", "/any-type"])
async def test_a_room_is_refused(client: httpx.AsyncClient, path: str) -> None:
    """An endpoint that returns a Room raises an error, which names to_public()."""
    with pytest.raises(PydanticSerializationError, match=r"use to_public\(\)"):
        await client.get(path)


async def test_the_fields_are_documented(client: httpx.AsyncClient) -> None:
    """The OpenAPI document has the fields of PublicRoom."""
    schemas = (await client.get("/openapi.json")).json()["components"]["schemas"]
    assert list(schemas["PublicRoom"]["properties"]) == list(_PUBLIC)


async def test_the_shared_store_is_a_dependency(client: httpx.AsyncClient) -> None:
    """`Depends(get_store)` injects the store of store_lifespan into an endpoint."""
    async with store_lifespan(url="memory://"):
        await (await get_store()).rooms.create_room(_ROOM)
        assert (await client.get("/store")).json() == ["A"]


async def test_a_dependency_needs_no_lifespan(client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """`Depends(get_store)` works in an app without a lifespan."""
    monkeypatch.setenv("WNC_STORE_URL", "memory://")
    assert (await client.get("/store")).json() == []
