"""Messages and pickling of errors."""

from __future__ import annotations

import pickle

import pytest

from wnc_store import (
    ConflictError,
    CorruptRecordError,
    InvalidIdError,
    LimitExceededError,
    RoomExistsError,
    RoomNotFoundError,
    StoreClosedError,
    StoreError,
    StoreUnavailableError,
    UserNotFoundError,
)

ERRORS = [
    RoomNotFoundError("A"),
    UserNotFoundError("A", "u1"),
    RoomExistsError("A"),
    InvalidIdError("room id", "a b"),
    InvalidIdError("room id", lambda: None),
    ConflictError("A", 3),
    CorruptRecordError("room:A", "it is not JSON"),
    LimitExceededError("number of users", limit=2, actual=3),
    StoreClosedError(),
    StoreUnavailableError("Redis at h:1 can't be reached"),
]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_an_error_survives_pickling(error: StoreError) -> None:
    """A pickled error keeps its class, message and attributes."""
    unpickled = pickle.loads(pickle.dumps(error))
    assert type(unpickled) is type(error)
    assert str(unpickled) == str(error)
    assert vars(unpickled) == vars(error)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ERRORS[0], ("'A'",)),
        (ERRORS[1], ("'A'", "'u1'")),
        (ERRORS[2], ("'A'", "update_room")),
        (ERRORS[3], ("room id", "'a b'", "1-128")),
        (ERRORS[5], ("'A'", "3 attempts", "operation_timeout")),
        (ERRORS[6], ("'room:A'", "it is not JSON")),
        (ERRORS[7], ("users", "3", "2")),
        (ERRORS[8], ("open_store",)),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, StoreError) else "",
)
def test_an_error_names_its_subject(error: StoreError, words: tuple[str, ...]) -> None:
    """A message names the ids and keys that it is about, and the remedy."""
    assert [word for word in words if word not in str(error)] == []


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("room id", "A-Z a-z 0-9 _ - . :"),
        ("connection key", "A-Z a-z 0-9 _ - . : % / @ | + = ~"),
        ("message id", "without control characters, lone surrogates, and whitespace at either end"),
    ],
)
def test_an_invalid_id_names_the_valid_characters(kind: str, expected: str) -> None:
    """The message about an invalid id states which characters ids of its kind may have."""
    assert str(InvalidIdError(kind, "*\n")).startswith(f"invalid {kind} '*\\n': expected 1-128 characters ")
    assert str(InvalidIdError(kind, "*\n")).endswith(expected)


def test_a_long_id_is_truncated() -> None:
    """The message about an invalid id of ten thousand characters is shorter than 150 characters."""
    assert len(str(InvalidIdError("room id", "x" * 10_000))) < 150
