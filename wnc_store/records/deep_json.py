"""JSON of any depth, where the parsers and encoders of Python fail at a depth that depends on the interpreter."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from json.encoder import encode_basestring as quoted
from typing import Any, cast

from wnc_store.records.frozen import MAX_READABLE_DEPTH, TooDeepError

_MAX_DEPTH = 2 * MAX_READABLE_DEPTH
"""Limits the memory that the parser uses. The values of a record are limited exactly by `freeze`."""

_skip_whitespace = re.compile(r"[ \t\n\r]*").match


class _Text(str):
    """A part of the encoded JSON among values that are not encoded yet."""

    __slots__ = ()


def parse_deep(text: str, decoder: json.JSONDecoder) -> object:
    """Parse JSON without recursion. The result is that of `decoder`, which parses the scalar values.

    Raises:
        ValueError: `text` is not JSON, or is nested much more than `MAX_READABLE_DEPTH` levels deep.
    """
    root: list[Any] = []
    containers: list[Any] = [root]  # the open arrays and objects
    keys = [""]  # of each of them, the key of the current member
    position = _skip(text, 0)
    while True:
        container = containers[-1]
        if isinstance(container, dict):
            if text[position : position + 1] != '"':
                raise ValueError("expected the key of a member")
            keys[-1], position = decoder.raw_decode(text, position)
            position = _expect(":", text, _skip(text, position))
        value, position = _parse_outer(text, position, decoder)
        if isinstance(container, dict):
            container[keys[-1]] = value
        else:
            container.append(value)
        if isinstance(value, (dict, list)):
            containers.append(value)
            keys.append("")
            if len(containers) > _MAX_DEPTH:
                raise TooDeepError(MAX_READABLE_DEPTH)
            if text[position : position + 1] != _closing(containers[-1]):
                continue
        while len(containers) > 1 and text[position : position + 1] == _closing(containers[-1]):
            containers.pop()
            keys.pop()
            position = _skip(text, position + 1)
        position = _expect("," if len(containers) > 1 else "", text, position)
        if len(containers) == 1:
            return root[0]


def encode_deep(value: object, encode_scalar: Callable[[object], str]) -> str:
    """Encode a JSON value without recursion."""
    encoded: list[str] = []
    pending: list[object] = [value]  # in reverse order
    while pending:
        item = pending.pop()
        if isinstance(item, _Text):
            encoded.append(item)
        elif isinstance(item, dict):
            pending.append(_Text("}"))
            members = [*cast("dict[str, object]", item).items()]
            for number, (key, member) in reversed([*enumerate(members)]):
                pending += (member, _Text(f"{',' if number else '{'}{quoted(key)}:"))
            if not members:
                pending.append(_Text("{"))
        elif isinstance(item, (list, tuple)):
            pending.append(_Text("]"))
            items = [*cast("list[object]", item)]
            for number, member in reversed([*enumerate(items)]):
                pending += (member, _Text("," if number else "["))
            if not items:
                pending.append(_Text("["))
        else:
            encoded.append(encode_scalar(item))
    return "".join(encoded)


def _parse_outer(text: str, position: int, decoder: json.JSONDecoder) -> tuple[Any, int]:
    """Parse a scalar value, or the opening bracket of an array or object. Return the position behind it."""
    opening = text[position : position + 1]
    if opening in {"[", "{"}:
        return [] if opening == "[" else {}, _skip(text, position + 1)
    value, end = decoder.raw_decode(text, position)
    return value, _skip(text, end)


def _expect(expected: str, text: str, position: int) -> int:
    """Return the position behind a character, or behind the end of the text if `expected` is empty."""
    if text[position : position + 1] != expected:
        raise ValueError(f"expected {expected or 'the end of the text'}")
    return _skip(text, position + 1)


def _skip(text: str, position: int) -> int:
    """Return the position of the next character that is not whitespace."""
    match = _skip_whitespace(text, position)
    return position if match is None else match.end()


def _closing(container: object) -> str:
    return "}" if isinstance(container, dict) else "]"
