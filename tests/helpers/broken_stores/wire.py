"""Mutants of the Redis backend, run on the fake server."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

from broken_stores.mutant import Mutant, Mutants
from redis_harnesses import FakeHarness
from wnc_store import ChatMessage, CorruptRecordError, Room, to_wire
from wnc_store.records import codec
from wnc_store.records.codec import parse_json
from wnc_store.records.frozen import json_depth
from wnc_store_redis import chat as redis_chat
from wnc_store_redis import limiters as redis_limiters
from wnc_store_redis import room_storage as redis_storage
from wnc_store_redis import rooms as redis_rooms
from wnc_store_redis.chat import RedisChatStore
from wnc_store_redis.codec import parse_pttl
from wnc_store_redis.rooms import RedisRoomStore
from wnc_store_redis.scripts import APPEND, COMMIT, HIT
from wnc_store_redis.transport.executor import Script

MUTANTS = Mutants(FakeHarness)

get_room = RedisRoomStore._get
get_messages, add = RedisChatStore._get_messages, RedisChatStore._add


@MUTANTS.breaks(
    (redis_storage, "to_wire"),
    "an_absent_host_token_stays_absent",
    "node_rooms_are_preserved",
)
def an_absent_token_becomes_null(room: Room, suffix: str) -> bytes:
    """Store an absent host token as null."""
    data = to_wire(room, suffix)
    return data if b"hostToken" in data else data.replace(b'"videoUrl"', b'"hostToken":null,"videoUrl"')


@MUTANTS.breaks(
    (redis_chat, "to_wire"),
    "a_message_is_stored_as_node_json",
    "a_message_is_read_back",
    "a_lone_surrogate_is_deduplicated",
    "node_messages_are_preserved",
    "an_oversized_message_is_published_as_resync",
    "deep_values_of_a_message_are_limited",
)
def timestamps_are_in_seconds(message: ChatMessage, suffix: str) -> bytes:
    """Store the timestamp of a message in seconds."""
    return to_wire(message.model_copy(update={"timestamp": int(message.timestamp) // 1000}), suffix)


@MUTANTS.breaks(
    (RedisRoomStore, "_get"),
    "a_corrupt_room_is_not_absent",
    "corrupt_records_are_not_disclosed",
    "a_room_under_another_id_is_corrupt",
)
async def a_corrupt_room_is_absent(self: RedisRoomStore, room_id: str) -> Room | None:
    """Treat an unreadable room as absent."""
    try:
        return await get_room(self, room_id)
    except CorruptRecordError:
        return None


@MUTANTS.breaks((RedisChatStore, "_get_messages"), "a_corrupt_message_is_skipped", "any_corrupt_message_is_skipped")
async def a_corrupt_message_empties_the_chat(self: RedisChatStore, room_id: str) -> Sequence[ChatMessage]:
    """Return no messages if one is unreadable."""
    messages = await get_messages(self, room_id)
    entries = await self._commands.read(b"LRANGE", self._keys.chat(room_id), b"0", b"-1")
    return messages if len(messages) == len(entries) else []


def edited(script: Script[Any], old: str, new: str) -> Script[Any]:
    """Return a script in which `new` replaces `old`, which must occur."""
    source = script.source.decode()
    assert old in source
    return replace(script, source=source.replace(old, new).encode())


@MUTANTS.breaks(
    (codec, "parse_json"),
    "deep_rooms_of_other_writers_are_preserved",
    "deep_messages_of_other_writers_are_read",
)
def deep_json_is_corrupt(data: bytes) -> object:
    """Read JSON with a parser that accepts only 200 levels."""
    if json_depth(value := parse_json(data)) > 200:
        raise ValueError
    return value


MUTANTS.append(
    Mutant(
        "the ids of messages are compared as JSON",
        (redis_chat, "APPEND"),
        edited(APPEND, "and may_have_id(entry)", "and entry:find(id, 1, true)"),
        frozenset({"test_message_ids_are_compared_as_text", "test_any_message_id_is_accepted"}),
        FakeHarness,
    )
)
MUTANTS.append(
    Mutant(
        "chats are not trimmed",
        (redis_chat, "APPEND"),
        edited(APPEND, "redis.call('LTRIM', KEYS[1], -tonumber(ARGV[3]), -1)", ""),
        frozenset({"test_trimmed_messages_are_deleted"}),
        FakeHarness,
    )
)
MUTANTS.append(
    Mutant(
        "a counter without a TTL is not repaired",
        (redis_limiters, "HIT"),
        edited(HIT, "ttl < 0", "count == tonumber(ARGV[1])"),
        frozenset({"test_a_counter_without_a_ttl_is_repaired", "test_hits_are_stored_as_node_counters"}),
        FakeHarness,
    )
)


@MUTANTS.breaks((redis_rooms, "parse_pttl"), "a_room_without_a_ttl_never_expires")
def a_key_without_a_ttl_is_absent(pttl: int) -> timedelta | None:
    """Treat a key without a TTL as absent."""
    return parse_pttl(pttl) if pttl >= 0 else None


MUTANTS.append(
    Mutant(
        "an index without a TTL gets one",
        (redis_storage, "COMMIT"),
        edited(COMMIT, "ttl >= 0 and", "true and"),
        frozenset({"test_an_external_index_keeps_its_rooms"}),
        FakeHarness,
    )
)
MUTANTS.append(
    Mutant(
        "a commit is published before its version check",
        (redis_storage, "COMMIT"),
        edited(COMMIT, "local stored =", "publish()\npublish = function() end\nlocal stored ="),
        frozenset({"test_calls_without_effect_are_not_published"}),
        FakeHarness,
    )
)


@MUTANTS.breaks((RedisChatStore, "_add"), "any_corrupt_message_is_skipped")
async def a_corrupt_message_counts_as_stored(self: RedisChatStore, message: ChatMessage) -> None:
    """Treat a message as stored if a corrupt entry has its id."""
    entries = await self._commands.read(b"LRANGE", self._keys.chat(message.room_id), b"-20", b"-1")
    if not any(f'"id":"{message.id}","roomId"'.encode() in entry for entry in entries):
        await add(self, message)
