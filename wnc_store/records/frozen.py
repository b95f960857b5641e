"""Immutable JSON values, so that models can be shared without copying.

They are subclasses of dict and list: they compare equal to plain ones, and every JSON library can serialize them.
"""

from __future__ import annotations

import math
from typing import Any, NoReturn, cast

_MAX_INT = 10**4000
_FROZEN = "this JSON value is frozen because it belongs to a model: modify a copy instead"


def _refuse(*_args: object, **_kwargs: object) -> NoReturn:
    raise TypeError(_FROZEN)


class FrozenDict(dict[str, Any]):
    """An immutable JSON object."""

    __setitem__ = __delitem__ = __ior__ = _refuse  # type: ignore[assignment]
    clear = pop = popitem = setdefault = update = _refuse  # type: ignore[assignment]

    def __reduce__(self) -> tuple[type[FrozenDict], tuple[dict[str, Any]]]:
        return FrozenDict, (dict(self),)


class FrozenList(list[Any]):
    """An immutable JSON array."""

    __setitem__ = __delitem__ = __iadd__ = __imul__ = _refuse  # type: ignore[assignment]
    append = clear = extend = insert = pop = remove = reverse = sort = _refuse  # type: ignore[assignment]

    def __reduce__(self) -> tuple[type[FrozenList], tuple[list[Any]]]:
        return FrozenList, (list(self),)


def check_int(value: int) -> int:
    """Return `value`. Raise `ValueError` beyond 4000 digits, because Python's JSON parsers limit the digits."""
    if abs(value) < _MAX_INT:
        return value
    raise ValueError("an integer must have at most 4000 digits")


def freeze(value: object) -> object:
    """Return `value` as an immutable JSON value. NaN and the infinities become None, as with `JSON.stringify`.

    Raises:
        ValueError: JSON can't represent `value`.
    """
    if value is None or isinstance(value, (str, bool, FrozenDict, FrozenList)):
        return value
    if isinstance(value, int):
        return check_int(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, (list, tuple)):
        return FrozenList(freeze(item) for item in cast("list[object]", value))
    if isinstance(value, dict):
        members = cast("dict[object, object]", value)
        if not all(isinstance(key, str) for key in members):
            raise ValueError("the keys of a JSON object must be strings")
        return FrozenDict({cast("str", key): freeze(member) for key, member in members.items()})
    raise ValueError(f"{type(value).__name__} is not a JSON value")
