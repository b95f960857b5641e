"""JSON names and serializers of the fields of a record."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple, cast

from pydantic import BaseModel, PlainSerializer


class Field(NamedTuple):
    """A declared field of a record.

    Attributes:
        name: Name of the attribute.
        key: Name in JSON.
        serialize: Function from the value to its JSON value. None if they are the same.
        exclude_if: Function that returns whether a value is omitted from the JSON. None if no value is.
    """

    name: str
    key: str
    serialize: Callable[[Any], Any] | None
    exclude_if: Callable[[Any], bool] | None


@functools.cache
def wire_fields(kind: type[BaseModel]) -> tuple[Field, ...]:
    """Return the declared fields of a record class, in order."""
    return tuple(
        Field(
            name,
            info.alias or name,
            next((cast("Any", item.func) for item in info.metadata if isinstance(item, PlainSerializer)), None),
            info.exclude_if,
        )
        for name, info in kind.model_fields.items()
    )
