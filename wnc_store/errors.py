"""Errors raised by stores.

StoreError
├── RoomNotFoundError
├── UserNotFoundError
├── RoomExistsError
├── InvalidIdError              (also a ValueError)
├── ConflictError
├── LimitExceededError
├── CorruptRecordError
├── StoreUnavailableError
│   ├── StoreTimeoutError
│   └── OutcomeUnknownError
├── StoreClosedError
├── NotSupportedError
└── ConfigurationError

An error raised by a write means that nothing was written. The only exception is `OutcomeUnknownError`.
Messages never contain host tokens, passwords or texts of chat messages. Errors of database drivers are translated to
these classes.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Literal


class StoreError(Exception):
    """Base class of all errors raised by a store."""

    def __reduce__(self) -> tuple[object, ...]:
        # Do not call __init__: its parameters differ from `args`.
        return type(self).__new__, (type(self), *self.args), self.__dict__


class RoomNotFoundError(StoreError):
    """Raised when an operation requires a live room and no live room has that id."""

    def __init__(self, room_id: str) -> None:
        super().__init__(f"room {room_id!r} not found: it was deleted, has expired or was never created")
        self.room_id = room_id


class UserNotFoundError(StoreError):
    """Raised when an operation requires that a user is in the room, and the user is not."""

    def __init__(self, room_id: str, user_id: str) -> None:
        super().__init__(f"user {user_id!r} is not in room {room_id!r}: add the user first")
        self.room_id = room_id
        self.user_id = user_id


class RoomExistsError(StoreError):
    """Raised when a room is created or restored with the id of a live room."""

    def __init__(self, room_id: str, *, hint: str = "choose another id, or replace the room with update_room") -> None:
        super().__init__(f"room {room_id!r} already exists: {hint}")
        self.room_id = room_id


_EXPECTED_IDS = {
    **dict.fromkeys(
        ("connection key", "connection id", "rate limit key"), "1-128 characters of A-Z a-z 0-9 _ - . : % / @ | + = ~"
    ),
    **dict.fromkeys(
        ("user id", "message id"),
        "1-128 characters without control characters, lone surrogates, and whitespace at either end",
    ),
}


class InvalidIdError(StoreError, ValueError):
    """Raised when an id contains an invalid character, is empty or has more than 128 characters. Nothing was sent."""

    def __init__(self, kind: str, value: object) -> None:
        shown = repr(value)
        if len(shown) > 40:  # noqa: PLR2004 - enough to recognise the id in a log line
            shown = f"{shown[:40]}…"
        expected = _EXPECTED_IDS.get(kind, "1-128 characters of A-Z a-z 0-9 _ - . :")
        super().__init__(f"invalid {kind} {shown}: expected {expected}")
        self.kind = kind


class ConflictError(StoreError):
    """Raised when concurrent changes made every attempt to write a room or its chat fail. Nothing was written."""

    def __init__(self, room_id: str, attempts: int, *, record: Literal["room", "chat of room"] = "room") -> None:
        super().__init__(
            f"{record} {room_id!r} was changed concurrently during each of {attempts} attempts and nothing was "
            "written: retry, or increase operation_timeout"
        )
        self.room_id = room_id
        self.attempts = attempts


class LimitExceededError(StoreError):
    """Raised when a write would exceed a limit. Nothing was written.

    Attributes:
        what: Name of the limited quantity, with the setting that limits it in parentheses.
        limit: Largest allowed value.
        actual: Value that the write would have led to.
    """

    def __init__(self, what: str, *, limit: int, actual: int) -> None:
        super().__init__(f"{what} must be at most {limit}, got {actual}")
        self.what = what
        self.limit = limit
        self.actual = actual


class CorruptRecordError(StoreError):
    """Raised when a stored value is not a valid record of the expected kind. The value is left unchanged."""

    def __init__(self, key: str, reason: str) -> None:
        super().__init__(f"the record at {key!r} can't be read and was left unchanged: {reason}")
        self.key = key
        self.reason = reason


class StoreUnavailableError(StoreError):
    """Raised when the server can't be reached or can't execute the operation now.

    The operation was not executed, unless the error is an `OutcomeUnknownError`. Catch `OutcomeUnknownError` first if
    executing the operation twice would do harm.
    """


class StoreTimeoutError(StoreUnavailableError):
    """Raised when an operation exceeded `operation_timeout`. The operation was not executed."""


class OutcomeUnknownError(StoreUnavailableError):
    """Raised when a write was sent and its outcome can't be determined: it may or may not have been executed.

    Attributes:
        final_after: How long after the error was raised the write may still be executed. None if that is not known.
    """

    final_after: timedelta | None = None


class StoreClosedError(StoreError):
    """Raised when a store is used after `aclose()`. Iterators of events raise it when their store is closed."""

    def __init__(self) -> None:
        super().__init__("the store is closed: open a new one with open_store()")


class NotSupportedError(StoreError):
    """Raised when the backend does not support the operation."""


class ConfigurationError(StoreError):
    """Raised when a URL, a setting or the configuration of the server is wrong. The message contains the remedy."""
