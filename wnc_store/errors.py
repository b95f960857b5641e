"""Every error that a store raises.

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

An error from a write means that the write did not happen, with one exception that says so: `OutcomeUnknownError`.
No message here ever holds a host token, a password or the text of a chat message.
"""

from __future__ import annotations


class StoreError(Exception):
    """The base of every error of a store."""


class RoomNotFoundError(StoreError):
    """Raised when an operation needs a live room and there is none of that id: deleted, expired or never created."""

    def __init__(self, room_id: str) -> None:
        super().__init__(room_id)
        self.room_id = room_id

    def __str__(self) -> str:
        return f"there is no live room {self.room_id!r}: it was deleted, has expired or was never created"


class UserNotFoundError(StoreError):
    """Raised when the room lives and the user is not in it."""

    def __init__(self, room_id: str, user_id: str) -> None:
        super().__init__(room_id, user_id)
        self.room_id = room_id
        self.user_id = user_id

    def __str__(self) -> str:
        return f"there is no user {self.user_id!r} in room {self.room_id!r}: add the user first"


class RoomExistsError(StoreError):
    """Raised when a room is created under the id of a room that lives."""

    def __init__(self, room_id: str) -> None:
        super().__init__(room_id)
        self.room_id = room_id

    def __str__(self) -> str:
        return f"room {self.room_id!r} exists already: choose another id, or change the room with update_room"


class InvalidIdError(StoreError, ValueError):
    """Raised when an id is not 1-128 characters of `A-Z a-z 0-9 _ - . :`; nothing was sent."""

    def __init__(self, kind: str, value: object) -> None:
        shown = repr(value)
        if len(shown) > 40:  # noqa: PLR2004 - long enough to recognise the id, short enough for a log line
            shown = f"{shown[:40]}…"
        super().__init__(kind, shown)
        self.kind = kind

    def __reduce__(self) -> tuple[object, ...]:
        return _invalid_id, self.args

    def __str__(self) -> str:
        _, shown = self.args
        return f"invalid {self.kind} {shown}: it is 1-128 characters of A-Z a-z 0-9 _ - . :"


class ConflictError(StoreError):
    """Raised when others kept changing a room for as long as the operation may take; nothing was written."""

    def __init__(self, room_id: str, attempts: int) -> None:
        super().__init__(room_id, attempts)
        self.room_id = room_id
        self.attempts = attempts

    def __str__(self) -> str:
        return (
            f"room {self.room_id!r} was changed by others during each of {self.attempts} attempts; nothing was "
            "written: try again, or raise operation_timeout"
        )


class LimitExceededError(StoreError):
    """Raised when there would be more of something than is allowed; nothing was written.

    Attributes:
        what: what there is too much of, in words.
        limit: how much is allowed.
        found: how much it would have been.
    """

    def __init__(self, what: str, *, limit: int, found: int) -> None:
        super().__init__(what, limit, found)
        self.what = what
        self.limit = limit
        self.found = found

    def __str__(self) -> str:
        return f"too much: {self.what} would be {self.found}, and at most {self.limit} is allowed"

    def __reduce__(self) -> tuple[object, ...]:
        return _limit_exceeded, (self.what, self.limit, self.found)


class CorruptRecordError(StoreError):
    """Raised when what is stored under a key can't be read as the record that belongs there; it is left as it is."""

    def __init__(self, key: str, reason: str) -> None:
        super().__init__(key, reason)
        self.key = key
        self.reason = reason

    def __str__(self) -> str:
        return f"the record at {self.key!r} can't be read and was left as it is: {self.reason}"


class StoreUnavailableError(StoreError):
    """Raised when the server can't be reached or can't serve now.

    The operation did not happen, unless it is an `OutcomeUnknownError`: catch that first where a repetition would hurt.
    """


class StoreTimeoutError(StoreUnavailableError):
    """Raised when no answer came within `operation_timeout`; the operation did not happen."""


class OutcomeUnknownError(StoreUnavailableError):
    """Raised when a write was sent and no answer came back: it may or may not have happened."""


class StoreClosedError(StoreError):
    """Raised when a store is used after `aclose()`."""

    def __str__(self) -> str:
        return "this store is closed: open a new one with open_store()"


class NotSupportedError(StoreError):
    """Raised when a backend does not offer an operation."""


class ConfigurationError(StoreError):
    """Raised when a URL, a setting or the server's set-up is wrong; the message says which and what to do."""


def _limit_exceeded(what: str, limit: int, found: int) -> LimitExceededError:
    return LimitExceededError(what, limit=limit, found=found)


def _invalid_id(kind: str, shown: str) -> InvalidIdError:
    error = InvalidIdError(kind, "")
    error.args = (kind, shown)
    return error
