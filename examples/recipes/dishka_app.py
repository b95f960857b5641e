"""dishka with FastAPI: a container opens the store, injects it by its type and closes it.

Run: `uvicorn dishka_app:app`. The same provider serves dishka's integrations with other frameworks.
"""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager

from dishka import Provider, Scope, make_async_container
from dishka.integrations.fastapi import DishkaRoute, FromDishka, setup_dishka
from fastapi import APIRouter, FastAPI
from fastapi.responses import JSONResponse
from starlette.requests import Request

from wnc_store import InvalidIdError, PublicRoom, Room, RoomNotFoundError, Store, User, open_store
from wnc_store.starlette import WireResponse


async def provide_store() -> AsyncIterator[Store]:
    """Open the store that WNC_STORE_URL names, and close it when the container is closed."""
    async with open_store() as store:
        yield store


@asynccontextmanager
async def lifespan(_app: FastAPI) -> AsyncGenerator[None]:
    """Open the store when the app starts instead of at the first request, and close the container when it stops."""
    await container.get(Store)
    yield
    await container.close()


async def not_found(_request: Request, error: Exception) -> JSONResponse:
    """Return a 404 with the message of the error, which contains no secrets."""
    return JSONResponse({"detail": str(error)}, 404)


async def invalid_id(_request: Request, error: Exception) -> JSONResponse:
    """Return a 422 with the message of the error."""
    return JSONResponse({"detail": str(error)}, 422)


router = APIRouter(route_class=DishkaRoute)


@router.post("/rooms/{room_id}", status_code=201)
async def create_room(room_id: str, host: str, store: FromDishka[Store]) -> PublicRoom:
    """Create a room with `host` as its only user."""
    room = Room.hosted_by(User(id=host, name=host), room_id=room_id)
    await store.rooms.create_room(room)
    return room.to_public()


@router.post("/rooms/{room_id}/users", status_code=201)
async def join(room_id: str, name: str, store: FromDishka[Store]) -> PublicRoom:
    """Add a guest to the room."""
    return (await store.rooms.add_user_to_room(room_id, User(id=name, name=name))).to_public()


provider = Provider(scope=Scope.APP)
provider.provide(provide_store)
container = make_async_container(provider)
app = FastAPI(
    lifespan=lifespan,
    exception_handlers={RoomNotFoundError: not_found, InvalidIdError: invalid_id},
    default_response_class=WireResponse,  # the default class cannot encode half an emoji
)
app.include_router(router)
setup_dishka(container, app)
