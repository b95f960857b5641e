"""The records of a watch party, as the Node app stores them.

All models are frozen; change one with `model_copy(update={...})`. Attributes are snake_case, JSON is camelCase. Fields
that are not declared here are kept, frozen (`model_extra`), and written back unchanged.
"""

from __future__ import annotations

import functools
import hmac
import time
import uuid
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, Self, TypeVar, cast

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, JsonValue, StrictBool
from pydantic.alias_generators import to_camel

from wnc_store.records.fields import wire_fields
from wnc_store.records.frozen import FrozenDict, freeze
from wnc_store.records.js_types import Date, Number, Timestamp


def _is_none(value: object) -> bool:
    return value is None


def _is_zero(value: int) -> bool:
    return value == 0


def _utc_now() -> datetime:
    return datetime.now(UTC)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def _new_id() -> str:
    return str(uuid.uuid4())


_set = object.__setattr__
RecordT = TypeVar("RecordT", bound="Record")


class Record(BaseModel):
    """What all records share: frozen, camelCase on the wire, unknown fields kept."""

    model_config = ConfigDict(
        frozen=True,
        extra="allow",
        alias_generator=to_camel,
        validate_by_name=True,
        validate_by_alias=True,
        serialize_by_alias=True,
        hide_input_in_errors=True,
    )
    if not TYPE_CHECKING:  # a type checker would take it for one more argument of every record
        __pydantic_extra__: dict[str, Annotated[Any, BeforeValidator(freeze)]]

    @property
    def model_extra(self) -> FrozenDict:
        """The fields that are not declared, by their name on the wire; they can't be changed in place."""
        return FrozenDict(self.__pydantic_extra__ or {})

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """Return a copy; pydantic's, but that unknown fields in `update` are frozen, too."""
        known = self.__pydantic_fields__
        changes = update or {}
        if deep or self.__pydantic_private__ is not None:
            frozen = {name: value if name in known else freeze(value) for name, value in changes.items()}
            return super().model_copy(update=frozen, deep=deep)
        held, unknown = self.__dict__.copy(), (self.__pydantic_extra__ or {}).copy()
        for name, value in changes.items():
            if name in known:
                held[name] = value
            else:
                unknown[name] = freeze(value)
        fields_set = self.__pydantic_fields_set__
        if not fields_set.issuperset(changes):
            fields_set = intern_fields_set(fields_set.union(changes))
        return construct_copy(self, held, unknown, fields_set)

    def with_extra(self, fields: Mapping[str, Any]) -> Self:
        """Return a copy with these unknown fields besides its own; a name is never taken for a declared field."""
        copied = self.model_copy()
        _set(copied, "__pydantic_extra__", {**(self.__pydantic_extra__ or {}), **fields})
        return copied

    def to_json(self) -> dict[str, JsonValue]:
        """Return the record as JSON values in camelCase, just as it is stored: the host token included.

        Unlike pydantic's JSON mode, it takes the lone surrogates that JavaScript leaves in names of fields, too.
        """
        value: dict[str, Any] = {}
        for field in wire_fields(type(self)):
            member = getattr(self, field.name)
            if field.exclude_if is None or not field.exclude_if(member):
                value[field.key] = _json(member) if field.serialize is None else field.serialize(member)
        return {**value, **(self.__pydantic_extra__ or {})}

    def __repr_args__(self) -> Iterable[tuple[str | None, Any]]:
        """Leave out the unknown fields: what they hold may be private."""
        unknown = self.__pydantic_extra__ or {}
        return [(name, value) for name, value in super().__repr_args__() if name not in unknown]


@functools.lru_cache(maxsize=256)
def _shared_set(names: frozenset[str]) -> set[str]:
    return set(names)


def intern_fields_set(names: Iterable[str]) -> set[str]:
    """Return a set of names of fields that all records with these share: one of its own would be half of a record."""
    return _shared_set(frozenset(names))


def construct_copy(record: RecordT, held: dict[str, Any], unknown: dict[str, Any], fields_set: set[str]) -> RecordT:
    """Return a record of the same class that holds these very dicts and this set; what pydantic's copies do, faster."""
    made = object.__new__(type(record))
    _set(made, "__dict__", held)
    _set(made, "__pydantic_extra__", unknown)
    _set(made, "__pydantic_fields_set__", fields_set)
    _set(made, "__pydantic_private__", None)
    return made


def _json(member: object) -> object:
    if isinstance(member, Record):
        return member.to_json()
    if isinstance(member, tuple):
        return [_json(item) for item in cast("tuple[object, ...]", member)]
    return member


class User(Record):
    """A guest of a room.

    Attributes:
        id: unique in its room.
        name: what the others see.
        is_host: several users of a room may be; the one whom `Room.host_id` names hands over on leaving.
        joined_at: aware, UTC, in whole milliseconds.
    """

    id: str
    name: str
    is_host: StrictBool = False
    joined_at: Date = Field(default_factory=_utc_now, validate_default=True)

    __slots__ = ("_text",)  # see `wnc_store.records.encode`; no field, and no copy has it


class VideoState(Record):
    """Where the video is.

    Attributes:
        is_playing: whether it runs.
        current_time: position in seconds.
        duration: length in seconds, 0 as long as it is not known.
        last_update_time: when this was true, in epoch milliseconds.
    """

    is_playing: StrictBool = False
    current_time: Number = 0
    duration: Number = 0
    last_update_time: Number = Field(default_factory=_now_ms)

    __slots__ = ("_text",)  # likewise


class Room(Record):
    """A watch party.

    Attributes:
        id: the code that guests type.
        host_id: the user who is host.
        host_name: the host's name.
        host_token: the secret that proves to be the host. In no repr and not in `public()`.
        video_url: None until a video is chosen.
        video_type: "youtube", "m3u8", ...; None until a video is chosen.
        video_state: where the video is.
        users: in the order of joining.
        created_at: aware, UTC, in whole milliseconds.
        rev: how many commits of this library the room has seen; the store counts it, 0 in a room that it never wrote.
    """

    id: str
    host_id: str
    host_name: str
    host_token: str | None = Field(default=None, repr=False, exclude_if=_is_none)
    video_url: str | None = None
    video_type: str | None = None
    video_state: VideoState = Field(default_factory=VideoState)
    users: tuple[User, ...] = ()
    created_at: Date = Field(default_factory=_utc_now, validate_default=True)
    rev: int = Field(default=0, ge=0, strict=True, exclude_if=_is_zero)

    __slots__ = ("_roster",)  # see `wnc_store.records.user_index`; no field, and no copy has it

    @classmethod
    def hosted_by(cls, host: User, *, room_id: str) -> Room:
        """Return a new room with `host` as its host and only user, and a fresh host token."""
        host = host.model_copy(update={"is_host": True})
        return cls(id=room_id, host_id=host.id, host_name=host.name, host_token=_new_id(), users=(host,))

    def user(self, user_id: str) -> User | None:
        """Return the user of that id, or None."""
        for user in self.users:
            if user.id == user_id:
                return user
        return None

    def to_public_json(self) -> dict[str, JsonValue]:
        """Return what an app sends to guests: the room as JSON, unknown fields included, without the host token."""
        value = self.to_json()
        return {key: member for key, member in value.items() if key not in {"hostToken", "host_token"}}

    def verify_host_token(self, candidate: str | None) -> bool:
        """Tell in constant time whether `candidate` is the host token; never true for a room that has none."""
        if not self.host_token or not candidate:
            return False
        # Encoded, because compare_digest takes only ASCII strings; surrogatepass, because JavaScript cuts inside emoji.
        return hmac.compare_digest(
            self.host_token.encode("utf-8", "surrogatepass"), candidate.encode("utf-8", "surrogatepass")
        )


class ChatMessage(Record):
    """A chat message.

    Attributes:
        id: unique in its room; adding the same id again changes nothing.
        room_id: the room that it belongs to.
        user_id: who wrote it.
        user_name: the writer's name at that time.
        message: the text. In no repr.
        timestamp: epoch milliseconds.
    """

    id: str = Field(default_factory=_new_id)
    room_id: str
    user_id: str
    user_name: str
    message: str = Field(repr=False)
    timestamp: Timestamp = Field(default_factory=_now_ms)
