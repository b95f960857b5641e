"""Models of the JSON messages that the page sends."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter

REACTIONS = {"👍": "Thumbs up", "❤️": "Heart", "😂": "Laughing", "😮": "Surprised", "😢": "Sad", "🎉": "Celebrating"}
"""The emojis with which a guest can react to a message, and their names for screen readers."""


def _is_reaction(emoji: str) -> str:
    if emoji not in REACTIONS:
        raise ValueError("the emoji must be one of the reactions")
    return emoji


MessageId = Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
Seconds = Annotated[float, Field(ge=0, le=1_000_000, allow_inf_nan=False)]


class _Message(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class Hello(_Message):
    """The first message: the guest's name and the room. The key is the guest's secret, 128 random bits.

    "create" without a room creates one with a random code.
    """

    type: Literal["create", "join"]
    name: str = Field(max_length=1000)
    key: str = Field(pattern=r"^[0-9a-f]{32}$", repr=False)
    room: str = ""


class Say(_Message):
    """A chat message. The store keeps one message for each id, so the page can resend it."""

    type: Literal["say"]
    id: MessageId
    text: str = Field(min_length=1, max_length=2000)


class React(_Message):
    """A reaction to a message, which is added or withdrawn."""

    type: Literal["react"]
    id: str = Field(max_length=128)
    emoji: Annotated[str, AfterValidator(_is_reaction)]
    on: bool


class Delete(_Message):
    """The deletion of a message of this guest."""

    type: Literal["delete"]
    id: str = Field(max_length=128)


class Typing(_Message):
    """The guest is writing a message. The page repeats it while the guest writes."""

    type: Literal["typing"]


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


Request = Say | React | Delete | Typing | Play | Watch | Leave | Close | Ping
REQUEST: TypeAdapter[Request] = TypeAdapter(Annotated[Request, Field(discriminator="type")])
