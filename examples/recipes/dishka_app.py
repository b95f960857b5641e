"""dishka with FastAPI: a container opens the store, injects it by its type and closes it.

Run: `uvicorn dishka_app:app`. The same provider serves dishka's integrations with other frameworks.
"""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager

from dishka import Provider, Scope, make_async_container
from dishka.integrations.fastapi import DishkaRoute, FromDishka, setup_dishka
from fastapi import APIRouter, FastAPI
from fastapi.responses import JSONResponse
from pydantic import JsonValue
from starlette.requests import Request

from wnc_store import Room, RoomNotFoundError, Store, User, open_store


async def opened() -> AsyncIterator[Store]:
    """Open the store that the environment names; the container closes it when it is closed itself."""
    async with open_store() as store:
        yield store


@asynccontextmanager
async def lifespan(_app: FastAPI) -> AsyncGenerator[None]:
    """Open the store with the app, not with its first request, and close all that the container made."""
    await container.get(Store)
    yield
    await container.close()


async def not_found(_request: Request, error: Exception) -> JSONResponse:
    """Answer with the error's text, which is made for people and holds no secret."""
    return JSONResponse({"detail": str(error)}, 404)


router = APIRouter(route_class=DishkaRoute)


@router.post("/rooms/{room_id}", status_code=201)
async def create_room(room_id: str, host: str, store: FromDishka[Store]) -> dict[str, JsonValue]:
    """Create a room with `host` in it."""
    room = Room.hosted_by(User(id=host, name=host), room_id=room_id)
    await store.rooms.create_room(room)
    return room.to_public_json()


@router.post("/rooms/{room_id}/users", status_code=201)
async def join(room_id: str, name: str, store: FromDishka[Store]) -> dict[str, JsonValue]:
    """Let a guest in."""
    return (await store.rooms.add_user_to_room(room_id, User(id=name, name=name))).to_public_json()


provider = Provider(scope=Scope.APP)
provider.provide(opened)
container = make_async_container(provider)
app = FastAPI(lifespan=lifespan, exception_handlers={RoomNotFoundError: not_found})
app.include_router(router)
setup_dishka(container, app)
