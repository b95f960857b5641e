"""JSON values that can't be changed in place, so that models can be shared without copying.

They compare equal to plain dicts and lists and are written by every JSON library, because they are dicts and lists.
"""

from __future__ import annotations

import math
from typing import Any, NoReturn, cast

_MAX_INT = 10**4000
_FROZEN = "this JSON value belongs to a frozen model: make a changed copy instead"


def _refuse(*_args: object, **_kwargs: object) -> NoReturn:
    raise TypeError(_FROZEN)


class FrozenDict(dict[str, Any]):
    """A JSON object that refuses to be changed."""

    __setitem__ = __delitem__ = __ior__ = _refuse  # type: ignore[assignment]
    clear = pop = popitem = setdefault = update = _refuse  # type: ignore[assignment]

    def __reduce__(self) -> tuple[type[FrozenDict], tuple[dict[str, Any]]]:
        return FrozenDict, (dict(self),)


class FrozenList(list[Any]):
    """A JSON array that refuses to be changed."""

    __setitem__ = __delitem__ = __iadd__ = __imul__ = _refuse  # type: ignore[assignment]
    append = clear = extend = insert = pop = remove = reverse = sort = _refuse  # type: ignore[assignment]

    def __reduce__(self) -> tuple[type[FrozenList], tuple[list[Any]]]:
        return FrozenList, (list(self),)


def check_int(value: int) -> int:
    """Return an integer that every JSON parser of Python reads again.

    Raises:
        ValueError: it has thousands of digits.
    """
    if abs(value) < _MAX_INT:
        return value
    message = "an integer of thousands of digits can't be read again"
    raise ValueError(message)


def freeze(value: object) -> object:
    """Return `value` as `JSON.stringify` would see it, frozen: NaN and the infinities become None.

    Raises:
        ValueError: it is nothing that JSON can hold.
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
            message = "the keys of a JSON object are strings"
            raise ValueError(message)
        return FrozenDict({cast("str", key): freeze(member) for key, member in members.items()})
    message = f"{type(value).__name__} is not a JSON value"
    raise ValueError(message)
