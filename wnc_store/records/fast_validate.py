"""Fast validation of records that need no conversion."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple

from wnc_store.records.fields import wire_fields
from wnc_store.records.models import (
    ChatMessage,
    Record,
    RecordT,
    Room,
    User,
    VideoState,
    construct_copy,
    intern_fields_set,
)
from wnc_store.records.secret import Secret

_LARGE = 2.0**63
"""Numbers from this size on are validated by pydantic."""


def fast_validated(record: RecordT) -> RecordT | None:
    """Return a record as it would be read after being stored, or None if that requires pydantic.

    The result is the record itself, or a copy whose `model_fields_set` contains the fields that are written.
    Subclasses, extra fields, and values whose type differs from the decoded one require pydantic.
    """
    return _with_fields_set(record) if _is_valid(record) else None


def _is_valid(record: Record) -> bool:
    kind = _KINDS.get(type(record))
    values = record.__dict__
    if kind is None or record.__pydantic_extra__ or len(values) != len(kind.tests):
        return False
    try:
        for name, tests in kind.tests:
            value = values[name]
            test = tests[type(value)]
            if test is not None and not test(value):
                return False
    except KeyError:  # the field is missing or has another type
        return False
    return True


def _with_fields_set(record: RecordT) -> RecordT:
    kind = _KINDS[type(record)]
    values = record.__dict__
    if type(record) is Room:
        users = tuple([_with_fields_set(user) for user in values["users"]])
        written = kind.names.difference([name for name, exclude_if in kind.exclusions if exclude_if(values[name])])
        values = {**values, "video_state": _with_fields_set(values["video_state"]), "users": users}
        return construct_copy(record, values, {}, intern_fields_set(frozenset(written)))
    if record.__pydantic_fields_set__ == kind.names:
        return record
    return construct_copy(record, values.copy(), {}, kind.names)


def _is_number(value: float) -> bool:
    return abs(value) < _LARGE


_Tests = Mapping[type, Callable[[Any], bool] | None]

_TESTS_OF: Mapping[object, _Tests] = {
    str: {str: None},
    str | None: {str: None, type(None): None},
    bool: {bool: None},
    int: {int: lambda value: 0 <= value < _LARGE},
    float: {int: _is_number, float: _is_number},
    datetime: {datetime: lambda value: value.tzinfo is UTC and not value.microsecond % 1000 and not value.fold},
    VideoState: {VideoState: _is_valid},
    tuple[User, ...]: {tuple: lambda users: all(type(user) is User and _is_valid(user) for user in users)},
}
_TESTS_OF_FIELD: Mapping[str, _Tests] = {"host_token": {Secret: None, type(None): None}}


class _Kind(NamedTuple):
    names: set[str]
    tests: tuple[tuple[str, _Tests], ...]
    exclusions: tuple[tuple[str, Callable[[Any], bool]], ...]


_KINDS: Mapping[type[Record], _Kind] = {
    kind: _Kind(
        intern_fields_set(frozenset(kind.model_fields)),
        tuple(
            (name, _TESTS_OF_FIELD.get(name) or _TESTS_OF[info.annotation]) for name, info in kind.model_fields.items()
        ),
        tuple((field.name, field.exclude_if) for field in wire_fields(kind) if field.exclude_if is not None),
    )
    for kind in (User, VideoState, Room, ChatMessage)
}
