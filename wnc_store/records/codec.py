"""Encoding and decoding of records as the JSON of `JSON.stringify` and `JSON.parse`."""

from __future__ import annotations

import json
from typing import NoReturn

from pydantic import ValidationError
from pydantic_core import from_json

from wnc_store.errors import CorruptRecordError
from wnc_store.records.deep_json import parse_deep
from wnc_store.records.encode import dumps, encode_record, to_utf8
from wnc_store.records.fast_validate import fast_validated
from wnc_store.records.frozen import TooDeepError
from wnc_store.records.record import Record, RecordT


def to_wire(record: Record, suffix: str = "") -> bytes:
    """Encode a record as UTF-8 JSON. The repr of the result is masked, because a room contains its host token.

    Args:
        record: Record to encode.
        suffix: Whitespace to append, for example to make stored values unique.
    """
    try:
        return to_utf8(encode_record(record) + suffix)
    except (LookupError, TypeError, ValueError):
        pass  # the record needs the general encoder
    return to_utf8(dumps(record.to_json()) + suffix)


def to_json_text(value: object) -> str:
    """Encode a JSON value as text that can be sent: `JSON.stringify` of the Node app.

    A JavaScript string may contain half an emoji, a lone surrogate, which UTF-8 can't represent. This function writes
    an escape sequence instead. The JSON encoders of most web frameworks raise `UnicodeEncodeError`.

    Args:
        value: A JSON value, for example the result of `to_json` of a public room or of an event.

    Raises:
        TypeError: `value` contains an object that is not a JSON value, for example a record.
        ValueError: `value` contains NaN or an infinity.
    """
    return to_utf8(dumps(value)).decode()


def from_wire(kind: type[RecordT], data: bytes, *, key: str) -> RecordT:
    """Decode a record from JSON.

    Args:
        kind: Class of the record.
        data: UTF-8 JSON. Lone surrogates are accepted.
        key: Key of the stored value, for the error message.

    Raises:
        CorruptRecordError: `data` is not JSON, or not a valid record. The message contains no part of the data.
    """
    try:
        return kind.model_validate(parse_json(data), by_alias=True, by_name=False)
    except ValidationError as error:
        reason = f"not a {kind.__name__}: {format_validation_errors(error)}"
    except TooDeepError as error:
        reason = str(error)
    except ValueError:
        reason = "not UTF-8 JSON"
    # Raised outside the handlers, because their exceptions contain the input and would become the context of this one.
    raise CorruptRecordError(key, reason)


def validated(record: RecordT, kind: type[RecordT]) -> RecordT:
    """Return `record` as an instance of exactly `kind`, as it would be read after being stored.

    `model_copy` and `model_construct` do not validate, and subclasses may declare more fields.

    Raises:
        TypeError: `record` is not an instance of `kind`.
        ValueError: `record` contains a value that can't be stored. The message names the fields and contains no values.
    """
    if type(record) is kind and (valid := fast_validated(record)) is not None:
        return valid
    if not isinstance(record, kind):  # pyright: ignore[reportUnnecessaryIsInstance] - callers without a type checker
        raise TypeError(f"expected a {kind.__name__}, got {type(record).__name__}")
    aliases = {info.alias or name for name, info in kind.model_fields.items()}
    duplicates = sorted(aliases & record.model_extra.keys())
    if duplicates:
        names = ", ".join(duplicates)
        reason = f"the extra field {names} has the JSON name of a declared field: set that field instead"
    else:
        try:
            return kind.model_validate(record.to_json(), by_alias=True, by_name=False)
        except ValidationError as error:
            reason = format_validation_errors(error)
        except (AttributeError, TypeError):
            reason = "a field has a value of the wrong type"
    raise ValueError(f"this {kind.__name__} can't be stored: {reason}")


def format_validation_errors(error: ValidationError) -> str:
    """Format validation errors with their fields, but without the values, which may be secret."""
    return "; ".join(
        f"{'.'.join(map(str, detail['loc'])) or 'the record'}: {detail['msg']}"
        for detail in error.errors(include_url=False, include_context=False, include_input=False)
    )


def parse_json(data: bytes) -> object:
    """Parse JSON as the Node app may have written it: with lone surrogates, and nested at any depth.

    Raises:
        ValueError: `data` is not UTF-8 JSON.
    """
    try:
        return from_json(data, allow_inf_nan=False)
    except ValueError:  # also raised for lone surrogates and for more than 200 levels of nesting
        # Encoded surrogates become escape sequences, so that the two halves of a pair are decoded as one character.
        text = to_utf8(data.decode("utf-8", "surrogatepass")).decode()
        try:
            return _decoder.decode(text)
        except RecursionError:
            return parse_deep(text, _decoder)


def _refuse_constant(_name: str) -> NoReturn:
    raise ValueError("JSON can't represent NaN and Infinity")


_decoder = json.JSONDecoder(parse_constant=_refuse_constant)
