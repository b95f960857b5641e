"""Mistakes in what the Redis backend writes and reads, made on the fake server."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

from broken_stores.mutant import Mistakes, Mutant
from fake_redis import FakeHarness
from wnc_store import ChatMessage, CorruptRecordError, Room, to_wire
from wnc_store.base import VersionedRoom
from wnc_store_redis import chat as redis_chat
from wnc_store_redis import limiters as redis_guards
from wnc_store_redis import room_storage as redis_commit_path
from wnc_store_redis import rooms as redis_rooms
from wnc_store_redis.chat import RedisChatStore
from wnc_store_redis.codec import parse_pttl
from wnc_store_redis.rooms import RedisRoomStore
from wnc_store_redis.scripts import APPEND, COMMIT, HIT, Script

MUTANTS = Mistakes(FakeHarness)

load = RedisRoomStore._get
read_chat, append = RedisChatStore._get_messages, RedisChatStore._add


@MUTANTS.breaks(
    (redis_commit_path, "encode_with_nonce"),
    "an_absent_host_token_stays_absent",
    "node_rooms_are_preserved",
)
def an_absent_token_becomes_null(room: Room) -> bytes:
    """A room that has no host token is written with one that is null."""
    data = to_wire(room)
    return data if b"hostToken" in data else data.replace(b'"videoUrl"', b'"hostToken":null,"videoUrl"')


@MUTANTS.breaks(
    (redis_chat, "encode_with_nonce"),
    "a_message_is_stored_as_node_json",
    "a_message_is_read_back",
    "a_lone_surrogate_is_deduplicated",
    "node_messages_are_preserved",
    "an_oversized_message_is_published_as_resync",
)
def a_timestamp_in_seconds(message: ChatMessage) -> bytes:
    """The time of a message is not in milliseconds."""
    return to_wire(message.model_copy(update={"timestamp": int(message.timestamp) // 1000}))


@MUTANTS.breaks(
    (RedisRoomStore, "_get"),
    "a_corrupt_room_is_not_absent",
    "corrupt_records_are_not_disclosed",
    "a_room_under_another_id_is_corrupt",
)
async def a_corrupt_room_is_absent(self: RedisRoomStore, room_id: str) -> VersionedRoom[bytes] | None:
    """A room that can't be read is taken for one that is not there."""
    try:
        return await load(self, room_id)
    except CorruptRecordError:
        return None


@MUTANTS.breaks((RedisChatStore, "_get_messages"), "a_corrupt_message_is_skipped", "any_corrupt_message_is_skipped")
async def a_corrupt_message_hides_the_others(self: RedisChatStore, room_id: str) -> Sequence[ChatMessage]:
    """One bad entry, and the chat is empty."""
    messages = await read_chat(self, room_id)
    return messages if len(messages) == await self._commands.read(b"LLEN", self._keys.chat(room_id)) else []


def without(script: Script, line: str) -> Script:
    """Return a script that lacks the lines with certain words."""
    kept = [one for one in script.source.decode().splitlines() if line not in one]
    source = "\n".join(kept).encode()
    return replace(script, source=source)


MUTANTS.append(
    Mutant(
        "nothing is trimmed",
        (redis_chat, "APPEND"),
        without(APPEND, "LTRIM"),
        frozenset({"test_trimmed_messages_are_deleted"}),
        FakeHarness,
    )
)
MUTANTS.append(
    Mutant(
        "a count is never given an end again",
        (redis_guards, "HIT"),
        replace(HIT, source=HIT.source.replace(b"left < 0", b"count == tonumber(ARGV[1])")),
        frozenset({"test_a_counter_without_a_ttl_is_repaired"}),
        FakeHarness,
    )
)


@MUTANTS.breaks((redis_rooms, "parse_pttl"), "a_room_without_a_ttl_never_expires")
def what_never_expires_is_gone(pttl: int) -> timedelta | None:
    """A key without a TTL is taken for one that is not there."""
    return parse_pttl(pttl) if pttl >= 0 else None


MUTANTS.append(
    Mutant(
        "an index without an end is given one",
        (redis_commit_path, "COMMIT"),
        replace(COMMIT, source=COMMIT.source.replace(b"left >= 0 and", b"true and")),
        frozenset({"test_an_external_index_keeps_its_rooms"}),
        FakeHarness,
    )
)
MUTANTS.append(
    Mutant(
        "a commit is told before it is sure",
        (redis_commit_path, "COMMIT"),
        replace(
            COMMIT,
            source=COMMIT.source.replace(b"local stored =", b"publish()\npublish = function() end\nlocal stored ="),
        ),
        frozenset({"test_calls_without_effect_are_not_published"}),
        FakeHarness,
    )
)


@MUTANTS.breaks((RedisChatStore, "_add"), "any_corrupt_message_is_skipped")
async def a_damaged_message_counts_as_kept(self: RedisChatStore, message: ChatMessage) -> None:
    """What the server finds under a message's id is not looked at again."""
    kept = await self._commands.read(b"LRANGE", self._keys.chat(message.room_id), b"-20", b"-1")
    if not any(f'"id":"{message.id}","roomId"'.encode() in entry for entry in kept):
        await append(self, message)
