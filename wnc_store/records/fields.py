"""How the fields of a record lie on the wire."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple, cast

from pydantic import BaseModel, PlainSerializer


class Field(NamedTuple):
    """A declared field.

    Attributes:
        name: in Python.
        key: on the wire.
        write: makes the JSON value of what the field holds; None where that is the value itself.
        omit: tells for which value the field is left out; None if never.
    """

    name: str
    key: str
    serialize: Callable[[Any], Any] | None
    exclude_if: Callable[[Any], bool] | None


@functools.cache
def wire_fields(kind: type[BaseModel]) -> tuple[Field, ...]:
    """Return the declared fields of a kind of record, in order."""
    return tuple(
        Field(
            name,
            info.alias or name,
            next((cast("Any", item.func) for item in info.metadata if isinstance(item, PlainSerializer)), None),
            info.exclude_if,
        )
        for name, info in kind.model_fields.items()
    )
