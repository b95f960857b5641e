"""What the page may send, as JSON: one model for each kind of message."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

Seconds = Annotated[float, Field(ge=0, le=1_000_000, allow_inf_nan=False)]


class _Message(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class Hello(_Message):
    """The first message: who comes, and to which room. The key is the guest's secret, of 128 random bits."""

    type: Literal["create", "join"]
    name: str = Field(max_length=1000)
    key: str = Field(pattern=r"^[0-9a-f]{32}$", repr=False)
    room: str = ""


class Say(_Message):
    """A chat message. Sent again with the same id, it is there once."""

    type: Literal["say"]
    id: str = Field(pattern=r"^[0-9a-f]{32}$")
    text: str = Field(min_length=1, max_length=2000)


class Play(_Message):
    """What the host changes about the video: whether it plays, where it is, how long it is. What is left out stays."""

    type: Literal["play"]
    playing: bool | None = None
    position: Seconds | None = None
    duration: Seconds | None = None


class Watch(_Message):
    """Another video."""

    type: Literal["watch"]
    url: str = Field(max_length=2000)


class Leave(_Message):
    """The guest goes, and does not want to come back."""

    type: Literal["leave"]


class Close(_Message):
    """The host ends the party for all."""

    type: Literal["close"]


class Ping(_Message):
    """What time is it? Answered with the server's clock, and with what the page sent."""

    type: Literal["ping"]
    sent: float


Request = Say | Play | Watch | Leave | Close | Ping
REQUEST: TypeAdapter[Request] = TypeAdapter(Annotated[Request, Field(discriminator="type")])
