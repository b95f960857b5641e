"""Field types for numbers and dates as `JSON.stringify` writes them.

A value keeps the JSON it was read from, so that an unchanged record is written back exactly.
"""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime, timedelta
from types import EllipsisType
from typing import Annotated, Any

from pydantic import PlainSerializer, PlainValidator, WithJsonSchema

from wnc_store.records.frozen import check_int

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FIRST = datetime(1, 1, 1, tzinfo=UTC)
_LAST = datetime(9999, 12, 31, 23, 59, 59, 999000, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_TWO = tuple(f"{number:02}" for number in range(100))
_THREE = tuple(f"{number:03}" for number in range(1000))
_TO_JSON = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T(?:[01][0-9]|2[0-3]):[0-9]{2}:[0-9]{2}\.[0-9]{3}Z")
_BEYOND_PYTHON = re.compile(r"([+-])\d{6}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?Z")


class PreservedDate(datetime):
    """A datetime with the JSON it was read from, if that differs from the result of `Date.toJSON()`."""

    # The result of arithmetic on a PreservedDate has this class, but no `raw`.
    raw: str | EllipsisType | None = ...

    def __reduce_ex__(self, protocol: object) -> tuple[object, ...]:
        plain = datetime.combine(self.date(), self.timetz())
        return (_parse_date, (plain,)) if self.raw is ... else (_preserved_date, (plain, self.raw))


class PreservedTimestamp(int):
    """Milliseconds since the epoch with the ISO 8601 string they were read from."""

    raw: str

    def __reduce__(self) -> tuple[object, ...]:
        return _preserved_timestamp, (int(self), self.raw)


def _preserved_date(value: datetime, raw: str | None) -> PreservedDate:
    date = PreservedDate.combine(value.date(), value.timetz())
    date.raw = raw
    return date


def _preserved_timestamp(value: int, raw: str) -> PreservedTimestamp:
    milliseconds = PreservedTimestamp(value)
    milliseconds.raw = raw
    return milliseconds


def to_milliseconds(value: datetime) -> int:
    """Return the milliseconds since the epoch of an aware datetime, rounded down."""
    return (value - EPOCH) // _MILLISECOND


def from_milliseconds(value: int) -> datetime:
    """Return the UTC datetime of a number of milliseconds since the epoch."""
    return EPOCH + value * _MILLISECOND


def iso(value: datetime) -> str:
    """Format an aware datetime as `Date.prototype.toJSON()` does: UTC, three digits of milliseconds, Z."""
    return iso_json(value)[1:-1]


def iso_json(value: datetime) -> str:
    """Encode an aware datetime as JSON: the result of `iso` in double quotes."""
    utc = value.astimezone(UTC)
    day = f"{_TWO[utc.year // 100]}{_TWO[utc.year % 100]}-{_TWO[utc.month]}-{_TWO[utc.day]}"
    time = f"{_TWO[utc.hour]}:{_TWO[utc.minute]}:{_TWO[utc.second]}.{_THREE[utc.microsecond // 1000]}"
    return f'"{day}T{time}Z"'


def _parse_date(value: object) -> datetime:
    if isinstance(value, PreservedDate) and value.raw is not ...:
        return value
    if isinstance(value, datetime):
        return _in_milliseconds(value)
    if value is None:  # an invalid Date
        return _preserved_date(_FIRST, None)
    if isinstance(value, str):
        return _parse_iso(value)
    raise ValueError("a date must be an ISO 8601 string or an aware datetime")


def _in_milliseconds(value: datetime) -> datetime:
    if value.tzinfo is None:
        raise ValueError("a datetime must have a time zone, for example datetime.now(UTC)")
    if type(value) is not datetime or value.tzinfo is not UTC:
        try:
            value = datetime.combine(value.date(), value.timetz()).astimezone(UTC)
        except OverflowError:
            raise ValueError("a date must be within the years 1 to 9999 in UTC") from None
    return value.replace(microsecond=value.microsecond // 1000 * 1000)


def _parse_iso(text: str) -> datetime:
    if _TO_JSON.fullmatch(text):
        return _from_iso(text)
    beyond = _BEYOND_PYTHON.fullmatch(text)
    if beyond:  # JavaScript supports the years -271821 to 275760, Python 1 to 9999
        return _preserved_date(_LAST if beyond[1] == "+" else _FIRST, text)
    return _preserved_date(_in_milliseconds(_from_iso(text)), text)


def _from_iso(text: str) -> datetime:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        pass
    raise ValueError("a date must be an ISO 8601 string with a time zone")  # without the text, which may be secret


def write_date(value: datetime) -> str | None:
    """Return the JSON value of a date."""
    if isinstance(value, PreservedDate) and value.raw is not ...:
        return value.raw
    return iso(value)


def _parse_number(value: object) -> float:
    if value is None:  # NaN and the infinities are null in JSON
        return math.nan
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ValueError("a number must be an int or a float")  # noqa: TRY004 - pydantic reports ValueErrors
    if isinstance(value, int):
        return check_int(value)
    return value if math.isfinite(value) else math.nan


def write_number(value: float) -> float | None:
    """Return the JSON value of a number."""
    return None if isinstance(value, float) and math.isnan(value) else value


def _parse_timestamp(value: object) -> float:
    if not isinstance(value, str):
        return _parse_number(value)
    return _preserved_timestamp(to_milliseconds(_parse_iso(value)), value)


def write_timestamp(value: float) -> float | str | None:
    """Return the JSON value of a timestamp."""
    return value.raw if isinstance(value, PreservedTimestamp) else write_number(value)


Number = Annotated[
    float,
    PlainValidator(_parse_number),
    PlainSerializer(write_number, return_type=Any, when_used="json"),
    WithJsonSchema({"type": ["number", "null"]}),
]
"""A JavaScript number: an int or float as it was written. null is read as NaN."""

Date = Annotated[
    datetime,
    PlainValidator(_parse_date),
    PlainSerializer(write_date, return_type=Any, when_used="json"),
    WithJsonSchema({"type": ["string", "null"], "format": "date-time"}),
]
"""A JavaScript Date: an aware UTC datetime in whole milliseconds. null (an invalid Date) is read as the start of
year 1. A date outside the years 1 to 9999 is read as the nearest datetime."""

Timestamp = Annotated[
    float,
    PlainValidator(_parse_timestamp),
    PlainSerializer(write_timestamp, return_type=Any, when_used="json"),
    WithJsonSchema({"type": ["number", "string", "null"]}),
]
"""Milliseconds since the epoch. An ISO 8601 string is accepted, too."""
