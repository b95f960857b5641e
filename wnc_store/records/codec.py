"""Records to bytes and back: JSON as Node's `JSON.stringify` writes it and `JSON.parse` reads it."""

from __future__ import annotations

import json
from typing import NoReturn

from pydantic import ValidationError
from pydantic_core import from_json

from wnc_store.errors import CorruptRecordError
from wnc_store.records.encode import dumps, encode_record
from wnc_store.records.fast_validate import fast_validated
from wnc_store.records.models import Record, RecordT


def to_wire(record: Record) -> bytes:
    """Return a record as UTF-8 JSON."""
    try:
        return encode_record(record).encode()
    except (LookupError, TypeError, ValueError):
        pass  # it is not quite plain
    value = record.to_json()
    try:
        return dumps(value).encode()
    except UnicodeEncodeError:  # half of an emoji that JavaScript cut: only an escape can hold it
        return json.dumps(value, separators=(",", ":"), allow_nan=False).encode()


def from_wire(kind: type[RecordT], data: bytes, *, key: str) -> RecordT:
    """Return the record that `data` holds.

    Args:
        kind: `Room`, `User`, `VideoState` or `ChatMessage`.
        data: UTF-8 JSON, lone surrogates included.
        key: where it is stored, for the error.

    Raises:
        CorruptRecordError: it is not JSON, or not such a record. The error holds no part of the data.
    """
    try:
        return kind.model_validate(_parsed(data), by_alias=True, by_name=False)
    except ValidationError as error:
        reason = f"not a {kind.__name__}: {format_validation_errors(error)}"
    except RecursionError:
        reason = "its JSON is nested too deeply"
    except ValueError:
        reason = "it is not UTF-8 JSON"
    # Raised outside the handlers: their exceptions hold the input, and would stay within reach as the context.
    raise CorruptRecordError(key, reason)


def validated(record: RecordT, kind: type[RecordT]) -> RecordT:
    """Return `record` as a plain `kind` that holds what a reader of the stored record would see.

    Needed because `model_copy` and `model_construct` check nothing, and subclasses may have fields of their own.

    Raises:
        TypeError: it is no `kind`.
        ValueError: it holds what can't be stored. The error names the fields and holds no values.
    """
    if not isinstance(record, kind):  # pyright: ignore[reportUnnecessaryIsInstance] - callers without a type checker
        message = f"expected a {kind.__name__}, got {type(record).__name__}"
        raise TypeError(message)
    if type(record) is kind and (plain := fast_validated(record)) is not None:
        return plain
    aliases = {info.alias or name for name, info in kind.model_fields.items()}
    double = sorted(aliases & record.model_extra.keys())
    if double:
        reason = f"{', '.join(double)} is the name on the wire of a declared field: set that"
    else:
        try:
            return kind.model_validate(record.to_json(), by_alias=True, by_name=False)
        except ValidationError as error:
            reason = format_validation_errors(error)
        except RecursionError:
            reason = "it is nested too deeply"
        except (AttributeError, TypeError):
            reason = "a field holds a value of another type"
    message = f"this {kind.__name__} can't be stored: {reason}"
    raise ValueError(message)


def format_validation_errors(error: ValidationError) -> str:
    """Say what is wrong and where, without the values: they may be secrets."""
    return "; ".join(
        f"{'.'.join(map(str, detail['loc'])) or 'the record'}: {detail['msg']}"
        for detail in error.errors(include_url=False, include_context=False, include_input=False)
    )


def _parsed(data: bytes) -> object:
    try:
        return from_json(data, allow_inf_nan=False)
    except ValueError:  # also for half an emoji, and for what is nested more than 200 deep
        # Raw halves become escapes, so that two which belong together are read as one character.
        return _decoder.decode(data.decode("utf-8", "surrogatepass").encode("utf-8", "backslashreplace").decode())


def _refuse_constant(_name: str) -> NoReturn:
    message = "NaN and Infinity are not JSON"
    raise ValueError(message)


_decoder = json.JSONDecoder(parse_constant=_refuse_constant)
