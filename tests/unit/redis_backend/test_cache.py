"""What a Redis store remembers of rooms and chats: no more than it may, and nothing that was not just compared."""

from __future__ import annotations

from collections.abc import Sequence

from wnc_store import ChatMessage, Room, from_wire, to_wire
from wnc_store.base import VersionedRoom
from wnc_store_contract.factories import message, room
from wnc_store_redis.cache import ChatCache, RoomCache
from wnc_store_redis.tails import Tails
from wnc_store_redis.transport.statistics import Statistics


def stored(room_id: str, video_url: str = "") -> VersionedRoom[bytes]:
    """Return a room as it is stored."""
    made = room(room_id, video_url=video_url)
    return VersionedRoom(made, to_wire(made))


class Decoder:
    """Reads rooms and messages, and counts what it read."""

    def __init__(self) -> None:
        self.read: list[bytes] = []

    def room(self, _room_id: str, data: bytes) -> Room:
        """Read a room."""
        self.read.append(data)
        return from_wire(Room, data, key="k")

    def messages(self, entries: Sequence[bytes]) -> list[ChatMessage]:
        """Read messages; what begins with a question mark can't be read."""
        self.read += entries
        return [from_wire(ChatMessage, entry, key="k") for entry in entries if not entry.startswith(b"?")]


SIZE = len(stored("A").version)
ENTRIES = [to_wire(message(number, "A")) for number in range(4)]


def test_the_rooms_seen_last_are_remembered() -> None:
    """Of three rooms where two have room, the one that was seen first is forgotten; one that has gone is, too."""
    rooms = RoomCache(2 * SIZE, Statistics())
    for room_id in "ABC":
        rooms.put(stored(room_id))
    assert [rooms.get(room_id) for room_id in "ABC"] == [None, stored("B"), stored("C")]
    rooms.forget("B")
    rooms.forget("nobody")
    assert rooms.get("B") is None


def test_a_room_that_grew_too_large_is_forgotten() -> None:
    """A room larger than all that may be remembered is not; nor is what it was before. Others are."""
    rooms = RoomCache(2 * SIZE, Statistics())
    rooms.put(stored("A"))
    rooms.put(stored("B"))
    rooms.put(stored("B", "https://video.example/" + "x" * 2 * SIZE))
    assert rooms.get("B") is None
    assert rooms.get("A") == stored("A")
    nothing = RoomCache(0, Statistics())
    nothing.put(stored("A"))
    assert nothing.get("A") is None


def test_a_room_is_parsed_once_for_the_same_bytes() -> None:
    """A room's bytes are parsed when they are new, and the parsed room is remembered."""
    rooms, decoder = RoomCache(10 * SIZE, Statistics()), Decoder()
    first, changed = stored("A"), stored("A", "https://video.example/1")
    assert rooms.read("A", first.version, decoder.room) == first
    assert rooms.read("A", first.version, decoder.room) is rooms.get("A")
    assert rooms.read("A", changed.version, decoder.room) == changed
    assert rooms.get("A") == changed
    assert decoder.read == [first.version, changed.version]


def test_what_was_known_of_rooms_is_counted() -> None:
    """A room whose bytes are those seen last is a hit, and any other a miss."""
    counts, decoder = Statistics(), Decoder()
    rooms = RoomCache(10 * SIZE, counts)
    for room_id in "ABCABCAB":
        rooms.read(room_id, stored(room_id).version, decoder.room)
    assert (counts.cache_hits, counts.cache_misses) == (5, 3)


def test_what_was_known_of_chats_is_counted() -> None:
    """A chat whose entries are those seen last is a hit, and any other a miss."""
    counts, decoder = Statistics(), Decoder()
    chats = ChatCache(10_000, counts)
    for most in (1, 2, 3, 3, 3):
        chats.read("A", ENTRIES[:most], decoder.messages)
    assert (counts.cache_hits, counts.cache_misses) == (2, 3)


def test_only_new_entries_are_parsed() -> None:
    """Of a chat's entries those are parsed that were not among the last ones, and messages keep their order."""
    chats, decoder = ChatCache(10_000, Statistics()), Decoder()
    assert [one.id for one in chats.read("A", ENTRIES[:2], decoder.messages)] == ["m0", "m1"]
    assert [one.id for one in chats.read("A", ENTRIES[1:], decoder.messages)] == ["m1", "m2", "m3"]
    again = chats.read("A", ENTRIES[1:], decoder.messages)
    assert chats.read("A", ENTRIES[1:], decoder.messages) is again
    assert decoder.read == ENTRIES
    assert [one.id for one in chats.read("A", ENTRIES[:1], decoder.messages)] == ["m0"]
    assert decoder.read == [*ENTRIES, ENTRIES[0]]
    assert chats.read("B", ENTRIES[:1], decoder.messages) == [from_wire(ChatMessage, ENTRIES[0], key="k")]
    assert len(decoder.read) == 6


def test_an_entry_that_can_not_be_read_is_left_out() -> None:
    """What can't be read is left out, each time, and hides none of the others."""
    chats, decoder = ChatCache(10_000, Statistics()), Decoder()
    for _ in range(2):
        assert [one.id for one in chats.read("A", [ENTRIES[0], b"?", ENTRIES[1]], decoder.messages)] == ["m0", "m1"]
    assert decoder.read == [ENTRIES[0], b"?", ENTRIES[1]]
    assert len(chats.read("A", [ENTRIES[0], b"?", ENTRIES[1], ENTRIES[2]], decoder.messages)) == 3
    assert decoder.read == [ENTRIES[0], b"?", ENTRIES[1], b"?", ENTRIES[2]]


def test_chats_are_remembered_up_to_their_bytes() -> None:
    """Chats count with their bytes, and one for each entry: what is too large is forgotten, and what it was before."""
    most = sum(map(len, ENTRIES[:2])) + 2
    chats, decoder = ChatCache(most, Statistics()), Decoder()
    for room_id, entries in (("A", ENTRIES[:1]), ("B", ENTRIES[:1]), ("A", ENTRIES[:1]), ("B", ENTRIES[:1])):
        chats.read(room_id, entries, decoder.messages)
    assert len(decoder.read) == 2
    chats.read("A", ENTRIES[:3], decoder.messages)
    chats.read("A", ENTRIES[:1], decoder.messages)
    assert len(decoder.read) == 5
    chats.read("C", ENTRIES[:2], decoder.messages)
    chats.read("C", ENTRIES[:2], decoder.messages)
    assert len(decoder.read) == 7
    chats.read("A", ENTRIES[:1], decoder.messages)
    assert len(decoder.read) == 8


def test_chats_without_messages_are_not_remembered() -> None:
    """However many chats are empty, nothing is remembered of them, nor of what one held before it was cleared."""
    decoder = Decoder()
    chats = ChatCache(1000, Statistics())
    assert [chats.read(f"chat-{number}", [], decoder.messages) for number in range(100)] == [()] * 100
    assert len(chats._chats) == 0
    chats.read("A", ENTRIES[:1], decoder.messages)
    assert list(chats.read("A", [], decoder.messages)) == []
    assert len(chats._chats) == 0


def test_the_ends_of_chats_are_remembered_up_to_their_bytes() -> None:
    """Of three ends where two have room, the one used first is forgotten; so is one that grows, or is empty."""
    size = len(ENTRIES[0]) + 32 * 2
    tails = Tails(2 * size, limit=2)
    for room_id in "ABC":
        tails.record_append(room_id, "m0", ENTRIES[0], b"", kept=1)
    assert [tails.append_hint(room_id, "m1") for room_id in "ABC"] == [(b"", b""), *[(ENTRIES[0], ENTRIES[0])] * 2]
    tails.record_append("B", "m1", b"x" * 2 * size, ENTRIES[0], kept=2)
    assert tails.append_hint("B", "m2") == (b"", b"")
    tails.read("C", [], [])
    assert tails.append_hint("C", "m1") == (b"", b"")
    nothing = Tails(0, limit=2)
    nothing.read("A", ENTRIES[:1], Decoder().messages(ENTRIES[:1]))
    assert nothing.append_hint("A", "m1") == (b"", b"")
