"""Mutants of the Redis backend, run on the fake server."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from broken_stores.mutant import Mutants
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
    "a_failing_edit_of_a_message_has_no_effect",
    "a_removed_message_is_gone",
    "an_edit_beyond_a_limit_is_rejected",
    "an_edit_gets_the_stored_message",
    "an_edit_that_changes_an_id_is_rejected",
    "an_edit_to_an_invalid_message_is_rejected",
    "an_edited_message_keeps_its_author",
    "an_edited_message_keeps_its_position",
    "chat_reads_see_edits_of_other_clients",
    "concurrent_edits_of_a_message_are_all_applied",
    "concurrent_edits_of_two_clients_are_all_applied",
    "damaged_neighbours_of_an_edit_are_preserved",
    "edits_of_messages_are_published",
    "every_value_survives_an_edit",
)
def timestamps_are_in_seconds(message: ChatMessage, suffix: str) -> bytes:
    """Store the timestamp of a message in seconds."""
    return to_wire(message.model_copy(update={"timestamp": int(message.timestamp) // 1000}), suffix)


@MUTANTS.breaks(
    (RedisRoomStore, "_get"),
    "a_corrupt_room_is_not_absent",
    "corrupt_records_are_not_disclosed",
    "a_room_under_another_id_is_corrupt",
    "an_unreadable_room_does_not_hide_others",
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


MUTANTS.breaks_script(
    "the ids of messages are compared as JSON",
    (redis_chat, "APPEND"),
    "and may_have_id(entry)",
    "and entry:find(id, 1, true)",
    "message_ids_are_compared_as_text",
    "any_message_id_is_accepted",
)
MUTANTS.breaks_script(
    "chats are not trimmed",
    (redis_chat, "APPEND"),
    "redis.call('LTRIM', KEYS[1], first, last)",
    "",
    "trimmed_messages_are_deleted",
)
MUTANTS.breaks_script(
    "a counter without a TTL is not repaired",
    (redis_limiters, "HIT"),
    "ttl < 0",
    "count == tonumber(ARGV[1])",
    "a_counter_without_a_ttl_is_repaired",
    "hits_are_stored_as_node_counters",
)


@MUTANTS.breaks((redis_rooms, "parse_pttl"), "a_room_without_a_ttl_never_expires")
def a_key_without_a_ttl_is_absent(pttl: int) -> timedelta | None:
    """Treat a key without a TTL as absent."""
    return parse_pttl(pttl) if pttl >= 0 else None


MUTANTS.breaks_script(
    "an index without a TTL gets one",
    (redis_storage, "COMMIT"),
    "ttl >= 0 and",
    "true and",
    "an_external_index_keeps_its_rooms",
)
MUTANTS.breaks_script(
    "a commit is published before its version check",
    (redis_storage, "COMMIT"),
    "local stored =",
    "publish()\npublish = function() end\nlocal stored =",
    "calls_without_effect_are_not_published",
)


@MUTANTS.breaks((RedisChatStore, "_add"), "any_corrupt_message_is_skipped")
async def a_corrupt_message_counts_as_stored(self: RedisChatStore, message: ChatMessage) -> None:
    """Treat a message as stored if a corrupt entry has its id."""
    entries = await self._commands.read(b"LRANGE", self._keys.chat(message.room_id), b"-20", b"-1")
    if not any(f'"id":"{message.id}","roomId"'.encode() in entry for entry in entries):
        await add(self, message)
