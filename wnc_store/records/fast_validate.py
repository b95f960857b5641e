"""Fast validation of records that need no conversion."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple, cast

from wnc_store.records.fields import wire_fields
from wnc_store.records.models import ChatMessage, Room, User, VideoState
from wnc_store.records.record import Record, RecordT, construct_copy, intern_fields_set
from wnc_store.records.secret import Secret

_LARGE = 2.0**63
"""Numbers from this size on are validated by pydantic."""


def fast_validated(record: RecordT) -> RecordT | None:
    """Return a record as it would be read after being stored, or None if that requires pydantic.

    The result is the record itself, or a copy whose `model_fields_set` contains the fields that are written.
    Subclasses, extra fields, and values whose type differs from the decoded one require pydantic.
    """
    values = record.__dict__
    try:
        kind = _KINDS[type(record)]
        if record.__pydantic_extra__ or len(values) != kind.size:
            return None
        for name, types, minimum in kind.fields:
            value = values[name]
            if (
                type(value) not in types
                or (type(value) in _NUMBERS and not minimum <= value < _LARGE)
                or (type(value) is datetime and (value.tzinfo is not UTC or value.microsecond % 1000 or value.fold))
            ):
                return None
    except KeyError:  # a subclass, or a missing field
        return None
    if type(record) is Room:
        return cast("RecordT | None", _with_valid_members(record, kind))
    if record.__pydantic_fields_set__ == kind.names:
        return record
    return construct_copy(record, {**values}, {}, kind.names)


def _with_valid_members(room: Room, kind: _Kind) -> Room | None:
    video_state = fast_validated(room.video_state)
    users = [fast_validated(user) if type(user) is User else None for user in room.users]
    if video_state is None or not all(users):
        return None
    values = {**room.__dict__, "video_state": video_state, "users": tuple(users)}
    written = kind.names.difference([name for name, exclude_if in kind.exclusions if exclude_if(values[name])])
    return construct_copy(room, values, {}, intern_fields_set(frozenset(written)))


_NUMBERS = frozenset((int, float))
_TYPES_OF: Mapping[object, frozenset[type]] = {
    str: frozenset((str,)),
    str | None: frozenset((str, type(None))),
    bool: frozenset((bool,)),
    int: frozenset((int,)),
    float: _NUMBERS,
    datetime: frozenset((datetime,)),
    VideoState: frozenset((VideoState,)),
    tuple[User, ...]: frozenset((tuple,)),
}
_TYPES_OF_FIELD: Mapping[str, frozenset[type]] = {"host_token": frozenset((Secret, type(None)))}


class _Kind(NamedTuple):
    names: set[str]
    fields: Sequence[tuple[str, frozenset[type], float]]
    """Name, accepted types and smallest number of each field."""
    size: int
    """Number of fields."""
    exclusions: Sequence[tuple[str, Callable[[Any], bool]]]


_KINDS: Mapping[type[Record], _Kind] = {
    kind: _Kind(
        intern_fields_set(frozenset(kind.model_fields)),
        [
            (
                name,
                _TYPES_OF_FIELD.get(name) or _TYPES_OF[info.annotation],
                0 if info.annotation is int else -_LARGE,
            )
            for name, info in kind.model_fields.items()
        ],
        len(kind.model_fields),
        [(field.name, field.exclude_if) for field in wire_fields(kind) if field.exclude_if is not None],
    )
    for kind in (User, VideoState, Room, ChatMessage)
}
