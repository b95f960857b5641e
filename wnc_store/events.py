"""What happened in a room, and the law of telling it.

Events are frozen records: snake_case attributes, camelCase JSON with a `type`. None has a place for a host token.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from typing import Annotated, Any, Literal, Protocol, Self, cast

from pydantic import BeforeValidator, Field, ModelWrapValidatorHandler, model_validator

from wnc_store.records.frozen import freeze
from wnc_store.records.models import ChatMessage, Record, User, VideoState


def _is_none(value: object) -> bool:
    return value is None


class RoomEvent(Record):
    """What all events share.

    Attributes:
        room_id: the room.
        rev: the room's revision by this event: a room that was read with this `rev` or a higher one holds it already.
            None where no revision tells that.
    """

    room_id: str
    rev: int | None = Field(default=None, ge=0, strict=True, exclude_if=_is_none)

    @model_validator(mode="wrap")
    @classmethod
    def _of_its_type(cls, value: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        """Read a `RoomEvent` as the event that its `type` names."""
        if cls is not RoomEvent:
            return handler(value)
        name = cast("dict[str, object]", value).get("type") if isinstance(value, dict) else None
        kind = _KINDS.get(name) if isinstance(name, str) else None
        if kind is None:
            message = "the type of this event is not known"
            raise ValueError(message)
        return cast("Self", kind.model_validate(value, by_alias=True, by_name=False))


class UserJoined(RoomEvent):
    """A user came to the end of the room's users; one of the same id went first (a rejoin)."""

    type: Literal["userJoined"] = "userJoined"
    user: User


class UserLeft(RoomEvent):
    """A user left, and was this. If it was the host, `HostChanged` follows."""

    type: Literal["userLeft"] = "userLeft"
    user: User


class HostChanged(RoomEvent):
    """A user is host; the host until now is none any more."""

    type: Literal["hostChanged"] = "hostChanged"
    host_id: str
    host_name: str


class VideoStateChanged(RoomEvent):
    """The video plays, pauses or is elsewhere."""

    type: Literal["videoStateChanged"] = "videoStateChanged"
    video_state: VideoState


class VideoSet(RoomEvent):
    """Another video was chosen."""

    type: Literal["videoSet"] = "videoSet"
    video_url: str | None
    video_type: str | None
    video_state: VideoState


class RoomChanged(RoomEvent):
    """The room is new, or changed in a way that no other event tells: read it."""

    type: Literal["roomChanged"] = "roomChanged"


class RoomClosed(RoomEvent):
    """The room was deleted, with its chat. The id may be in use again by now: read the room."""

    type: Literal["roomClosed"] = "roomClosed"


class MessageAdded(RoomEvent):
    """A chat message was added; its id tells it from the ones that were read."""

    type: Literal["messageAdded"] = "messageAdded"
    message: ChatMessage


class AppEvent(RoomEvent):
    """An event of the app's own.

    Attributes:
        name: what happened.
        value: any JSON, frozen. In no repr.
    """

    type: Literal["appEvent"] = "appEvent"
    name: str
    value: Annotated[Any, BeforeValidator(freeze)] = Field(default=None, repr=False)


class Resync(RoomEvent):
    """Events are missing here, or can't be told: read the room and its chat."""

    type: Literal["resync"] = "resync"


_KINDS: dict[str, type[RoomEvent]] = {
    kind.model_fields["type"].default: kind
    for kind in (
        UserJoined,
        UserLeft,
        HostChanged,
        VideoStateChanged,
        VideoSet,
        RoomChanged,
        RoomClosed,
        MessageAdded,
        AppEvent,
        Resync,
    )
}


class RoomEvents(Protocol):
    """Events of rooms, for whoever listens at the time: nothing is kept.

    - A subscription gets every event of its room that is published after its `async with` was entered, by any client
      (this one included), at most once each, and none from before. The room need not live.
    - Events of one publisher come in the order of its calls; changes of a room, in the order of their `rev`.
    - Where events are lost, one `Resync` stands in their place: a reader that is slow (`events_queue_size` events wait
      for it), a connection that was away. Never is anything lost without it.
    - With the setting `publish_changes`, the store publishes its own changes in the step that commits them: each commit
      of a room at least one event with its `rev`, each new message `MessageAdded`; a new room `RoomChanged` without a
      `rev`; a deletion, or the last one's leaving, `RoomClosed`; cleared messages, a room that is restored, and
      whatever is larger than `max_event_bytes`, `Resync`. What changes nothing publishes nothing; nor do sweeps, or the
      end of a TTL.
    - With `notify_external_changes`, and a server that tells of them, a change by a writer that publishes nothing is a
      `RoomChanged` without a `rev`, and a deletion, or the end of a TTL, a `RoomClosed`.
    """

    async def publish(self, room_id: str, event: RoomEvent) -> None:
        """Tell an event to all who listen to the room now.

        Raises:
            TypeError: it is no event.
            ValueError: it is another room's, or holds what JSON can't.
            LimitExceededError: it has more than `max_event_bytes`.
        """
        ...

    def subscribe(self, room_id: str) -> AbstractAsyncContextManager[AsyncIterator[RoomEvent]]:
        """Listen to a room: `async with store.events.subscribe(room_id) as events: async for event in events: ...`.

        To miss nothing, subscribe first, then read the room and its chat. What can't be read of what others publish is
        left out and logged once. The iterator ends when the `async with` does; it may be asked again after a call to it
        was cancelled. Errors come on entering, and from the iterator:

        Raises:
            StoreClosedError: the store was closed; also while a reader waits.
        """
        ...
