"""Litestar: `store_lifespan` opens the store, `Provide(get_store)` injects it. Run: `uvicorn litestar_app:app`."""

from litestar import Litestar, Request, Response, post
from litestar.datastructures import State
from litestar.di import NamedDependency, Provide
from litestar.enums import MediaType
from litestar.params import FromPath, FromQuery, SkipValidation

from wnc_store import (
    InvalidIdError,
    Room,
    RoomNotFoundError,
    Store,
    User,
    get_store,
    store_lifespan,
    to_json_text,
)

AppStore = NamedDependency[SkipValidation[Store]]
"""Type of a handler's `store` parameter. Litestar must not validate it, because `Store` is a protocol."""


def not_found(_request: Request[object, object, State], error: RoomNotFoundError) -> Response[dict[str, str]]:
    """Return a 404 with the message of the error, which contains no secrets."""
    return Response({"detail": str(error)}, status_code=404, media_type=MediaType.JSON)


def invalid_id(_request: Request[object, object, State], error: InvalidIdError) -> Response[dict[str, str]]:
    """Return a 422 with the message of the error."""
    return Response({"detail": str(error)}, status_code=422, media_type=MediaType.JSON)


def room_response(room: Room) -> Response[bytes]:
    """Return the public room. Its texts may contain half an emoji, which Litestar cannot encode."""
    return Response(to_json_text(room.to_public().to_json()).encode(), media_type=MediaType.JSON)


@post("/rooms/{room_id:str}")
async def create_room(room_id: FromPath[str], host: FromQuery[str], store: AppStore) -> Response[bytes]:
    """Create a room with `host` as its only user."""
    room = Room.hosted_by(User(id=host, name=host), room_id=room_id)
    await store.rooms.create_room(room)
    return room_response(room)


@post("/rooms/{room_id:str}/users")
async def join(room_id: FromPath[str], name: FromQuery[str], store: AppStore) -> Response[bytes]:
    """Add a guest to the room."""
    return room_response(await store.rooms.add_user_to_room(room_id, User(id=name, name=name)))


app = Litestar(
    route_handlers=[create_room, join],
    dependencies={"store": Provide(get_store)},
    exception_handlers={RoomNotFoundError: not_found, InvalidIdError: invalid_id},
    lifespan=[store_lifespan],
)
