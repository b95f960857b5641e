"""Histories of the calls to a store, with their times and outcomes."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple

from wnc_store import Room

Answer = Literal["ok", "not found", "exists", "refused", "unknown"]


class View(NamedTuple):
    """The fields of a room that a history distinguishes."""

    rev: int
    host: str
    users: tuple[str, ...]
    position: float = 0
    url: str | None = None

    @classmethod
    def of(cls, room: Room) -> View:
        """Return the view of a room that a store returned."""
        users = tuple(user.id for user in room.users)
        return cls(room.rev, room.host_id, users, float(room.video_state.current_time), room.video_url)

    @classmethod
    def of_json(cls, stored: dict[str, Any]) -> View:
        """Return the view of a stored room."""
        users = tuple(user["id"] for user in stored["users"])
        position = float(stored["videoState"]["currentTime"])
        return cls(stored.get("rev", 0), stored["hostId"], users, position, stored["videoUrl"])


Result = View | bool | int | tuple[str, ...] | None

READS = frozenset({"get", "read", "count", "peek"})
"""The kinds of operations that change nothing."""


@dataclass(frozen=True)
class Operation:
    """One call.

    Attributes:
        client: the caller. The calls of a client do not overlap.
        kind: "create", "join", "leave", "video", "edit", "delete" and "get" of rooms; "say", "correct",
            "remove", "clear" and "read" of chats; "acquire", "release" and "count" of connections; "hit" and "peek" of
            rate limits.
        key: the room, or the key of the connections or the rate limit.
        value: the value that the call writes: the user that creates, joins or leaves, the position, the URL, the
            message's id, the message's id and its new text with "=" in between, or the connection's id. Except for
            connections and removed messages, it is unique among the writes.
        start: nanoseconds on a clock that all processes share.
        end: nanoseconds.
        answer: "ok" with the returned value in `result`, or the reason for an error. "refused" means an error that says
            that the write did not happen.
        result: a room, None for a missing room, the ids of messages, followed by "=" and the text if it was corrected,
            whether a message was found, or a count.
        final: when a write with an unknown outcome can no longer happen, in nanoseconds.
    """

    client: str
    kind: str
    key: str
    value: str | float | None
    start: float
    end: float
    answer: Answer
    result: Result = None
    final: float = math.inf


def settled(operations: Iterable[Operation]) -> list[Operation]:
    """Return the operations that may have happened, ordered by start. Unknown ones end when they are final."""
    kept = [
        operation if operation.answer != "unknown" else replace(operation, end=operation.final, result=None)
        for operation in operations
        if operation.answer != "refused"
    ]
    return sorted(kept, key=lambda operation: operation.start)
