"""Models of the records that the Node app stores, and the room that guests may see.

All models are frozen. Use `replace` to change declared fields and `with_extra` to add extra fields; both return a copy.
Attributes are snake_case, JSON is camelCase. Extra fields, which the models do not declare, are kept in `model_extra`
and written back unchanged.
"""

from __future__ import annotations

import functools
import hmac
import operator
import time
import uuid
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from datetime import UTC, datetime
from typing import Annotated, Any, NamedTuple, Self, TypedDict, Unpack, cast

from pydantic import (
    AfterValidator,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    StrictBool,
    model_serializer,
    model_validator,
)
from pydantic_core import PydanticSerializationError

from wnc_store.records.fields import wire_fields
from wnc_store.records.js_types import Date, Number, Timestamp
from wnc_store.records.record import Record, construct_copy, intern_fields_set, keep_extra_fields, replace_fields
from wnc_store.records.secret import masked, new_host_token


def _utc_now() -> datetime:
    return datetime.now(UTC)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


class UserChanges(TypedDict, total=False):
    """Arguments of `User.replace`."""

    id: str
    name: str
    is_host: bool
    joined_at: datetime


class User(Record):
    """A user in a room.

    Attributes:
        id: Id, unique in the room.
        name: Display name.
        is_host: Whether the user is a host. Several users can be; only `Room.host_id` is replaced when its user leaves.
        joined_at: Time of joining. Aware, UTC, in whole milliseconds.
    """

    id: str
    name: str
    is_host: StrictBool = False
    joined_at: Date = Field(default_factory=_utc_now, validate_default=True)

    __slots__ = ("_json",)  # cache of `wnc_store.records.encode`; not a field, and not copied

    def replace(self, **changes: Unpack[UserChanges]) -> Self:
        """Return a copy with other values of declared fields. See `Room.replace`."""
        return replace_fields(self, cast("dict[str, Any]", changes))


class VideoStateChanges(TypedDict, total=False):
    """Arguments of `VideoState.replace`."""

    is_playing: bool
    current_time: float
    duration: float
    last_update_time: float


class VideoState(Record):
    """Playback state of the video of a room.

    Attributes:
        is_playing: Whether the video is playing.
        current_time: Position in seconds at `last_update_time`.
        duration: Length in seconds. 0 while it is unknown.
        last_update_time: Time of the state in milliseconds since the epoch.
    """

    is_playing: StrictBool = False
    current_time: Number = 0
    duration: Number = 0
    last_update_time: Number = Field(default_factory=_now_ms)

    __slots__ = ("_json",)  # as in `User`

    def replace(self, **changes: Unpack[VideoStateChanges]) -> Self:
        """Return a copy with other values of declared fields. See `Room.replace`."""
        return replace_fields(self, cast("dict[str, Any]", changes))


class PublicRoom(Record):
    """The part of a room that guests may see, as `Room.to_public` returns it: without the host token.

    Web frameworks can use this model as the type of a response. Validation drops all extra fields, so that such a
    response does not contain a host token or another private field by mistake. A `Room` in its place, which was not
    validated, is not serialized. To declare the type of an extra field, derive a model with this field.

    Attributes:
        id: Id that guests enter to join.
        host_id: Id of the host.
        host_name: Name of the host.
        video_url: URL of the video. None if no video is set.
        video_type: Type of the video. None if no video is set.
        video_state: Playback state.
        users: Users in the order of joining.
        created_at: Time of creation. Aware, UTC, in whole milliseconds.
        rev: Revision. 0 if this library never wrote the room.
    """

    model_config = ConfigDict(from_attributes=True)

    id: str
    host_id: str
    host_name: str
    video_url: str | None
    video_type: str | None
    video_state: Annotated[VideoState, AfterValidator(keep_extra_fields)]
    users: tuple[Annotated[User, AfterValidator(keep_extra_fields)], ...]
    created_at: Date
    rev: int = 0

    @model_validator(mode="before")
    @classmethod
    def _drop_extra_fields(cls, value: Any) -> Any:
        if not isinstance(value, Mapping):
            return value
        members, declared = cast("Mapping[str, Any]", value), _declared_names(cls)
        return {name: member for name, member in members.items() if name in declared}

    @model_serializer(mode="wrap")
    def _refuse_other_values(self, handler: SerializerFunctionWrapHandler):  # noqa: ANN202 - it would be the JSON schema
        """Keep private extra fields of a `Room` out of a response that was declared, and not validated, as public."""
        if isinstance(cast("object", self), PublicRoom):
            return handler(self)
        message = f"expected a PublicRoom, got a {type(self).__name__}: use to_public() for guests"
        raise PydanticSerializationError(message)


class RoomChanges(TypedDict, total=False):
    """Arguments of `Room.replace`."""

    id: str
    host_id: str
    host_name: str
    host_token: str | None
    video_url: str | None
    video_type: str | None
    video_state: VideoState
    users: tuple[User, ...]
    created_at: datetime
    rev: int


class Room(Record):
    """A watch party.

    Attributes:
        id: Id that guests enter to join.
        host_id: Id of the host.
        host_name: Name of the host.
        host_token: Secret that authenticates the host. Excluded from the repr and from `to_public`, and with a masked
            repr itself.
        video_url: URL of the video. None if no video is set.
        video_type: Type of the video, for example "youtube" or "m3u8". None if no video is set.
        video_state: Playback state.
        users: Users in the order of joining.
        created_at: Time of creation. Aware, UTC, in whole milliseconds.
        rev: Revision. Each write by this library increments it; the Node app does not. 0 if this library never wrote
            the room.
    """

    id: str
    host_id: str
    host_name: str
    host_token: Annotated[str | None, AfterValidator(masked)] = Field(
        default=None, repr=False, exclude_if=functools.partial(operator.is_, None)
    )
    video_url: str | None = None
    video_type: str | None = None
    video_state: VideoState = Field(default_factory=VideoState)
    users: tuple[User, ...] = ()
    created_at: Date = Field(default_factory=_utc_now, validate_default=True)
    rev: int = Field(default=0, ge=0, strict=True, exclude_if=operator.not_)

    # Caches of `wnc_store.rules` and `wnc_store.records.encode`; not fields, and not copied.
    __slots__ = ("_frame", "_max_bytes", "_users_by_id")

    @classmethod
    def hosted_by(cls, host: User, *, room_id: str) -> Room:
        """Return a new room with `host` as its host and only user, and a random host token."""
        host = host.model_copy(update={"is_host": True})
        return cls(id=room_id, host_id=host.id, host_name=host.name, host_token=new_host_token(), users=(host,))

    def user(self, user_id: str) -> User | None:
        """Return the user with this id, or None."""
        for user in self.users:
            if user.id == user_id:
                return user
        return None

    def to_public(self, *, include: AbstractSet[str] = frozenset()) -> PublicRoom:
        """Return the room for guests: the declared fields without the host token.

        Args:
            include: Names of the extra fields to add: `"settings"` for a field of the room, `"users.color"` for a
                field of its users, `"videoState.rate"` for a field of the video state.

        Raises:
            TypeError: `include` is a string.
            ValueError: A name is that of a declared field.
        """
        included = split_include(include)
        values = {name: self.__dict__[name] for name in PublicRoom.model_fields}
        values["video_state"] = keep_extra_fields(self.video_state, included.video_state)
        values["users"] = tuple([keep_extra_fields(user, included.users) for user in self.users])
        extra = {name: member for name, member in (self.__pydantic_extra__ or {}).items() if name in included.room}
        return construct_copy(PublicRoom.__new__(PublicRoom), values, extra, intern_fields_set(frozenset(values)))

    def replace(self, **changes: Unpack[RoomChanges]) -> Self:
        """Return a copy with other values of declared fields.

        Raises:
            TypeError: A name is not a declared field.
            ValidationError: A value is invalid. This is a `ValueError`.
        """
        return replace_fields(self, cast("dict[str, Any]", changes))

    def verify_host_token(self, candidate: str | None) -> bool:
        """Return whether `candidate` is the host token, in constant time. False for a room without a host token."""
        if not self.host_token or not candidate:
            return False
        # compare_digest accepts only bytes and ASCII strings. JavaScript strings may contain lone surrogates.
        return hmac.compare_digest(
            self.host_token.encode("utf-8", "surrogatepass"), candidate.encode("utf-8", "surrogatepass")
        )

    @model_serializer(mode="plain")
    def _refuse_serialization(self) -> dict[str, Any]:
        """Keep the host token and private extra fields out of responses, logs and dumps of models."""
        raise PydanticSerializationError(
            "a Room is not serialized, because it contains the host token: use to_public() for guests, or to_json() or "
            "to_wire() to include the token"
        )


class ChatMessageChanges(TypedDict, total=False):
    """Arguments of `ChatMessage.replace`."""

    id: str
    room_id: str
    user_id: str
    user_name: str
    message: str
    timestamp: float


class ChatMessage(Record):
    """A chat message. Guests receive it with all its extra fields.

    Attributes:
        id: Id, unique in the room. Adding a message with a stored id changes nothing.
        room_id: Id of the room.
        user_id: Id of the author.
        user_name: Name of the author at the time of writing.
        message: Text. Excluded from the repr.
        timestamp: Time of writing in milliseconds since the epoch.
    """

    id: str = Field(default_factory=lambda: str(uuid.uuid4()))
    room_id: str
    user_id: str
    user_name: str
    message: str = Field(repr=False)
    timestamp: Timestamp = Field(default_factory=_now_ms)

    def replace(self, **changes: Unpack[ChatMessageChanges]) -> Self:
        """Return a copy with other values of declared fields. See `Room.replace`."""
        return replace_fields(self, cast("dict[str, Any]", changes))


class Included(NamedTuple):
    """Names of the extra fields that guests may see."""

    room: frozenset[str]
    users: frozenset[str]
    video_state: frozenset[str]


def split_include(include: AbstractSet[str]) -> Included:
    """Return the names in the argument `include` of `Room.to_public` by the record that has the fields.

    Raises:
        TypeError: `include` is a string.
        ValueError: A name is that of a declared field.
    """
    if isinstance(include, str):
        raise TypeError("include must be a set of names, got a string")
    return _split_include(frozenset(include))


@functools.lru_cache(maxsize=256)
def _split_include(include: frozenset[str]) -> Included:
    names: dict[type[Record], set[str]] = {Room: set(), User: set(), VideoState: set()}
    for path in include:
        prefix, dot, rest = path.partition(".")
        kind = {"users.": User, "videoState.": VideoState}.get(prefix + dot, Room)
        name = path if kind is Room else rest
        if name in _declared_names(kind):
            message = f"include must name extra fields only, got {path!r}, which is a declared field of {kind.__name__}"
            raise ValueError(message)
        names[kind].add(name)
    return Included(*map(frozenset, names.values()))


@functools.cache
def _declared_names(kind: type[Record]) -> frozenset[str]:
    """Return the names of the attributes of a record, and their names in JSON."""
    return frozenset(name for field in wire_fields(kind) for name in (field.name, field.key))
