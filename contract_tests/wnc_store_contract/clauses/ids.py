"""Clauses about ids: validation and distinctness."""

from __future__ import annotations

import pytest

from wnc_store import InvalidIdError, Room
from wnc_store_contract.calls import all_raise, chat_calls, like, room_calls, user_calls
from wnc_store_contract.clause import ContractContext, clause
from wnc_store_contract.factories import message, room, user
from wnc_store_contract.harness import Capability

INVALID_IDS = ["", " ", "a b", "a\n", "a*", "{a}", "a/b", "å", "x" * 500, "\ud83d", "a\x00"]
INVALID_TEXT_IDS = [
    "",
    " ",
    " a",
    "a\t",
    "a\n",
    "\u00a0a",
    "a\u2028",
    "a\x00b",
    "a\x7f",
    "a\x85b",
    "x" * 129,
    "a\ud83d",
]
UNUSUAL_TEXT_IDS = (
    *("auth0|ann", "auth0|Ann", "google-oauth2|117", "ben@example.com", "ann smith", "a/b", "1", "01", "1.0", "%", "_"),
    *(
        '"',
        "\\",
        "\\u0041",
        "{a}",
        "[a]*?",
        "'; --",
        "<b>",
        "a\u2028b",
        "null",
        "\u00e5",
        "a\u030a",
        "\ufb01",
        "\U0001f37f",
    ),
    *("x" * 127 + "y", "x" * 127 + "z", "\U0001f37f" * 128),
)
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
        for bad in INVALID_TEXT_IDS:
            await all_raise(InvalidIdError, user_calls(store.rooms, bad))
        assert await store.rooms.get_room("A3X9K2") == before
        assert await store.rooms.room_exists("other") is False

    @clause(Capability.CHAT)
    async def test_invalid_chat_ids_are_rejected(self, context: ContractContext) -> None:
        """Every method of the chat raises InvalidIdError for an invalid room id, message id or user id."""
        store = await context.open()
        for bad in INVALID_IDS:
            await all_raise(InvalidIdError, chat_calls(store.chat, bad))
        for bad in INVALID_TEXT_IDS:
            for invalid in (message(1, id=bad), message(1, user_id=bad)):
                with pytest.raises(InvalidIdError):
                    await store.chat.add_message(invalid)
            with pytest.raises(InvalidIdError):
                await store.chat.edit_message("A3X9K2", bad, like)
            with pytest.raises(InvalidIdError):
                await store.chat.remove_message("A3X9K2", bad)
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
    async def test_any_user_id_is_accepted(self, context: ContractContext) -> None:
        """User ids of any characters are distinct: each user joins, becomes host, rejoins and leaves."""
        store = await context.open()
        await store.rooms.create_room(room())
        for user_id in UNUSUAL_TEXT_IDS:
            await store.rooms.add_user_to_room("A3X9K2", user(user_id))
        stored = await store.rooms.get_room("A3X9K2")
        assert stored is not None
        assert [member.id for member in stored.users] == ["host", *UNUSUAL_TEXT_IDS]
        for number, user_id in enumerate(UNUSUAL_TEXT_IDS, start=1):
            assert (await store.rooms.transfer_host("A3X9K2", user_id)).host_id == user_id
            assert (await store.rooms.add_user_to_room("A3X9K2", user(user_id))).users[-1].id == user_id
            left = await store.rooms.remove_user_from_room("A3X9K2", user_id)
            assert left is not None
            assert [member.id for member in left.users] == ["host", *UNUSUAL_TEXT_IDS[number:]]

    @clause(Capability.CHAT)
    async def test_any_message_id_is_accepted(self, context: ContractContext) -> None:
        """Message ids of any characters are distinct: each is added once, edited and removed."""
        store = await context.open(chat_history_limit=2 * len(UNUSUAL_TEXT_IDS))
        for _ in range(2):
            for message_id in UNUSUAL_TEXT_IDS:
                await store.chat.add_message(message(1, id=message_id, user_id=message_id, message="cut \ud83d"))
        stored = await store.chat.get_messages("A3X9K2")
        assert [(entry.id, entry.user_id) for entry in stored] == [(sent, sent) for sent in UNUSUAL_TEXT_IDS]
        for message_id in UNUSUAL_TEXT_IDS:
            edited = await store.chat.edit_message("A3X9K2", message_id, like)
            assert edited is not None
            assert edited.id == message_id
        stored = await store.chat.get_messages("A3X9K2")
        assert {entry.model_extra["likes"] for entry in stored} == {1}
        for number, message_id in enumerate(UNUSUAL_TEXT_IDS, start=1):
            assert await store.chat.remove_message("A3X9K2", message_id) is True
            assert await store.chat.get_messages("A3X9K2") == stored[number:]

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
