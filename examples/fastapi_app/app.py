"""A watch party's HTTP API on one injected `Store`. Run it from this folder: `uvicorn app:app`."""

import json
import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from http import HTTPStatus
from secrets import token_hex
from typing import Annotated, Any
from uuid import uuid4

from fastapi import Depends, FastAPI, Header, HTTPException, Request
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
    """Open the store that the environment names, for as long as the app runs."""
    async with wnc.open_store() as store:
        app.state.store = store
        yield


class AsciiJSONResponse(JSONResponse):
    """JSON with escapes: nothing else can hold the half of an emoji that JavaScript's `slice()` leaves in a name."""

    def render(self, content: Any) -> bytes:
        """Return the content as JSON."""
        return json.dumps(content, separators=(",", ":"), allow_nan=False).encode()


app = FastAPI(title="A watch party on wnc-store", lifespan=lifespan, default_response_class=AsciiJSONResponse)


async def refuse(_request: Request, error: Exception) -> JSONResponse:
    """Answer with the status of a store's error and its text, which is made for people and holds no secret."""
    if not isinstance(error, wnc.StoreError) and type(error) is not ValueError:
        raise error  # its subclasses (UnicodeError, ...) are mistakes of this app, not of the request
    status = next(STATUS_OF[kind] for kind in type(error).__mro__ if kind in STATUS_OF)
    if status >= HTTPStatus.SERVICE_UNAVAILABLE:  # the text names the server: that is for the log
        logger.error("%s", error)
    if status == HTTPStatus.GATEWAY_TIMEOUT:  # no Retry-After: a repetition may do it twice
        return AsciiJSONResponse({"detail": "this may or may not have happened: look before you repeat it"}, status)
    if status == HTTPStatus.SERVICE_UNAVAILABLE:
        return AsciiJSONResponse({"detail": "the store can't serve now"}, status, headers={"Retry-After": "1"})
    return AsciiJSONResponse({"detail": str(error)}, status)


for kind in STATUS_OF:
    app.add_exception_handler(kind, refuse)


async def get_store(request: Request) -> Store:
    """Return the app's store. Tests override this, say with a `MemoryStore`."""
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
    """Let a request pass that brings the room's host token."""
    if not room.verify_host_token(x_host_token):
        raise HTTPException(403, "this needs the host token, in the header X-Host-Token")


class Body(BaseModel):
    """What a request brings: JSON in camelCase, and only the fields that are asked for."""

    model_config = ConfigDict(alias_generator=to_camel, extra="forbid")


class NewRoom(Body):
    """A room to create, under a code of its own or one that the host likes."""

    host_name: str
    room_id: str = Field(default_factory=lambda: token_hex(4))


class NewUser(Body):
    """A guest to let in."""

    name: str


class NewHost(Body):
    """The user who takes over."""

    user_id: str


class NewVideo(Body):
    """A video to watch."""

    url: str
    type: str = "youtube"


class NewMessage(Body):
    """What a user says. A client that tries again sends the same id, and the message is kept once."""

    user_id: str
    message: str
    id: str = Field(default_factory=lambda: str(uuid4()))


@app.get("/healthz")
async def health(store: AnyStore) -> Json:
    """Tell whether the store can serve."""
    await store.ping()
    return {"status": "ok"}


@app.post("/rooms", status_code=201)
async def create_room(new: NewRoom, store: AnyStore) -> Json:
    """Create a room. No other answer ever holds the host token."""
    room = Room.hosted_by(User(id=str(uuid4()), name=new.host_name), room_id=new.room_id)
    await store.rooms.create_room(room)
    return {"roomId": room.id, "userId": room.host_id, "hostToken": room.host_token}


@app.get("/rooms/{room_id}")
async def read_room(room: Annotated[Room, Depends(get_room)]) -> Json:
    """Show a room to its guests."""
    return room.to_public_json()


@app.post("/rooms/{room_id}/users", status_code=201)
async def join(room_id: str, new: NewUser, store: AnyStore) -> Json:
    """Let a guest in."""
    user = User(id=str(uuid4()), name=new.name)
    room = await store.rooms.add_user_to_room(room_id, user)
    return {"userId": user.id, "room": room.to_public_json()}


@app.delete("/rooms/{room_id}/users/{user_id}")
async def leave(room_id: str, user_id: str, store: AnyStore) -> Json:
    """Let a user go; the room is null when that was the last one."""
    room = await store.rooms.remove_user_from_room(room_id, user_id)
    return {"room": room and room.to_public_json()}


@app.post("/rooms/{room_id}/host", dependencies=[Depends(only_the_host)])
async def transfer_host(room_id: str, new: NewHost, store: AnyStore) -> Json:
    """Make another user the host."""
    return (await store.rooms.transfer_host(room_id, new.user_id)).to_public_json()


@app.put("/rooms/{room_id}/video", dependencies=[Depends(only_the_host)])
async def choose_video(room_id: str, new: NewVideo, store: AnyStore) -> Json:
    """Choose a video: it is paused, at its start."""
    return (await store.rooms.set_video_url(room_id, new.url, new.type)).to_public_json()


@app.put("/rooms/{room_id}/video/state", dependencies=[Depends(only_the_host)])
async def update_video_state(room_id: str, state: VideoState, store: AnyStore) -> Json:
    """Tell where the host's player is; as of now, unless the host says since when."""
    return (await store.rooms.update_video_state(room_id, state)).to_public_json()


@app.post("/rooms/{room_id}/messages", status_code=201)
async def say(room: Annotated[Room, Depends(get_room)], new: NewMessage, store: AnyStore) -> Json:
    """Add what a user of the room says to its chat."""
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
    """Show the last messages, oldest first."""
    return [message.to_json() for message in await store.chat.get_messages(room.id, limit)]
