"""Payloads of NOTIFY. The server limits their size, so a large event is sent in several parts.

A payload is `<event>.<part>/<parts> <room id> <JSON>`. The notifications of a transaction arrive together and in order,
so the parts of an event follow one another. The number of the event makes payloads of a transaction unique: the server
drops repeated ones.
"""

from __future__ import annotations

from collections.abc import Sequence

from wnc_store import SecretBytes
from wnc_store.base import EncodedEvent

MAX_PART_BYTES = 7500
"""Bytes of JSON in a payload. The server accepts 7999 bytes, and the header has at most 160."""


def encode_payloads(room_id: str, encoded_events: Sequence[EncodedEvent]) -> list[bytes]:
    """Return the payloads of the events of one transaction."""
    payloads: list[bytes] = []
    for number, event in enumerate(encoded_events):
        parts = _split(event.data)
        for position, part in enumerate(parts, start=1):
            header = f"{number}.{position}/{len(parts)} {room_id} "
            payloads.append(SecretBytes(header.encode() + part))
    return payloads


def _split(data: bytes) -> Sequence[bytes]:
    """Split UTF-8 between characters."""
    parts: list[bytes] = []
    while len(data) > MAX_PART_BYTES:
        end = MAX_PART_BYTES
        while data[end] & 0xC0 == 0x80:  # noqa: PLR2004 - a continuation byte is 10xxxxxx
            end -= 1
        parts.append(data[:end])
        data = data[end:]
    return [*parts, data]


class PayloadDecoder:
    """Joins the parts of events."""

    def __init__(self) -> None:
        self._room_id = ""
        self._parts: list[str] = []

    def decode(self, payload: str) -> tuple[str, bytes | None] | None:
        """Return the id of the room and the JSON of an event, when its last part has arrived.

        The JSON is None if a part is missing or the payload is not one of ours. Returns None before the last part.
        """
        header, _, rest = payload.partition(" ")
        room_id, _, text = rest.partition(" ")
        position = header.partition(".")[2].partition("/")
        if not (position[0].isdigit() and position[2].isdigit()):
            return room_id, None
        part, parts = int(position[0]), int(position[2])
        if part == 1:
            self._room_id, self._parts = room_id, []
        if (self._room_id, len(self._parts)) != (room_id, part - 1):
            return room_id, None
        self._parts.append(text)
        if part < parts:
            return None
        joined, self._parts = "".join(self._parts), []
        return room_id, joined.encode("utf-8", "surrogatepass")
