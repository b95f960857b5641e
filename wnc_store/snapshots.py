"""A room as it is kept, with its chat and what is left of their lives: what is exported and imported."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Protocol, cast, runtime_checkable

from pydantic import JsonValue

from wnc_store.base.ids import check_id
from wnc_store.errors import CorruptRecordError
from wnc_store.records.codec import from_wire
from wnc_store.records.models import ChatMessage, Room

_MILLISECOND = timedelta(milliseconds=1)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A room and its chat.

    Attributes:
        room: the room, host token included.
        room_ttl: what was left of its life; `timedelta.max` if it had no end.
        messages: the kept messages, oldest first.
        chat_ttl: what was left of the chat's life, as `room_ttl`; None if there was no chat.

    Raises:
        InvalidIdError: the room's id is none.
        ValueError: a TTL is less than a millisecond.
    """

    room: Room
    room_ttl: timedelta
    messages: tuple[ChatMessage, ...] = ()
    chat_ttl: timedelta | None = None

    def __post_init__(self) -> None:
        check_id("room id", self.room.id)
        chat_ttl = timedelta.max if self.chat_ttl is None else self.chat_ttl
        if min(self.room_ttl, chat_ttl) < _MILLISECOND:
            message = f"a TTL of room {self.room.id!r} is less than a millisecond"
            raise ValueError(message)

    def to_json(self) -> dict[str, JsonValue]:
        """Return it as JSON values, with every field of room and messages as it is stored, the host token included.

        TTLs are milliseconds, null for no end; `messages` and `chatTtlMs` are there if there is a chat.
        """
        value: dict[str, JsonValue] = {"room": self.room.to_json(), "roomTtlMs": _milliseconds(self.room_ttl)}
        if self.chat_ttl is not None:
            value["messages"] = [message.to_json() for message in self.messages]
            value["chatTtlMs"] = _milliseconds(self.chat_ttl)
        return value

    @classmethod
    def from_json(cls, value: Mapping[str, Any], *, where: str) -> Snapshot:
        """Return the snapshot that JSON values hold.

        Args:
            value: as `to_json` returns it.
            where: it comes from, for the error.

        Raises:
            CorruptRecordError: they are no snapshot. The error holds nothing of them but ids.
        """
        try:
            room, room_ttl = from_wire(Room, _bytes(value["room"]), key=where), _duration(value["roomTtlMs"])
            if "chatTtlMs" not in value:
                return cls(room, room_ttl)
            entries = cast("list[object]", value["messages"])
            messages = tuple(from_wire(ChatMessage, _bytes(entry), key=where) for entry in entries)
            return cls(room, room_ttl, messages, _duration(value["chatTtlMs"]))
        except KeyError as error:
            reason = f"it has no {error}"
        except (TypeError, OverflowError, RecursionError):
            reason = "a field holds what it can't be"
        except ValueError as error:
            reason = str(error)
        raise CorruptRecordError(where, reason)


@runtime_checkable
class SupportsRestore(Protocol):
    """A store that can put a room back as it was. No store has to; `wnc-store import` uses it where it is there."""

    async def restore(self, snapshot: Snapshot, *, replace: bool = False) -> None:
        """Atomically store a room and its chat as they were, listed, with what is left of their TTLs.

        `rev` stays what it was, and no limit but the number of kept messages applies: all of it was stored before. What
        had no end is given a full TTL.

        Args:
            snapshot: the room and its chat.
            replace: whether a live room of that id, and its chat, are replaced.

        Raises:
            RoomExistsError: a live room has that id, and `replace` is false; nothing is changed.
        """
        ...


def _milliseconds(ttl: timedelta) -> int | None:
    return None if ttl == timedelta.max else ttl // _MILLISECOND


def _duration(milliseconds: float | None) -> timedelta:
    return timedelta.max if milliseconds is None else timedelta(milliseconds=milliseconds)


def _bytes(value: object) -> bytes:
    return json.dumps(value).encode()
