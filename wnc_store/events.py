"""Events of rooms, and the contract of publishing and subscribing.

Events are frozen records: snake_case attributes, camelCase JSON with a `type`. No event contains a host token.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from collections.abc import Set as AbstractSet
from contextlib import AbstractAsyncContextManager
from typing import Annotated, Any, Literal, Protocol, Self, cast

from pydantic import BeforeValidator, Field, ModelWrapValidatorHandler, model_validator

from wnc_store.records.frozen import freeze
from wnc_store.records.models import ChatMessage, User, VideoState, split_include
from wnc_store.records.record import Record, keep_extra_fields


class RoomEvent(Record):
    """Base class of all events.

    Attributes:
        room_id: Id of the room.
        rev: Revision of the room after this event. Skip the event if the room you read has an equal or higher `rev`.
            None if the event is not ordered by a revision.
    """

    room_id: str
    rev: int | None = Field(default=None, ge=0, strict=True, exclude_if=lambda rev: rev is None)

    def to_public(self, *, include: AbstractSet[str] = frozenset()) -> Self:
        """Return the event for guests: without the extra fields of its user and its video state.

        Chat messages, with all their extra fields, and the values of `AppEvent` are returned unchanged.

        Args:
            include: See `Room.to_public`.

        Raises:
            TypeError, ValueError: See `Room.to_public`.
        """
        included = split_include(include)
        changes: dict[str, Record] = {}
        for name, member in self.__dict__.items():
            if isinstance(member, User):
                changes[name] = keep_extra_fields(member, included.users)
            elif isinstance(member, VideoState):
                changes[name] = keep_extra_fields(member, included.video_state)
        return self.model_copy(update=changes)

    @model_validator(mode="wrap")
    @classmethod
    def _dispatch_on_type(cls, value: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        """Validate a `RoomEvent` as the subclass that `type` names."""
        if cls is not RoomEvent:
            return handler(value)
        name = cast("dict[str, object]", value).get("type") if isinstance(value, dict) else None
        kind = _KINDS.get(name) if isinstance(name, str) else None
        if kind is None:
            raise ValueError(f"type must be one of {', '.join(_KINDS)}")
        return cast("Self", kind.model_validate(value, by_alias=True, by_name=False))


class UserJoined(RoomEvent):
    """A user was appended to the users. A user with the same id was removed first (a rejoin)."""

    type: Literal["userJoined"] = "userJoined"
    user: User


class UserLeft(RoomEvent):
    """A user left. If the user was the host, `HostChanged` follows."""

    type: Literal["userLeft"] = "userLeft"
    user: User


class HostChanged(RoomEvent):
    """Another user became host. The previous host is no longer host."""

    type: Literal["hostChanged"] = "hostChanged"
    host_id: str
    host_name: str


class VideoStateChanged(RoomEvent):
    """The playback state or the position of the video changed."""

    type: Literal["videoStateChanged"] = "videoStateChanged"
    video_state: VideoState


class VideoSet(RoomEvent):
    """The video changed."""

    type: Literal["videoSet"] = "videoSet"
    video_url: str | None
    video_type: str | None
    video_state: VideoState


class RoomChanged(RoomEvent):
    """The room was created, or changed in a way that no other event describes. Read the room."""

    type: Literal["roomChanged"] = "roomChanged"


class RoomClosed(RoomEvent):
    """The room and its chat were deleted. A new room may already have this id: read the room."""

    type: Literal["roomClosed"] = "roomClosed"


class MessageAdded(RoomEvent):
    """A chat message was added. Skip the event if a message with this id was already read."""

    type: Literal["messageAdded"] = "messageAdded"
    message: ChatMessage


class MessageChanged(RoomEvent):
    """A chat message was edited. Replace the message with this id. Skip the event if you do not have one."""

    type: Literal["messageChanged"] = "messageChanged"
    message: ChatMessage


class MessageRemoved(RoomEvent):
    """A chat message was removed. A later `MessageAdded` may add it again."""

    type: Literal["messageRemoved"] = "messageRemoved"
    message_id: str


class MessagesCleared(RoomEvent):
    """All chat messages of the room were deleted."""

    type: Literal["messagesCleared"] = "messagesCleared"


class AppEvent(RoomEvent):
    """An event defined by the app.

    Attributes:
        name: Name of the event.
        value: Any JSON value, frozen. Excluded from the repr.
    """

    type: Literal["appEvent"] = "appEvent"
    name: str
    value: Annotated[Any, BeforeValidator(freeze)] = Field(default=None, repr=False)


class Resync(RoomEvent):
    """Events were lost at this position or could not be sent. Read the room and its chat."""

    type: Literal["resync"] = "resync"


# Subclasses that an app defines later are not included.
_KINDS = {kind.model_fields["type"].default: kind for kind in RoomEvent.__subclasses__()}


class RoomEvents(Protocol):
    """Events of rooms, delivered to the current subscribers. Events are not stored.

    - **Delivery**: a subscriber receives each event of its room that any client, including this one, publishes after
      the subscriber entered its `async with` block, at most once. New subscribers do not receive events published
      before they subscribed. The room does not have to exist.
    - **Order**: events of one publisher arrive in the order of its calls. Changes of a room arrive in the order of
      `rev`.
    - **Gaps**: every gap produces one `Resync` at its position. A gap occurs if `events_queue_size` events are waiting
      for a slow subscriber, or if the connection to the server was lost.
    - **Changes of this store**: if `publish_changes` is on, the store publishes its own changes in the step that
      commits them. A new room produces `RoomChanged` without a `rev`. A change of a room produces at least one event
      with its `rev`. A deletion, also by the removal of the last user, produces `RoomClosed`. If the room waits for
      users instead (`empty_room_ttl`), the removal produces `UserLeft` and `RoomChanged`, and the next join
      `UserJoined`, `HostChanged` if the host is another one, and `RoomChanged`. A new message produces
      `MessageAdded`, an edited one `MessageChanged`, a removed one `MessageRemoved`, and clearing the messages
      `MessagesCleared`. Restoring a room produces `Resync`; so does an event larger than `max_event_bytes`. Calls
      that change nothing, sweeps and expired TTLs publish nothing.
    - **Changes of other clients**: if `notify_external_changes` is on and the server sends notifications, a change by a
      client that publishes no events produces `RoomChanged` without a `rev`. A deletion or an expired TTL produces
      `RoomClosed`. On a cluster, a deletion produces `Resync`, because a room that moves to another server looks
      deleted.
    """

    async def publish(self, room_id: str, event: RoomEvent) -> None:
        """Publish an event to the room's current subscribers.

        Raises:
            TypeError: `event` is not a `RoomEvent`.
            ValueError: `event.room_id` differs from `room_id`, or the event contains a value that JSON can't represent.
            LimitExceededError: The event is larger than `max_event_bytes`.
        """
        ...

    def subscribe(self, room_id: str) -> AbstractAsyncContextManager[AsyncIterator[RoomEvent]]:
        """Subscribe to a room: `async with store.events.subscribe(room_id) as events: async for event in events: ...`.

        To miss nothing, subscribe first, then read the room and its chat.

        The iterator ends when the `async with` block does. A cancelled `__anext__` loses no event; it can be called
        again. An invalid event from another publisher is skipped and logged once. Errors are raised on entering the
        `async with` block and by the iterator.

        Raises:
            StoreClosedError: The store is closed, or was closed while the iterator waited.
        """
        ...
