"""Snapshots of rooms with their chats and remaining TTLs, for export and import."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Protocol, cast, runtime_checkable

from pydantic import JsonValue

from wnc_store.base.ids import check_id
from wnc_store.errors import CorruptRecordError
from wnc_store.records.codec import from_wire, to_json_text
from wnc_store.records.models import ChatMessage, Room

_MILLISECOND = timedelta(milliseconds=1)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A room, its chat and their remaining TTLs.

    Attributes:
        room: The room, including the host token.
        room_ttl: Remaining TTL of the room. `timedelta.max` if the room has no TTL.
        messages: The stored messages, oldest first.
        chat_ttl: Remaining TTL of the chat. `timedelta.max` if the chat has no TTL, None if the chat does not exist.

    Raises:
        InvalidIdError: The id of the room is invalid.
        ValueError: A TTL is below one millisecond.
    """

    room: Room
    room_ttl: timedelta
    messages: tuple[ChatMessage, ...] = ()
    chat_ttl: timedelta | None = None

    def __post_init__(self) -> None:
        check_id("room id", self.room.id)
        chat_ttl = timedelta.max if self.chat_ttl is None else self.chat_ttl
        if min(self.room_ttl, chat_ttl) < _MILLISECOND:
            raise ValueError(f"the TTLs of room {self.room.id!r} and its chat must be at least 1 millisecond")

    def to_json(self) -> dict[str, JsonValue]:
        """Return the snapshot as JSON values. Room and messages are as stored, including the host token.

        TTLs are in milliseconds, null for no TTL. `messages` and `chatTtlMs` are present if there is a chat.
        """
        value: dict[str, JsonValue] = {"room": self.room.to_json(), "roomTtlMs": _milliseconds(self.room_ttl)}
        if self.chat_ttl is not None:
            value["messages"] = [message.to_json() for message in self.messages]
            value["chatTtlMs"] = _milliseconds(self.chat_ttl)
        return value

    @classmethod
    def from_json(cls, value: Mapping[str, Any], *, where: str) -> Snapshot:
        """Create a snapshot from JSON values.

        Args:
            value: A result of `to_json`.
            where: Origin of the value, for the error message.

        Raises:
            CorruptRecordError: The value is not a snapshot. The message contains nothing of the value except ids.
        """
        try:
            room, room_ttl = from_wire(Room, _bytes(value["room"]), key=where), _duration(value["roomTtlMs"])
            if "chatTtlMs" not in value:
                return cls(room, room_ttl)
            entries = cast("list[object]", value["messages"])
            messages = tuple(from_wire(ChatMessage, _bytes(entry), key=where) for entry in entries)
            return cls(room, room_ttl, messages, _duration(value["chatTtlMs"]))
        except KeyError as error:
            reason = f"the field {error} is missing"
        except (TypeError, OverflowError):
            reason = "a field has a value of the wrong type"
        except ValueError as error:
            reason = str(error)
        raise CorruptRecordError(where, reason)


@runtime_checkable
class SupportsRestore(Protocol):
    """Optional interface of a store that can restore snapshots. `wnc-store import` uses it."""

    async def restore(self, snapshot: Snapshot, *, replace: bool = False) -> None:
        """Atomically store a room and its chat with their remaining TTLs, and add the room to the index.

        `rev` is stored unchanged. No limit applies except `chat_history_limit`, because the data was stored before. A
        record without a TTL gets the full TTL.

        Args:
            snapshot: The room and its chat.
            replace: Whether to replace a live room with this id, and its chat.

        Raises:
            RoomExistsError: A live room has this id and `replace` is False. Nothing changed.
        """
        ...


def _milliseconds(ttl: timedelta) -> int | None:
    return None if ttl == timedelta.max else ttl // _MILLISECOND


def _duration(milliseconds: float | None) -> timedelta:
    return timedelta.max if milliseconds is None else timedelta(milliseconds=milliseconds)


def _bytes(value: object) -> bytes:
    return to_json_text(value).encode()
