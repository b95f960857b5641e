"""A watch party's HTTP API on one injected `Store`. Run it from this folder: `uvicorn app:app`."""

import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from http import HTTPStatus
from secrets import token_hex
from typing import Annotated, Any
from uuid import uuid4

from fastapi import Depends, FastAPI, Header, HTTPException, Request
from fastapi.encoders import jsonable_encoder
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field, JsonValue
from pydantic.alias_generators import to_camel

import wnc_store as wnc
from wnc_store import ChatMessage, Room, Store, User, VideoState

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
Json = dict[str, JsonValue]
logger = logging.getLogger("uvicorn.error")


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncGenerator[None]:
    """Open the store that WNC_STORE_URL names, and close it when the app stops."""
    async with wnc.open_store() as store:
        app.state.store = store
        yield


class WireResponse(JSONResponse):
    """JSON that may contain half an emoji, which JavaScript's `slice()` can leave."""

    def render(self, content: Any) -> bytes:
        """Return the content as JSON."""
        return wnc.to_json_text(content).encode()


app = FastAPI(title="A watch party on wnc-store", lifespan=lifespan, default_response_class=WireResponse)


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


async def get_store(request: Request) -> Store:
    """Return the app's store. Tests override this dependency, for example with a `MemoryStore`."""
    return request.app.state.store


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
    """Base of the request bodies: JSON with camelCase keys and no extra fields."""

    model_config = ConfigDict(alias_generator=to_camel, extra="forbid")


class NewRoom(Body):
    """A room to create. The code is random unless the host chooses one."""

    host_name: str
    room_id: str = Field(default_factory=lambda: token_hex(4))


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


@app.get("/healthz")
async def health(store: AnyStore) -> Json:
    """Check that the store is available."""
    await store.ping()
    return {"status": "ok"}


@app.post("/rooms", status_code=201)
async def create_room(new: NewRoom, store: AnyStore) -> Json:
    """Create a room. Only this response contains the host token."""
    room = Room.hosted_by(User(id=str(uuid4()), name=new.host_name), room_id=new.room_id)
    await store.rooms.create_room(room)
    return {"roomId": room.id, "userId": room.host_id, "hostToken": room.host_token}


@app.get("/rooms/{room_id}")
async def read_room(room: Annotated[Room, Depends(get_room)]) -> Json:
    """Return the public fields of a room."""
    return room.to_public_json()


@app.post("/rooms/{room_id}/users", status_code=201)
async def join(room_id: str, new: NewUser, store: AnyStore) -> Json:
    """Add a guest to the room."""
    user = User(id=str(uuid4()), name=new.name)
    room = await store.rooms.add_user_to_room(room_id, user)
    return {"userId": user.id, "room": room.to_public_json()}


@app.delete("/rooms/{room_id}/users/{user_id}")
async def leave(room_id: str, user_id: str, store: AnyStore) -> Json:
    """Remove a user. The room in the response is null if it has been deleted with its last user."""
    room = await store.rooms.remove_user_from_room(room_id, user_id)
    return {"room": room and room.to_public_json()}


@app.post("/rooms/{room_id}/host", dependencies=[Depends(only_the_host)])
async def transfer_host(room_id: str, new: NewHost, store: AnyStore) -> Json:
    """Make another user the host."""
    return (await store.rooms.transfer_host(room_id, new.user_id)).to_public_json()


@app.put("/rooms/{room_id}/video", dependencies=[Depends(only_the_host)])
async def choose_video(room_id: str, new: NewVideo, store: AnyStore) -> Json:
    """Set the video of the room, paused at its start."""
    return (await store.rooms.set_video_url(room_id, new.url, new.type)).to_public_json()


@app.put("/rooms/{room_id}/video/state", dependencies=[Depends(only_the_host)])
async def update_video_state(room_id: str, state: VideoState, store: AnyStore) -> Json:
    """Update the playback state, as of now unless the host gives the time of the update."""
    return (await store.rooms.update_video_state(room_id, state)).to_public_json()


@app.post("/rooms/{room_id}/messages", status_code=201)
async def add_message(room: Annotated[Room, Depends(get_room)], new: NewMessage, store: AnyStore) -> Json:
    """Add a user's message to the chat of the room."""
    user = room.user(new.user_id)
    if user is None:
        raise wnc.UserNotFoundError(room.id, new.user_id)
    message = ChatMessage(id=new.id, room_id=room.id, user_id=user.id, user_name=user.name, message=new.message)
    await store.chat.add_message(message)
    return message.to_json()


@app.get("/rooms/{room_id}/messages")
async def read_messages(
    room: Annotated[Room, Depends(get_room)], store: AnyStore, limit: int | None = None
) -> list[Json]:
    """Return the last messages, oldest first."""
    return [message.to_json() for message in await store.chat.get_messages(room.id, limit)]
