"""A watch party's HTTP API on one injected `Store`. Run it from this folder: `uvicorn app:app`."""

import logging
from http import HTTPStatus
from typing import Annotated
from uuid import uuid4

from fastapi import Depends, FastAPI, Header, HTTPException, Request
from fastapi.encoders import jsonable_encoder
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

import wnc_store as wnc
from wnc_store import ChatMessage, PublicRoom, Room, Store, User, VideoState, get_store, store_lifespan
from wnc_store.starlette import WireResponse

STATUS_OF: dict[type[Exception], int] = {
    wnc.RoomNotFoundError: 404,
    wnc.UserNotFoundError: 404,
    wnc.RoomExistsError: 409,
    wnc.InvalidIdError: 422,
    ValueError: 422,
    wnc.ConflictError: 503,
    wnc.StoreUnavailableError: 503,
    wnc.OutcomeUnknownError: 504,
}
logger = logging.getLogger("uvicorn.error")


app = FastAPI(title="A watch party on wnc-store", lifespan=store_lifespan, default_response_class=WireResponse)


async def error_response(_request: Request, error: Exception) -> JSONResponse:
    """Return the status of a store's error and its message, which contains no secrets."""
    if not isinstance(error, wnc.StoreError) and type(error) is not ValueError:
        raise error  # a subclass of ValueError, such as UnicodeError, is a bug in this app
    status = next(STATUS_OF[kind] for kind in type(error).__mro__ if kind in STATUS_OF)
    if status >= HTTPStatus.SERVICE_UNAVAILABLE:  # the message names the server, so it is only logged
        logger.error("%s", error)
    if status == HTTPStatus.GATEWAY_TIMEOUT:  # no Retry-After, because a retry could apply the write twice
        return WireResponse({"detail": "The change may or may not be stored. Check before you retry."}, status)
    if status == HTTPStatus.SERVICE_UNAVAILABLE:
        return WireResponse({"detail": "The store is unavailable."}, status, headers={"Retry-After": "1"})
    return WireResponse({"detail": str(error)}, status)


@app.exception_handler(RequestValidationError)
async def invalid_request(_request: Request, error: RequestValidationError) -> JSONResponse:
    """Return a 422 with the errors, which contain the invalid values."""
    return WireResponse({"detail": jsonable_encoder(error.errors())}, 422)


for kind in STATUS_OF:
    app.add_exception_handler(kind, error_response)


AnyStore = Annotated[Store, Depends(get_store)]


async def get_room(room_id: str, store: AnyStore) -> Room:
    """Return the room that the path names."""
    room = await store.rooms.get_room(room_id)
    if room is None:
        raise wnc.RoomNotFoundError(room_id)
    return room


async def only_the_host(
    room: Annotated[Room, Depends(get_room)], x_host_token: Annotated[str | None, Header()] = None
) -> None:
    """Reject a request without the room's host token."""
    if not room.verify_host_token(x_host_token):
        raise HTTPException(403, "The header X-Host-Token must contain the host token of the room.")


class Body(BaseModel):
    """Base of the bodies of requests and responses: JSON with camelCase keys and no extra fields."""

    model_config = ConfigDict(alias_generator=to_camel, validate_by_name=True, validate_by_alias=True, extra="forbid")


class NewRoom(Body):
    """A room to create. The code is random unless the host chooses one."""

    host_name: str
    room_id: str | None = None


class NewUser(Body):
    """A guest to add."""

    name: str


class NewHost(Body):
    """The user who becomes the host."""

    user_id: str


class NewVideo(Body):
    """A video to watch."""

    url: str
    type: str = "youtube"


class NewMessage(Body):
    """A chat message. A client that retries sends the same id, and the store keeps one message."""

    user_id: str
    message: str
    id: str = Field(default_factory=lambda: str(uuid4()))


class CreatedRoom(Body):
    """The secret of a new host."""

    room_id: str
    user_id: str
    host_token: str | None


class JoinedRoom(Body):
    """A room and the id of the guest who has joined it."""

    user_id: str
    room: PublicRoom


class LeftRoom(Body):
    """The room that a user has left. None if the room has been deleted with its last user."""

    room: PublicRoom | None


@app.get("/healthz")
async def health(store: AnyStore) -> dict[str, str]:
    """Check that the store is available."""
    await store.ping()
    return {"status": "ok"}


@app.post("/rooms", status_code=201)
async def create_room(new: NewRoom, store: AnyStore) -> CreatedRoom:
    """Create a room. Only this response contains the host token."""
    host = User(id=str(uuid4()), name=new.host_name)
    if new.room_id is None:
        room = await store.rooms.create_room_with_code(host)
    else:
        room = Room.hosted_by(host, room_id=new.room_id)
        await store.rooms.create_room(room)
    return CreatedRoom(room_id=room.id, user_id=room.host_id, host_token=room.host_token)


@app.get("/rooms/{room_id}")
async def read_room(room: Annotated[Room, Depends(get_room)]) -> PublicRoom:
    """Return the public fields of a room."""
    return room.to_public()


@app.post("/rooms/{room_id}/users", status_code=201)
async def join(room_id: str, new: NewUser, store: AnyStore) -> JoinedRoom:
    """Add a guest to the room."""
    user = User(id=str(uuid4()), name=new.name)
    room = await store.rooms.add_user_to_room(room_id, user)
    return JoinedRoom(user_id=user.id, room=room.to_public())


@app.delete("/rooms/{room_id}/users/{user_id}")
async def leave(room_id: str, user_id: str, store: AnyStore) -> LeftRoom:
    """Remove a user. The room in the response is null if it has been deleted with its last user."""
    room = await store.rooms.remove_user_from_room(room_id, user_id)
    return LeftRoom(room=room and room.to_public())


@app.post("/rooms/{room_id}/host", dependencies=[Depends(only_the_host)])
async def transfer_host(room_id: str, new: NewHost, store: AnyStore) -> PublicRoom:
    """Make another user the host."""
    return (await store.rooms.transfer_host(room_id, new.user_id)).to_public()


@app.put("/rooms/{room_id}/video", dependencies=[Depends(only_the_host)])
async def choose_video(room_id: str, new: NewVideo, store: AnyStore) -> PublicRoom:
    """Set the video of the room, paused at its start."""
    return (await store.rooms.set_video_url(room_id, new.url, new.type)).to_public()


@app.put("/rooms/{room_id}/video/state", dependencies=[Depends(only_the_host)])
async def update_video_state(room_id: str, state: VideoState, store: AnyStore) -> PublicRoom:
    """Update the playback state, as of now unless the host gives the time of the update."""
    return (await store.rooms.update_video_state(room_id, state)).to_public()


@app.post("/rooms/{room_id}/messages", status_code=201)
async def add_message(room: Annotated[Room, Depends(get_room)], new: NewMessage, store: AnyStore) -> ChatMessage:
    """Add a user's message to the chat of the room."""
    user = room.user(new.user_id)
    if user is None:
        raise wnc.UserNotFoundError(room.id, new.user_id)
    message = ChatMessage(id=new.id, room_id=room.id, user_id=user.id, user_name=user.name, message=new.message)
    await store.chat.add_message(message)
    return message


@app.get("/rooms/{room_id}/messages")
async def read_messages(
    room: Annotated[Room, Depends(get_room)], store: AnyStore, limit: int | None = None
) -> list[ChatMessage]:
    """Return the last messages, oldest first."""
    return await store.chat.get_messages(room.id, limit)
