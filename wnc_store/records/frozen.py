"""Immutable JSON values, so that models can be shared without copying.

They are subclasses of dict and list: they compare equal to plain ones, and every JSON library can serialize them.
"""

from __future__ import annotations

import math
from typing import Any, NoReturn, cast

_MAX_INT = 10**4000
MAX_READABLE_DEPTH = 10_000
"""How deep the arrays and objects of a stored value may be nested. The Node app can't write more."""

_FROZEN = "this JSON value is frozen because it belongs to a model: modify a copy instead"


def _refuse(*_args: object, **_kwargs: object) -> NoReturn:
    raise TypeError(_FROZEN)


class TooDeepError(ValueError):
    """Arrays and objects are nested too deeply."""

    def __init__(self, limit: int) -> None:
        super().__init__(f"arrays and objects must be nested at most {limit} levels deep")


class _DeepEquality:  # noqa: PLW1641 - like dict and list
    """Comparison by `==` that does not fail for deeply nested values."""

    def __eq__(self, other: object) -> bool:
        try:
            return super().__eq__(other)
        except RecursionError:
            return _deep_equal(self, other)

    def __ne__(self, other: object) -> bool:
        return not self == other


class FrozenDict(_DeepEquality, dict[str, Any]):
    """An immutable JSON object."""

    __setitem__ = __delitem__ = __ior__ = _refuse  # type: ignore[assignment]
    clear = pop = popitem = setdefault = update = _refuse  # type: ignore[assignment]

    def __reduce__(self) -> tuple[type[FrozenDict], tuple[dict[str, Any]]]:
        return FrozenDict, (dict(self),)


class FrozenList(_DeepEquality, list[Any]):
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
        ValueError: JSON can't represent `value`, or it is nested more than `MAX_READABLE_DEPTH` levels deep.
    """
    if type(value) in _UNCHANGED:
        return value
    frozen = _freeze_outer(value)
    pending = [(frozen, 1)] if isinstance(frozen, (FrozenDict, FrozenList)) else []
    while pending:
        container, depth = pending.pop()
        if depth > MAX_READABLE_DEPTH:  # or the value contains itself
            raise TooDeepError(MAX_READABLE_DEPTH)
        is_dict = isinstance(container, dict)
        set_member: Any = dict[str, Any].__setitem__ if is_dict else list[Any].__setitem__
        for key, member in container.items() if is_dict else enumerate(container):
            if type(member) not in _UNCHANGED:
                set_member(container, key, copy := _freeze_outer(member))
                if isinstance(copy, (FrozenDict, FrozenList)):
                    pending.append((copy, depth + 1))
    return frozen


def json_depth(value: object) -> int:
    """Return how deep arrays and objects are nested in a JSON value: 0 for a scalar value, 1 for an empty array."""
    depth = 0
    level: list[Any] = [value]
    while containers := [cast("FrozenDict | FrozenList", item) for item in level if isinstance(item, (dict, list))]:
        depth += 1
        level = [member for item in containers for member in (item.values() if isinstance(item, dict) else item)]
    return depth


_UNCHANGED = frozenset((type(None), str, bool, FrozenDict, FrozenList))
"""Types of values that are immutable already."""


def _freeze_outer(value: object) -> object:
    """Freeze `value`, except the members of a list or dict."""
    if isinstance(value, (str, bool, FrozenDict, FrozenList)):
        return value
    if isinstance(value, int):
        return check_int(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, (list, tuple)):
        return FrozenList(cast("list[object]", value))
    if isinstance(value, dict):
        members = cast("dict[object, object]", value)
        if not all(isinstance(key, str) for key in members):
            raise ValueError("the keys of a JSON object must be strings")
        return FrozenDict(cast("dict[str, object]", members))
    raise ValueError(f"{type(value).__name__} is not a JSON value")


def _deep_equal(one: object, other: object) -> bool:
    """Return whether two JSON values are equal, without recursion."""
    pending: list[tuple[Any, Any]] = [(one, other)]
    while pending:
        one, other = pending.pop()
        if isinstance(one, dict) and isinstance(other, dict):
            mine, theirs = cast("dict[str, Any]", one), cast("dict[str, Any]", other)
            if mine.keys() != theirs.keys():
                return False
            pending += [(member, theirs[key]) for key, member in mine.items()]
        elif isinstance(one, list) and isinstance(other, list):
            items, other_items = cast("list[Any]", one), cast("list[Any]", other)
            if len(items) != len(other_items):
                return False
            pending += zip(items, other_items, strict=True)
        elif one is not other and one != other:
            return False
    return True
