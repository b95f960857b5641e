"""Clauses about ids: validation and distinctness."""

from __future__ import annotations

import pytest

from wnc_store import InvalidIdError, Room
from wnc_store_contract.calls import all_raise, chat_calls, room_calls, user_calls
from wnc_store_contract.clause import ContractContext, clause
from wnc_store_contract.factories import message, room
from wnc_store_contract.harness import Capability

INVALID_IDS = ["", " ", "a b", "a\n", "a*", "{a}", "a/b", "å", "x" * 500, "\ud83d", "a\x00"]
SIMILAR_IDS = ("a_b", "axb", "A_B", "a-b", "a.b", "a:b", "a__b", "7", "007", "7.0", "7e0")


class IdClauses:
    """Clauses about the ids that methods take."""

    @clause()
    async def test_invalid_room_ids_are_rejected(self, context: ContractContext) -> None:
        """Every method that takes a room id raises InvalidIdError for an invalid one."""
        store = await context.open()
        for bad in INVALID_IDS:
            await all_raise(InvalidIdError, room_calls(store.rooms, bad))

    @clause()
    async def test_invalid_user_ids_are_rejected(self, context: ContractContext) -> None:
        """Every method that takes a user raises InvalidIdError for an invalid user id and changes nothing."""
        store = await context.open()
        await store.rooms.create_room(room())
        before = await store.rooms.get_room("A3X9K2")
        for bad in INVALID_IDS:
            await all_raise(InvalidIdError, user_calls(store.rooms, bad))
        assert await store.rooms.get_room("A3X9K2") == before
        assert await store.rooms.room_exists("other") is False

    @clause(Capability.CHAT)
    async def test_invalid_chat_ids_are_rejected(self, context: ContractContext) -> None:
        """Every method of the chat raises InvalidIdError for an invalid room or message id."""
        store = await context.open()
        for bad in INVALID_IDS:
            await all_raise(InvalidIdError, chat_calls(store.chat, bad))
            with pytest.raises(InvalidIdError):
                await store.chat.add_message(message(1, id=bad))
        assert await store.chat.get_messages("A3X9K2") == []

    @clause()
    async def test_unusual_valid_ids_are_accepted(self, context: ContractContext) -> None:
        """Ids of 1 and of 128 characters, and ids with every allowed character, are accepted."""
        store = await context.open()
        for room_id in ("a", "x" * 128, "A-Z_a.z:0-9", "..", "-"):
            await store.rooms.create_room(room(room_id))
            stored = await store.rooms.get_room(room_id)
            assert isinstance(stored, Room)
            assert stored.id == room_id

    @clause()
    async def test_rooms_with_similar_ids_are_distinct(self, context: ContractContext) -> None:
        """Ids that differ in case, leading zeros or one character name different rooms."""
        store = await context.open()
        for room_id in SIMILAR_IDS:
            await store.rooms.create_room(room(room_id, f"host-of-{room_id}"))
        for number, deleted in enumerate(SIMILAR_IDS, start=1):
            assert await store.rooms.delete_room(deleted) is True
            for room_id in SIMILAR_IDS[number:]:
                stored = await store.rooms.get_room(room_id)
                assert stored is not None
                assert stored.host_id == f"host-of-{room_id}"

    @clause(Capability.CHAT)
    async def test_chats_with_similar_ids_are_distinct(self, context: ContractContext) -> None:
        """Ids that differ in case, leading zeros or one character name different chats."""
        store = await context.open()
        for number, room_id in enumerate(SIMILAR_IDS):
            await store.chat.add_message(message(number, room_id))
        for number, cleared in enumerate(SIMILAR_IDS):
            assert [entry.id for entry in await store.chat.get_messages(cleared)] == [f"m{number}"]
            await store.chat.clear_messages(cleared)

    @clause(Capability.CONNECTIONS)
    async def test_connections_with_similar_keys_are_distinct(self, context: ContractContext) -> None:
        """Connections with similar keys or ids are counted and released separately."""
        store = await context.open()
        for key in SIMILAR_IDS:
            await store.connections.acquire(key, "c_1")
            await store.connections.acquire(key, "cx1")
        for key in SIMILAR_IDS:
            await store.connections.release(key, "c_1")
            assert await store.connections.count(key) == 1
        for key in SIMILAR_IDS:
            assert await store.connections.count(key) == 1

    @clause(Capability.RATE_LIMITS)
    async def test_rate_limits_with_similar_keys_are_distinct(self, context: ContractContext) -> None:
        """Hits of similar keys are counted and reset separately."""
        store = await context.open()
        first = [(await store.rate_limits.hit(key)).remaining for key in SIMILAR_IDS]
        assert len(set(first)) == 1
        for number, key in enumerate(SIMILAR_IDS):
            await store.rate_limits.reset(key)
            assert [(await store.rate_limits.hit(similar)).remaining for similar in SIMILAR_IDS[number + 1 :]] == [
                first[0] - number - 1
            ] * (len(SIMILAR_IDS) - number - 1)
