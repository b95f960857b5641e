"""Base class of all records, and functions that copy and measure records."""

from __future__ import annotations

import difflib
import functools
from collections.abc import Collection, Iterable, Mapping
from collections.abc import Set as AbstractSet
from typing import TYPE_CHECKING, Annotated, Any, Self, TypeVar, cast

from pydantic import BaseModel, BeforeValidator, ConfigDict, JsonValue, ValidationError
from pydantic.alias_generators import to_camel

from wnc_store.records.fields import wire_fields
from wnc_store.records.frozen import FrozenDict, freeze, json_depth
from wnc_store.records.secret import Secret

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


def replace_fields(record: RecordT, changes: dict[str, Any]) -> RecordT:
    """Return a copy with new values of declared fields, which are validated.

    Args:
        record: Record to copy.
        changes: New values by attribute name. The dict is emptied, because a tool that records the local variables of
            a traceback would show its values.

    Raises:
        TypeError: A name is not a declared field.
        ValidationError: A value is invalid.
    """
    kind = type(record)
    try:
        for name in changes:
            if name not in kind.model_fields:
                raise TypeError(_describe_unknown_field(kind, name))
        # The extra fields are not validated again, because their names may equal those of declared fields.
        # The validator is called directly, because a frame of `model_validate` would contain the values, too.
        validate = kind.__pydantic_validator__.validate_python
        valid = validate({**record.__dict__, **changes}, by_alias=False, by_name=True)
        return record.model_copy(update={name: valid.__dict__[name] for name in changes})
    finally:
        changes.clear()


def _describe_unknown_field(kind: type[Record], name: str) -> str:
    hint = suggest_name(name, kind.model_fields)
    return f"{name!r} is not a field of {kind.__name__}: {hint}, or with_extra() for an extra field"


def suggest_name(name: str, names: Collection[str]) -> str:
    """Return a hint for an unknown name: the most similar of the known names, or all of them."""
    similar = difflib.get_close_matches(name, names, n=1)
    return f"use {similar[0]!r}" if similar else f"use one of {', '.join(names)}"


def keep_extra_fields(record: RecordT, names: AbstractSet[str] = frozenset()) -> RecordT:
    """Return a record with only those of its extra fields that are named."""
    extra = record.__pydantic_extra__ or {}
    if extra.keys() <= names:
        return record
    kept = {name: value for name, value in extra.items() if name in names}
    declared = frozenset(record.__pydantic_fields_set__.difference(extra))
    return construct_copy(record, {**record.__dict__}, kept, intern_fields_set(declared))


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
