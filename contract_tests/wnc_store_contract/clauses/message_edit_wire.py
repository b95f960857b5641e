"""Clauses about the stored JSON and the events of messages that are edited and removed."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from wnc_store import (
    MessageChanged,
    MessageRemoved,
    MessagesCleared,
    Resync,
    RoomEvent,
    to_wire,
)
from wnc_store_contract.clause import ContractContext, clause
from wnc_store_contract.clauses.changes import chat_events_of
from wnc_store_contract.clauses.chat import message_ids
from wnc_store_contract.clauses.events import next_event
from wnc_store_contract.clauses.message_edits import count, fill, setting
from wnc_store_contract.factories import MAX_DEPTH, ROOM, message, nested, node_record, parsed
from wnc_store_contract.harness import Capability


class MessageEditWireClauses:
    """Clauses about what other writers and subscribers see of `edit_message` and `remove_message`."""

    @clause(Capability.CHAT, Capability.RAW)
    async def test_damaged_neighbours_of_an_edit_are_preserved(self, context: ContractContext) -> None:
        """Edits and removals leave the unreadable entries and the messages that Node wrote byte for byte unchanged."""
        store, raw = await context.open(), context.harness.raw
        plain = node_record("message_plain")
        others = [b"", b"{", b"\xff", b'{"id":"m1"}', plain, b"null"]
        for entry in others[:3]:
            await raw.push_chat(ROOM, entry)
        await fill(store, 2)
        for entry in others[3:]:
            await raw.push_chat(ROOM, entry)
        assert await store.chat.edit_message(ROOM, "m1", count) is not None
        stored = await raw.get_chat(ROOM)
        assert [entry for number, entry in enumerate(stored) if number not in {3, 4}] == others
        assert parsed(stored[3]) == {**parsed(to_wire(message(1))), "count": 1}
        assert await store.chat.remove_message(ROOM, "m1") is True
        stored = await raw.get_chat(ROOM)
        assert [entry for number, entry in enumerate(stored) if number != 3] == others
        assert parsed(stored[3]) == parsed(to_wire(message(2)))

    @clause(Capability.CHAT, Capability.RAW)
    async def test_deep_values_of_a_message_survive_an_edit(self, context: ContractContext) -> None:
        """A message in which Node nested a value too deep can be edited, unless the edit nests a value deeper."""
        store, raw = await context.open(), context.harness.raw
        for value in nested(MAX_DEPTH + 1):
            await raw.push_chat(ROOM, json.dumps({**message(1).to_json(), "deep": value}).encode())
            assert await store.chat.edit_message(ROOM, "m1", count) is not None
            with pytest.raises(ValueError, match="64 levels deep"):
                await store.chat.edit_message(ROOM, "m1", setting(deep=[value]))
            assert await store.chat.get_messages(ROOM) == [message(1, deep=value, count=1)]
            await store.chat.clear_messages(ROOM)

    @clause(Capability.CHAT, Capability.RAW)
    async def test_node_messages_can_be_edited(self, context: ContractContext) -> None:
        """A message that Node wrote, in any spelling, is edited and removed, and its other fields are preserved."""
        store, raw = await context.open(), context.harness.raw
        for spelling in (rb'"id":"\u006d1"', rb'"\u0069d":"m1"', b'"id" : "m1"'):
            entry = node_record("message_with_extra_fields")
            message_id = parsed(entry)["id"]
            entry = entry.replace(b'"id":"%s"' % message_id.encode(), spelling, 1)
            await raw.push_chat(ROOM, entry)
            assert await store.chat.edit_message(ROOM, "m1", setting(message="new")) is not None
            (stored,) = await raw.get_chat(ROOM)
            assert parsed(stored) == {**parsed(entry), "id": "m1", "message": "new"}
            assert await store.chat.remove_message(ROOM, "m1") is True
            assert await raw.get_chat(ROOM) == []

    @clause(Capability.CHAT, Capability.RAW)
    async def test_an_id_that_is_stored_twice_is_edited_as_one(self, context: ContractContext) -> None:
        """If a writer stored an id twice, the newest message is edited and replaces both; a removal removes both."""
        store, raw = await context.open(), context.harness.raw
        for text, number in (("old", 1), ("other", 2), ("newest", 1)):
            await raw.push_chat(ROOM, to_wire(message(number, message=text)))
        edited = await store.chat.edit_message(ROOM, "m1", count)
        assert edited == message(1, message="newest", count=1)
        assert await store.chat.get_messages(ROOM) == [edited, message(2, message="other"), edited]
        assert await store.chat.edit_message(ROOM, "m1", count) == message(1, message="newest", count=2)
        assert await store.chat.remove_message(ROOM, "m1") is True
        assert await message_ids(store) == ["m2"]

    @clause(Capability.CHAT, Capability.RAW)
    async def test_a_message_without_a_ttl_is_repaired(self, context: ContractContext) -> None:
        """An edit gives the full TTL to a chat that another writer stored without one, and so does a removal."""
        store, raw = await context.open(), context.harness.raw
        for room_id, write in (
            ("A", lambda: store.chat.edit_message("A", "m1", count)),
            ("B", lambda: store.chat.remove_message("B", "m1")),
        ):
            for number in (1, 2):
                await raw.push_chat(room_id, to_wire(message(number, room_id)))
            await context.advance(172_800)
            assert await write()
            await context.advance(86_400)
            assert await store.chat.get_messages(room_id) == []

    @clause(Capability.CHAT, Capability.EVENTS)
    async def test_edits_of_messages_are_published(self, context: ContractContext) -> None:
        """An edit publishes MessageChanged, a removal MessageRemoved; calls that find no message publish nothing."""
        store = await context.open(publish_changes=True)
        await fill(store)
        chat = store.chat
        expected: tuple[tuple[Callable[[], Awaitable[object]], list[RoomEvent]], ...] = (
            (lambda: chat.edit_message(ROOM, "m1", count), [MessageChanged(room_id=ROOM, message=message(1, count=1))]),
            (lambda: chat.edit_message(ROOM, "m9", count), []),
            (lambda: chat.remove_message(ROOM, "m1"), [MessageRemoved(room_id=ROOM, message_id="m1")]),
            (lambda: chat.remove_message(ROOM, "m1"), []),
        )
        for call, events in expected:
            assert await chat_events_of(store, call) == events

    @clause(Capability.CHAT, Capability.EVENTS, Capability.SHARED)
    async def test_edits_are_published_only_if_enabled(self, context: ContractContext) -> None:
        """Without publish_changes, edits, removals and clearing publish nothing."""
        store, publishing = await context.open(), await context.open(publish_changes=True)
        await fill(store)

        async def change() -> None:
            await store.chat.edit_message(ROOM, "m1", count)
            await store.chat.remove_message(ROOM, "m1")
            await store.chat.clear_messages(ROOM)

        assert await chat_events_of(publishing, change) == []

    @clause(Capability.CHAT, Capability.EVENTS)
    async def test_an_oversized_edit_is_published_as_resync(self, context: ContractContext) -> None:
        """An edit whose event would exceed max_event_bytes is stored and published as a Resync."""
        store = await context.open(publish_changes=True, max_event_bytes=1024)
        await fill(store)
        call = lambda: store.chat.edit_message(ROOM, "m1", setting(message="x" * 1024))  # noqa: E731
        assert await chat_events_of(store, call) == [Resync(room_id=ROOM)]

    @clause(Capability.CHAT, Capability.EVENTS)
    async def test_an_edit_can_be_read_when_its_event_arrives(self, context: ContractContext) -> None:
        """A subscriber that reads the chat when an event of an edit, removal or clearing arrives reads its effect."""
        store = await context.open(publish_changes=True)
        await fill(store)

        async def read_on_event(events: AsyncIterator[RoomEvent]) -> tuple[type[RoomEvent], int]:
            event = await next_event(events)
            stored = await store.chat.get_messages(ROOM)
            return type(event), len(stored) + sum(entry.model_extra.get("count", 0) for entry in stored)

        writes: tuple[tuple[Callable[[], Awaitable[object]], tuple[type[RoomEvent], int]], ...] = (
            (lambda: store.chat.edit_message(ROOM, "m1", count), (MessageChanged, 4)),
            (lambda: store.chat.remove_message(ROOM, "m2"), (MessageRemoved, 3)),
            (lambda: store.chat.clear_messages(ROOM), (MessagesCleared, 0)),
        )
        for write, expected in writes:
            async with store.events.subscribe(ROOM) as events:
                reading = asyncio.ensure_future(read_on_event(events))
                await write()
                assert await reading == expected
