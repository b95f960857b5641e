"""Clauses about the stored JSON, which the Node app reads and writes too, by raw access."""

from __future__ import annotations

from datetime import timedelta

import pytest

from wnc_store import CorruptRecordError, RoomNotFoundError, VideoState
from wnc_store_contract.clause import ContractContext, clause
from wnc_store_contract.factories import message, node_record, node_records, parsed, room, user
from wnc_store_contract.harness import Capability

ODD_DATES = [b"0001-01-01T00:00:00+14:00", b"9999-12-31T23:59:59-14:00", b"SECRET"]
SPELLINGS = {
    "m1": [rb'"id":"\u006d1"', rb'"id":"m\u0031"', rb'"\u0069d":"m1"', rb'"i\u0064" : "m1"', b'"id"\t:\n"m1"'],
    "a/b": [rb'"id":"a\/b"', rb'"id":"a\u002fb"', rb'"id":"a\u002Fb"'],
    '"\\': [rb'"id":"\"\\"', rb'"id":"\u0022\u005c"', rb'"id": "\"\u005C"'],
    "\u00e4": [b'"id":"\xc3\xa4"', rb'"id":"\u00e4"', rb'"id":"\u00E4"'],
    "\U0001f37f": [
        b'"id":"\xf0\x9f\x8d\xbf"',
        rb'"id":"\ud83c\udf7f"',
        rb'"id":"\uD83C\uDF7F"',
        b'"id":"\xed\xa0\xbc\xed\xbd\xbf"',
        b'"id":"\xed\xa0\xbc\\udf7f"',
    ],
}
"""Ids, and the ways to write them in JSON."""
UNREADABLE_ROOMS = [
    *(node_record("room_new").replace(b"2026-01-01T00:00:00.000Z", date) for date in ODD_DATES),
    b"",
    b"{",
    b"null",
    b"[]",
    b"\xff\xfe",
    b'{"id":"A3X9K2"}',
    b'{"id":NaN}',
    b"[" * 5000,
]


class WireClauses:
    """Clauses about stored records and index entries."""

    @clause(Capability.RAW)
    async def test_a_room_is_stored_as_node_json(self, context: ContractContext) -> None:
        """A stored room is the JSON that the Node app writes, plus `rev`."""
        store, raw = await context.open(), context.harness.raw
        await store.rooms.create_room(room("A3X9K2", "host"))
        assert parsed(await raw.get_room("A3X9K2")) == {
            "id": "A3X9K2",
            "hostId": "host",
            "hostName": "Name of host",
            "hostToken": "token-of-the-host",
            "videoUrl": None,
            "videoType": None,
            "videoState": {"isPlaying": False, "currentTime": 12.5, "duration": 60, "lastUpdateTime": 1767225600000},
            "users": [
                {"id": "host", "name": "Name of host", "isHost": True, "joinedAt": "2026-01-01T12:00:00.125Z"},
            ],
            "createdAt": "2026-01-01T12:00:00.125Z",
            "rev": 1,
        }

    @clause(Capability.RAW)
    async def test_an_absent_host_token_stays_absent(self, context: ContractContext) -> None:
        """A room without a host token is stored without that field."""
        store, raw = await context.open(), context.harness.raw
        await store.rooms.create_room(room(host_token=None))
        assert "hostToken" not in parsed(await raw.get_room("A3X9K2"))

    @clause(Capability.RAW, Capability.CHAT)
    async def test_a_message_is_stored_as_node_json(self, context: ContractContext) -> None:
        """A stored message is the JSON that the Node app writes, and the newest message is last."""
        store, raw = await context.open(), context.harness.raw
        await store.chat.add_message(message(1, message="👩‍👩‍👧"))
        await store.chat.add_message(message(2))
        first, second = await raw.get_chat("A3X9K2")
        assert parsed(first) == {
            "id": "m1",
            "roomId": "A3X9K2",
            "userId": "host",
            "userName": "Host",
            "message": "👩‍👩‍👧",
            "timestamp": 1767225600001,
        }
        assert parsed(second)["id"] == "m2"

    @clause(Capability.RAW)
    async def test_node_rooms_are_preserved(self, context: ContractContext) -> None:
        """After a join, a room that Node wrote is JSON-equal except for its users and `rev`."""
        store, raw = await context.open(), context.harness.raw
        for name, record in node_records("room").items():
            before = parsed(record)
            await raw.put_room(before["id"], record)
            assert await store.rooms.get_room(before["id"]) is not None, name
            await store.rooms.add_user_to_room(before["id"], user("guest"))
            after = parsed(await raw.get_room(before["id"]))
            assert after.pop("rev") == 1, name
            assert after["users"].pop()["id"] == "guest", name
            assert after == before, name

    @clause(Capability.RAW, Capability.CHAT)
    async def test_node_messages_are_preserved(self, context: ContractContext) -> None:
        """Messages that Node wrote are read in order and are JSON-equal when they are written again."""
        store, raw = await context.open(), context.harness.raw
        records = list(node_records("message").values())
        for record in records:
            await raw.push_chat("A3X9K2", record)
        stored = await store.chat.get_messages("A3X9K2")
        assert len(stored) == len(records)
        for entry in stored:
            await store.chat.add_message(entry.model_copy(update={"room_id": "copy"}))
        copies = [parsed(entry) for entry in await raw.get_chat("copy")]
        assert [{**copy, "roomId": "A3X9K2"} for copy in copies] == [parsed(record) for record in records]

    @clause(Capability.RAW, Capability.CHAT)
    async def test_node_messages_are_deduplicated(self, context: ContractContext) -> None:
        """Adding a message whose id Node wrote already has no effect."""
        store, raw = await context.open(), context.harness.raw
        await raw.push_chat("A3X9K2", node_record("message_javascript_edges"))
        await store.chat.add_message(message(1, id="m5"))
        assert len(await raw.get_chat("A3X9K2")) == 1

    @clause(Capability.RAW, Capability.CHAT)
    async def test_message_ids_are_compared_as_text(self, context: ContractContext) -> None:
        """Adding a message whose id another writer stored in another JSON spelling has no effect."""
        store, raw = await context.open(), context.harness.raw
        plain = node_record("message_plain").replace(b'"id":"0d0c3c7c-7a8b-4a53-9a63-0f5f4c1f9a01"', b"%s")
        for name, spellings in SPELLINGS.items():
            for spelling in spellings:
                await raw.push_chat("A3X9K2", entry := plain % spelling)
                await store.chat.add_message(message(1, id=name))
                assert await raw.get_chat("A3X9K2") == [entry], spelling
                for other in (f"{name}2", "u00e4"):
                    await store.chat.add_message(message(1, id=other))
                assert [stored.id for stored in await store.chat.get_messages("A3X9K2")] == [name, f"{name}2", "u00e4"]
                await store.chat.clear_messages("A3X9K2")

    @clause(Capability.RAW)
    async def test_deep_rooms_of_other_writers_are_preserved(self, context: ContractContext) -> None:
        """A room whose extra fields are nested 500 levels deep is read, changed and written with these fields."""
        store, raw = await context.open(), context.harness.raw
        for number, (opening, closing) in enumerate([(b"[", b"]"), (b'{"a":', b"}")]):
            deep = b',"deep":' + opening * 500 + b"1" + closing * 500
            record = node_record("room_new")
            before = parsed(record[:-1] + deep + b"}")
            name = f"DEEP{number}"
            await raw.put_room(name, (record[:-1] + deep + b"}").replace(before["id"].encode(), name.encode()))
            await store.rooms.add_user_to_room(name, user("guest"))
            stored = await store.rooms.get_room(name)
            assert stored is not None
            await store.rooms.update_room(name, stored.replace(host_name="New"))
            await store.rooms.edit_room(name, lambda found: found.replace(host_name="Newer"))
            assert parsed(await raw.get_room(name))["deep"] == before["deep"]

    @clause(Capability.RAW, Capability.CHAT)
    async def test_deep_messages_of_other_writers_are_read(self, context: ContractContext) -> None:
        """A message whose extra fields are nested 500 levels deep is read, and its id is recognized."""
        store, raw = await context.open(), context.harness.raw
        entry = node_record("message_plain")[:-1] + b',"deep":' + b"[" * 500 + b"]" * 500 + b"}"
        await raw.push_chat("A3X9K2", entry)
        (read,) = await store.chat.get_messages("A3X9K2")
        await store.chat.add_message(message(1, id=read.id))
        assert await raw.get_chat("A3X9K2") == [entry]

    @clause(Capability.RAW)
    async def test_a_room_without_a_ttl_never_expires(self, context: ContractContext) -> None:
        """A room that another writer stored without a TTL does not expire, and its TTL is timedelta.max."""
        store, raw = await context.open(), context.harness.raw
        await raw.put_room("A3X9K2", node_record("room_new"))
        await context.advance(1000 * 24 * 3600)
        assert await store.rooms.room_ttl("A3X9K2") == timedelta.max
        assert await store.rooms.room_exists("A3X9K2") is True

    @clause(Capability.RAW, Capability.CHAT)
    async def test_trimmed_messages_are_deleted(self, context: ContractContext) -> None:
        """Adding a message deletes all stored messages beyond the limit, even if another writer kept more."""
        store, raw = await context.open(), context.harness.raw
        for _ in range(30):
            await raw.push_chat("A3X9K2", node_record("message_plain"))
        await store.chat.add_message(message(1))
        assert len(await raw.get_chat("A3X9K2")) == 20

    @clause(Capability.RAW, Capability.RATE_LIMITS)
    async def test_hits_are_stored_as_node_counters(self, context: ContractContext) -> None:
        """A rate limit is stored as a decimal integer and continues another writer's count."""
        store, raw = await context.open(rate_limit_max=10), context.harness.raw_hits
        await raw.put_hits("ip", b"7")
        assert (await store.rate_limits.hit("ip")).remaining == 2
        assert await raw.get_hits("ip") == b"8"

    @clause(Capability.RAW, Capability.RATE_LIMITS)
    async def test_a_counter_without_a_ttl_is_repaired(self, context: ContractContext) -> None:
        """A hit gives a window to a count that another writer stored without a TTL."""
        store, raw = await context.open(rate_limit_max=10), context.harness.raw_hits
        await raw.put_hits("ip", b"10")
        assert (await store.rate_limits.peek("ip")).allowed is False
        assert (await store.rate_limits.hit("ip")).allowed is False
        await context.advance(60)
        assert (await store.rate_limits.hit("ip")).remaining == 9

    @clause(Capability.RAW, Capability.RATE_LIMITS)
    async def test_an_invalid_counter_is_corrupt(self, context: ContractContext) -> None:
        """A rate limit whose value is not an integer raises CorruptRecordError and is left unchanged."""
        store, raw = await context.open(), context.harness.raw_hits
        await raw.put_hits("ip", b"many")
        for call in (store.rate_limits.hit, store.rate_limits.peek):
            with pytest.raises(CorruptRecordError):
                await call("ip")
        assert await raw.get_hits("ip") == b"many"

    @clause(Capability.RAW)
    async def test_a_room_without_a_ttl_is_repaired(self, context: ContractContext) -> None:
        """A write gives the full TTL to a room that another writer stored without one."""
        store, raw = await context.open(), context.harness.raw
        await raw.put_room("A3X9K2", node_record("room_new"))
        await context.advance(48 * 3600)
        await store.rooms.update_video_state("A3X9K2", VideoState())
        await context.advance(24 * 3600)
        assert await store.rooms.get_room("A3X9K2") is None

    @clause(Capability.RAW)
    async def test_a_corrupt_room_is_not_absent(self, context: ContractContext) -> None:
        """An unreadable room raises CorruptRecordError from reads and writes and is left unchanged."""
        store, raw = await context.open(), context.harness.raw
        for record in UNREADABLE_ROOMS:
            await raw.put_room("A3X9K2", record)
            for call in (
                lambda: store.rooms.get_room("A3X9K2"),
                lambda: store.rooms.add_user_to_room("A3X9K2", user("guest")),
                lambda: store.rooms.update_room("A3X9K2", room()),
                lambda: store.rooms.remove_user_from_room("A3X9K2", "guest"),
            ):
                with pytest.raises(CorruptRecordError):
                    await call()
            assert await raw.get_room("A3X9K2") == record

    @clause(Capability.RAW)
    async def test_a_corrupt_room_can_be_deleted(self, context: ContractContext) -> None:
        """delete_room deletes an unreadable room."""
        store, raw = await context.open(), context.harness.raw
        await raw.put_room("A3X9K2", b"{")
        assert await store.rooms.delete_room("A3X9K2") is True
        assert await raw.get_room("A3X9K2") is None

    @clause(Capability.RAW)
    async def test_corrupt_records_are_not_disclosed(self, context: ContractContext) -> None:
        """CorruptRecordError names the room and contains none of its stored values."""
        store, raw = await context.open(), context.harness.raw
        await raw.put_room(
            "A3X9K2", node_record("room_new").replace(b'"hostToken":"', b'"hostId":7,"hostToken":"SECRET')
        )
        with pytest.raises(CorruptRecordError, match="A3X9K2") as caught:
            await store.rooms.get_room("A3X9K2")
        shown = f"{caught.value!s}{caught.value!r}{caught.value.__cause__!r}{caught.value.__context__!r}"
        assert "SECRET" not in shown

    @clause(Capability.RAW)
    async def test_a_room_under_another_id_is_corrupt(self, context: ContractContext) -> None:
        """A room that is stored under another room's id raises CorruptRecordError."""
        store, raw = await context.open(), context.harness.raw
        await raw.put_room("other", node_record("room_new"))
        with pytest.raises(CorruptRecordError):
            await store.rooms.get_room("other")

    @clause(Capability.RAW, Capability.CHAT)
    async def test_a_corrupt_message_is_skipped(self, context: ContractContext) -> None:
        """An unreadable message is skipped, and the other 19 of 20 are returned."""
        store, raw = await context.open(), context.harness.raw
        for number in range(1, 20):
            await store.chat.add_message(message(number))
        await raw.push_chat("A3X9K2", b'{"id":"m20","roomId":"A3X9K2"}')
        assert [entry.id for entry in await store.chat.get_messages("A3X9K2")] == [
            f"m{number}" for number in range(1, 20)
        ]
        assert [entry.id for entry in await store.chat.get_messages("A3X9K2", 2)] == ["m18", "m19"]

    @clause(Capability.RAW, Capability.CHAT)
    async def test_any_corrupt_message_is_skipped(self, context: ContractContext) -> None:
        """Unreadable chat entries of any kind are skipped, and a message with the same id can be added."""
        store, raw = await context.open(), context.harness.raw
        damaged = node_record("message_iso_timestamp")
        for date in ODD_DATES:
            await raw.push_chat("A3X9K2", damaged.replace(b"2026-01-01T00:00:00.125Z", date))
        for entry in (b"", b"\xff", b"null", b'{"id":"m1"}', b'"m1"', b"[" * 5000):
            await raw.push_chat("A3X9K2", entry)
        for number in (1, 4):  # m4 is also the id of the damaged entries with invalid dates
            await store.chat.add_message(message(number))
        assert [entry.id for entry in await store.chat.get_messages("A3X9K2")] == ["m1", "m4"]

    @clause(Capability.RAW, Capability.LISTING)
    async def test_an_external_index_keeps_its_rooms(self, context: ContractContext) -> None:
        """Creating a room does not give a TTL to an index that another writer stored without one."""
        store, raw = await context.open(), context.harness.raw
        await raw.put_room("A3X9K2", node_record("room_new"))
        await store.rooms.create_room(room("other"))
        await context.advance(25 * 3600)
        assert [room_id async for room_id in store.rooms.active_room_ids()] == ["A3X9K2"]

    @clause(Capability.RAW, Capability.LISTING)
    async def test_an_index_entry_without_a_room_is_not_listed(self, context: ContractContext) -> None:
        """An index entry without a room is not listed and is removed by a sweep."""
        store, raw = await context.open(), context.harness.raw
        await raw.put_room("A3X9K2", node_record("room_new"))
        await raw.list_room("dead")
        assert [room_id async for room_id in store.rooms.active_room_ids()] == ["A3X9K2"]
        assert await store.rooms.sweep_active_rooms() == 1
        with pytest.raises(RoomNotFoundError):
            await store.rooms.edit_room("dead", lambda current: current)
