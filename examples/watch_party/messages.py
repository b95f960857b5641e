"""Models of the JSON messages that the page sends."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

Seconds = Annotated[float, Field(ge=0, le=1_000_000, allow_inf_nan=False)]


class _Message(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class Hello(_Message):
    """The first message: the guest's name and the room. The key is the guest's secret, 128 random bits."""

    type: Literal["create", "join"]
    name: str = Field(max_length=1000)
    key: str = Field(pattern=r"^[0-9a-f]{32}$", repr=False)
    room: str = ""


class Say(_Message):
    """A chat message. The store keeps one message for each id, so the page can resend it."""

    type: Literal["say"]
    id: str = Field(pattern=r"^[0-9a-f]{32}$")
    text: str = Field(min_length=1, max_length=2000)


class Play(_Message):
    """A change of the playback by the host. Fields that are omitted stay unchanged."""

    type: Literal["play"]
    playing: bool | None = None
    position: Seconds | None = None
    duration: Seconds | None = None


class Watch(_Message):
    """A new video, chosen by the host."""

    type: Literal["watch"]
    url: str = Field(max_length=2000)


class Leave(_Message):
    """The guest leaves the room for good."""

    type: Literal["leave"]


class Close(_Message):
    """The host ends the party for everyone."""

    type: Literal["close"]


class Ping(_Message):
    """A request for the server's time. The reply repeats `sent`."""

    type: Literal["ping"]
    sent: float


Request = Say | Play | Watch | Leave | Close | Ping
REQUEST: TypeAdapter[Request] = TypeAdapter(Annotated[Request, Field(discriminator="type")])
