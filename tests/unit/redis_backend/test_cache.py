"""Tests of the LRU caches of rooms and chats."""

from __future__ import annotations

import pytest

from wnc_store import ChatMessage, Room, from_wire, to_wire
from wnc_store.base import ChatDecoder, VersionedRoom
from wnc_store_contract.factories import message, room
from wnc_store_redis.cache import ChatCache, RoomCache
from wnc_store_redis.codec import nonces
from wnc_store_redis.transport.statistics import Statistics


def stored(room_id: str, video_url: str = "") -> VersionedRoom[bytes]:
    """Return a room with its stored bytes."""
    versioned = room(room_id, video_url=video_url)
    return VersionedRoom(versioned, to_wire(versioned))


class CountingDecoder(ChatDecoder):
    """A decoder of chats.

    Attributes:
        decoded: the entries of each call.
        failure: the error of each call, or None.
    """

    def __init__(self) -> None:
        super().__init__()
        self.decoded: list[bytes] = []
        self.failure: BaseException | None = None

    def decode(self, key: str, entry: bytes) -> ChatMessage | None:
        """See `ChatDecoder.decode`."""
        if self.failure is not None:
            raise self.failure
        self.decoded.append(entry)
        return super().decode(key, entry)


SIZE = len(stored("A").version)
ENTRIES = [to_wire(message(number, "A"), nonce) for number, nonce in zip(range(4), nonces(), strict=False)]
ANOTHER = to_wire(message(9, "A"), next(nonces()))
ID_BYTES = 32
LIMIT = 20


def cached_chats(
    decoder: ChatDecoder | None = None,
    max_bytes: int = 10_000,
    limit: int = LIMIT,
    statistics: Statistics | None = None,
) -> ChatCache:
    """Return a cache of chats."""
    return ChatCache(max_bytes, limit, str.encode, decoder or ChatDecoder(), statistics or Statistics())


def cached_room(rooms: RoomCache, room_id: str) -> Room | None:
    """Return the decoded room that is cached."""
    versioned = rooms.get(room_id)
    return versioned and versioned.room


def append(  # noqa: PLR0913 - see `CachedChat.record_append`
    chats: ChatCache, room_id: str, message_id: str, entry: bytes, previous: bytes, *, count: int
) -> None:
    """Record an append as the chat store does."""
    chat = chats[room_id]
    chat.append_hint(message_id)
    if chat.record_append(message_id, entry, previous, count):
        chats.put(room_id, chat)


def append_hint(chats: ChatCache, room_id: str, message_id: str) -> tuple[bytes, bytes]:
    """Return the hint for an append as the chat store uses it."""
    chat = chats.get(room_id)
    return (b"", b"") if chat is None else chat.append_hint(message_id)


def test_the_least_recently_used_room_is_evicted() -> None:
    """A cache with space for two rooms evicts the first of three; a discarded room is not cached."""
    rooms = RoomCache(2 * SIZE, Statistics())
    for room_id in "ABC":
        rooms.put(stored(room_id))
    assert [rooms.get(room_id) for room_id in "ABC"] == [None, stored("B"), stored("C")]
    rooms.discard("B")
    rooms.discard("unknown")
    assert rooms.get("B") is None


def test_a_room_that_exceeds_the_cache_is_removed() -> None:
    """A room larger than the whole cache is not cached, and replaces its earlier version."""
    rooms = RoomCache(2 * SIZE, Statistics())
    rooms.put(stored("A"))
    rooms.put(stored("B"))
    rooms.put(stored("B", "https://video.example/" + "x" * 2 * SIZE))
    assert rooms.get("B") is None
    assert rooms.get("A") == stored("A")
    disabled = RoomCache(0, Statistics())
    disabled.put(stored("A"))
    assert disabled.get("A") is None


def test_equal_room_bytes_are_decoded_once() -> None:
    """A room is decoded only if its bytes differ from the cached bytes."""
    rooms = RoomCache(10 * SIZE, Statistics())
    first, changed = stored("A"), stored("A", "https://video.example/1")
    assert rooms.decode(b"room", "A", first.version) == first
    assert rooms.decode_room(b"room", "A", first.version) is cached_room(rooms, "A")
    assert rooms.decode(b"room", "A", changed.version) == changed
    assert rooms.get("A") == changed


def test_room_hits_and_misses_are_counted() -> None:
    """Reading a room whose bytes are cached is a hit, and any other read is a miss."""
    statistics = Statistics()
    rooms = RoomCache(10 * SIZE, statistics)
    for room_id in "ABCABCAB":
        rooms.decode(b"room", room_id, stored(room_id).version)
    assert (statistics.cache_hits, statistics.cache_misses) == (5, 3)


def test_chat_hits_and_misses_are_counted() -> None:
    """Reading a chat whose entries are cached is a hit, and any other read is a miss."""
    statistics = Statistics()
    chats = cached_chats(statistics=statistics)
    for size in (1, 2, 3, 3, 3):
        chats.decode("A", ENTRIES[:size])
    assert (statistics.cache_hits, statistics.cache_misses) == (2, 3)


def test_only_new_entries_are_decoded() -> None:
    """Only entries that the last read did not return are decoded, and messages keep their order."""
    chats = cached_chats(decoder := CountingDecoder())
    assert [m.id for m in chats.decode("A", ENTRIES[:2])] == ["m0", "m1"]
    assert [m.id for m in chats.decode("A", ENTRIES[1:])] == ["m1", "m2", "m3"]
    cached = chats.decode("A", ENTRIES[1:])
    assert chats.decode("A", ENTRIES[1:]) is cached
    assert decoder.decoded == ENTRIES
    assert [m.id for m in chats.decode("A", ENTRIES[:1])] == ["m0"]
    assert decoder.decoded == [*ENTRIES, ENTRIES[0]]
    assert chats.decode("B", ENTRIES[:1]) == [from_wire(ChatMessage, ENTRIES[0], key="k")]
    assert len(decoder.decoded) == 6


def test_an_entry_that_cannot_be_decoded_is_left_out() -> None:
    """A corrupt entry is left out of every read, and the other messages are returned."""
    chats = cached_chats(decoder := CountingDecoder())
    for _ in range(2):
        assert [m.id for m in chats.decode("A", [ENTRIES[0], b"?", ENTRIES[1]])] == ["m0", "m1"]
    assert decoder.decoded == [ENTRIES[0], b"?", ENTRIES[1]]
    assert len(chats.decode("A", [ENTRIES[0], b"?", ENTRIES[1], ENTRIES[2]])) == 3
    assert decoder.decoded == [ENTRIES[0], b"?", ENTRIES[1], b"?", ENTRIES[2]]


def test_chats_are_evicted_by_size() -> None:
    """The size of a chat is that of its entries and its ids; a chat that is too large is removed."""
    max_bytes = sum(map(len, ENTRIES[:2])) + ID_BYTES
    chats = cached_chats(decoder := CountingDecoder(), max_bytes, limit=1)
    chats.decode("A", ENTRIES[:2])
    chats.decode("A", ENTRIES[:2])
    assert len(decoder.decoded) == 2
    chats.decode("A", ENTRIES[:3])
    chats.decode("A", ENTRIES[:1])
    assert len(decoder.decoded) == 4
    chats.decode("B", ENTRIES[:1])
    chats.decode("A", ENTRIES[:1])
    assert len(decoder.decoded) == 6
    smaller = cached_chats(max_bytes=max_bytes - 1, limit=1)
    smaller.decode("A", ENTRIES[:2])
    assert len(smaller) == 0


def test_empty_chats_are_not_cached() -> None:
    """Reading an empty chat removes it from the cache."""
    chats = cached_chats()
    assert [chats.decode(f"chat-{number}", []) for number in range(100)] == [()] * 100
    assert len(chats) == 0
    chats.decode("A", ENTRIES[:1])
    assert list(chats.decode("A", [])) == []
    assert len(chats) == 0


def test_append_hints_are_evicted_by_size() -> None:
    """A cache with space for two hints evicts the first of three, a hint that grows, and the hint of an empty chat."""
    size = len(ENTRIES[0]) + ID_BYTES * 2
    chats = cached_chats(max_bytes=2 * size, limit=2)
    for room_id in "ABC":
        append(chats, room_id, "m0", ENTRIES[0], b"", count=1)
    assert [append_hint(chats, room_id, "m1") for room_id in "ABC"] == [(b"", b""), *[(ENTRIES[0], ENTRIES[0])] * 2]
    append(chats, "B", "m1", b"x" * 2 * size, ENTRIES[0], count=2)
    assert append_hint(chats, "B", "m2") == (b"", b"")
    chats.decode("C", [])
    assert append_hint(chats, "C", "m1") == (b"", b"")
    disabled = cached_chats(max_bytes=0)
    disabled.decode("A", ENTRIES[:1])
    assert append_hint(disabled, "A", "m1") == (b"", b"")


def test_concurrent_appends_share_what_is_known_of_a_chat() -> None:
    """Appends that begin before the chat was ever read or written know the newest entry afterwards."""
    chats = cached_chats()
    first, second = chats["A"], chats["A"]
    first.append_hint("m0")
    second.append_hint("m1")
    first.record_append("m0", ENTRIES[0], b"", 1)
    second.record_append("m1", ENTRIES[1], ENTRIES[0], 2)
    assert append_hint(chats, "A", "m2") == (ENTRIES[1], ENTRIES[1])


def test_a_failed_read_leaves_a_chat_unchanged() -> None:
    """If decoding is interrupted, the next read decodes the entries again."""
    chats = cached_chats(decoder := CountingDecoder())
    chats.decode("A", ENTRIES[:1])
    decoder.failure = MemoryError()
    with pytest.raises(MemoryError):
        chats.decode("A", ENTRIES)
    decoder.failure = None
    assert [m.id for m in chats.decode("A", ENTRIES)] == ["m0", "m1", "m2", "m3"]


def test_the_repr_of_a_cache_shows_no_content() -> None:
    """Tools that record local variables show neither rooms nor messages of a cache."""
    rooms, chats = RoomCache(2 * SIZE, Statistics()), cached_chats()
    rooms.put(stored("A"))
    chats.decode("A", ENTRIES)
    assert "host" not in repr(rooms)
    assert "m0" not in repr(chats)


def test_a_read_renews_the_append_hint() -> None:
    """After a read, the hint is the newest entry that was read, for ids that the chat does not contain."""
    chats = cached_chats()
    chats.decode("A", ENTRIES[:2])
    append(chats, "A", "m2", ENTRIES[2], ENTRIES[1], count=3)
    assert append_hint(chats, "A", "m3") == (ENTRIES[2], ENTRIES[2])
    assert append_hint(chats, "A", "m0") == (b"", ENTRIES[2])
    chats.decode("A", ENTRIES[:2])
    assert append_hint(chats, "A", "m2") == (ENTRIES[1], ENTRIES[1])
    chats.decode("A", ENTRIES[1:])
    assert append_hint(chats, "A", "m0") == (ENTRIES[3], ENTRIES[3])
    append(chats, "A", "m9", ANOTHER, b"an entry that was not read", count=5)
    assert append_hint(chats, "A", "m1") == (b"", ANOTHER)
