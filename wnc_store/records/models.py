"""Models of the records that the Node app stores.

All models are frozen. Use `model_copy(update={...})` to change one. Attributes are snake_case, JSON is camelCase. Extra
fields, which the models do not declare, are kept in `model_extra` and written back unchanged.
"""

from __future__ import annotations

import functools
import hmac
import operator
import time
import uuid
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, Self, TypeVar, cast

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    StrictBool,
    ValidationError,
)
from pydantic.alias_generators import to_camel

from wnc_store.records.fields import wire_fields
from wnc_store.records.frozen import FrozenDict, freeze, json_depth
from wnc_store.records.js_types import Date, Number, Timestamp
from wnc_store.records.secret import Secret, masked


def _utc_now() -> datetime:
    return datetime.now(UTC)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


_set = object.__setattr__
RecordT = TypeVar("RecordT", bound="Record")


class Record(BaseModel):
    """Base class of all records: frozen, with camelCase JSON and extra fields."""

    model_config = ConfigDict(
        frozen=True,
        extra="allow",
        alias_generator=to_camel,
        validate_by_name=True,
        validate_by_alias=True,
        serialize_by_alias=True,
        hide_input_in_errors=True,
    )
    if not TYPE_CHECKING:  # type checkers would add it to the arguments of the constructors, and accept assignments
        __pydantic_extra__: dict[str, Annotated[Any, BeforeValidator(freeze)]]

        def __setattr__(self, name: str, value: object) -> None:
            """Reject an assignment, without the value in the error or in a local variable, as it may be secret."""
            if name.startswith("_"):
                super().__setattr__(name, value)
                return
            del value
            frozen = {"type": "frozen_instance", "loc": (name,), "input": None}
            raise ValidationError.from_exception_data(type(self).__name__, [frozen], hide_input=True)

    @property
    def model_extra(self) -> FrozenDict:
        """The extra fields by their JSON names, as an immutable dict."""
        return FrozenDict(self.__pydantic_extra__ or {})

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """Return a copy, as pydantic does. Extra fields in `update` are frozen."""
        known = self.__pydantic_fields__
        changes = update or {}
        if deep or self.__pydantic_private__ is not None:
            frozen = {name: value if name in known else freeze(value) for name, value in changes.items()}
            return super().model_copy(update=frozen, deep=deep)
        values, extra = {**self.__dict__}, {**(self.__pydantic_extra__ or {})}
        for name in changes:
            if name in known:
                values[name] = changes[name]
            else:
                extra[name] = freeze(changes[name])
        fields_set = self.__pydantic_fields_set__
        if not fields_set.issuperset(changes):
            fields_set = intern_fields_set(frozenset(fields_set.union(changes)))
        return construct_copy(self, values, extra, fields_set)

    def with_extra(self, fields: Mapping[str, Any]) -> Self:
        """Return a copy with additional extra fields. Names are JSON names and never refer to declared fields."""
        copied = self.model_copy()
        _set(copied, "__pydantic_extra__", {**(self.__pydantic_extra__ or {}), **fields})
        return copied

    def to_json(self) -> dict[str, JsonValue]:
        """Return the record as JSON values in camelCase, as it is stored, including the host token.

        Unlike pydantic's JSON mode, this method supports lone surrogates in the names of extra fields.
        """
        value: dict[str, Any] = {}
        for field in wire_fields(type(self)):
            member = getattr(self, field.name)
            if field.exclude_if is None or not field.exclude_if(member):
                value[field.key] = _json(member) if field.serialize is None else field.serialize(member)
        return {**value, **(self.__pydantic_extra__ or {})}

    def __repr_args__(self) -> Iterable[tuple[str | None, Any]]:
        """Exclude the extra fields, because their values may be private.

        A traceback may contain a record whose validation has failed, whose attributes are not set yet.
        """
        extra: dict[str, Any] = getattr(self, "__pydantic_extra__", None) or {}
        return [(name, value) for name, value in super().__repr_args__() if name not in extra]


@functools.lru_cache(maxsize=256)
def intern_fields_set(names: frozenset[str]) -> set[str]:
    """Return a shared set of field names. A separate set would take as much memory as the rest of a record."""
    return set(names)


def construct_copy(record: RecordT, values: dict[str, Any], extra: dict[str, Any], fields_set: set[str]) -> RecordT:
    """Return a record of the same class that owns the given dicts and set. Faster than `model_copy` of pydantic."""
    copied = object.__new__(type(record))
    _set(copied, "__dict__", values)
    _set(copied, "__pydantic_extra__", extra)
    _set(copied, "__pydantic_fields_set__", fields_set)
    _set(copied, "__pydantic_private__", None)
    return copied


def max_depth(record: Record) -> int:
    """Return how deep the values of a record that may be any JSON are nested: its extra fields, and those within it."""
    deepest, members = 0, list[object]((record,))
    while members:
        member = members.pop()
        if not isinstance(member, (dict, list, tuple, Record)):  # first, because most members are scalar values
            continue
        if isinstance(member, (dict, list)):
            deepest = max(deepest, json_depth(cast("object", member)))
        elif isinstance(member, tuple):
            members += cast("tuple[object, ...]", member)
        else:
            members += [*member.__dict__.values(), *(member.__pydantic_extra__ or {}).values()]
    return deepest


def _json(member: object) -> object:
    if isinstance(member, Record):
        return member.to_json()
    if isinstance(member, tuple):
        return [_json(item) for item in cast("tuple[object, ...]", member)]
    return str(member) if isinstance(member, Secret) else member  # some JSON libraries refuse subclasses of str


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


class Room(Record):
    """A watch party.

    Attributes:
        id: Id that guests enter to join.
        host_id: Id of the host.
        host_name: Name of the host.
        host_token: Secret that authenticates the host. Excluded from the repr and from `to_public_json`, and with a
            masked repr itself.
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

    __slots__ = ("_max_bytes", "_user_ids")  # caches of `wnc_store.rules`; not fields, and not copied

    @classmethod
    def hosted_by(cls, host: User, *, room_id: str) -> Room:
        """Return a new room with `host` as its host and only user, and a random host token."""
        host = host.model_copy(update={"is_host": True})
        return cls(id=room_id, host_id=host.id, host_name=host.name, host_token=Secret(uuid.uuid4()), users=(host,))

    def user(self, user_id: str) -> User | None:
        """Return the user with this id, or None."""
        for user in self.users:
            if user.id == user_id:
                return user
        return None

    def to_public_json(self) -> dict[str, JsonValue]:
        """Return the room as JSON values for guests: with extra fields, without the host token."""
        return {key: member for key, member in self.to_json().items() if key not in {"hostToken", "host_token"}}

    def verify_host_token(self, candidate: str | None) -> bool:
        """Return whether `candidate` is the host token, in constant time. False if the room has no host token."""
        if not self.host_token or not candidate:
            return False
        # compare_digest accepts only bytes and ASCII strings. JavaScript strings may contain lone surrogates.
        return hmac.compare_digest(
            self.host_token.encode("utf-8", "surrogatepass"), candidate.encode("utf-8", "surrogatepass")
        )


class ChatMessage(Record):
    """A chat message.

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
