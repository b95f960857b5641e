"""Clauses about chats: order, history, duplicates."""

from __future__ import annotations

import pytest

from wnc_store import ChatMessage, Store
from wnc_store_contract.clause import ContractContext, clause
from wnc_store_contract.factories import NON_INTEGERS, message, room
from wnc_store_contract.harness import Capability


async def message_ids(store: Store, limit: int | None = None) -> list[str]:
    """Return the ids of the stored messages, in order."""
    return [entry.id for entry in await store.chat.get_messages("A3X9K2", limit)]


def id_range(first: int, last: int) -> list[str]:
    """Return the ids of the messages from `first` to `last`."""
    return [f"m{number}" for number in range(first, last + 1)]


class ChatClauses:
    """Clauses about the messages of a room."""

    @clause(Capability.CHAT)
    async def test_a_new_chat_is_empty(self, context: ContractContext) -> None:
        """A room without messages has an empty chat and no chat TTL."""
        store = await context.open()
        assert await store.chat.get_messages("A3X9K2") == []
        assert await store.chat.chat_ttl("A3X9K2") is None

    @clause(Capability.CHAT)
    async def test_a_message_is_read_back(self, context: ContractContext) -> None:
        """A message is read back with all its fields, even without a live room."""
        store = await context.open()
        sent = message(1, message='line1\nline2 "quoted" 👩‍👩‍👧 </script>', type="user", reactions={"👍": ["u1"]})
        await store.chat.add_message(sent)
        assert await store.chat.get_messages("A3X9K2") == [sent]

    @clause(Capability.CHAT)
    async def test_an_invalid_message_is_rejected(self, context: ContractContext) -> None:
        """Adding a message that its model does not allow raises ValueError and stores nothing."""
        store = await context.open()
        with pytest.raises(ValueError, match="message"):
            await store.chat.add_message(message(1).model_copy(update={"message": ["not a text"]}))
        assert await message_ids(store) == []

    @clause(Capability.CHAT)
    async def test_messages_are_returned_oldest_first(self, context: ContractContext) -> None:
        """Messages are returned in the order in which they were added, independent of their timestamps."""
        store = await context.open()
        for number in (1, 2, 3):
            await store.chat.add_message(message(number, timestamp=1767225600000 - number))
        assert await message_ids(store) == id_range(1, 3)

    @clause(Capability.CHAT)
    async def test_twenty_messages_are_kept(self, context: ContractContext) -> None:
        """A chat keeps the last 20 messages: the 21st message removes the first."""
        store = await context.open()
        for number in range(1, 21):
            await store.chat.add_message(message(number))
        assert await message_ids(store) == id_range(1, 20)
        for number in range(21, 26):
            await store.chat.add_message(message(number))
        assert await message_ids(store) == id_range(6, 25)

    @clause(Capability.CHAT)
    async def test_the_history_limit_is_configurable(self, context: ContractContext) -> None:
        """A chat keeps chat_history_limit messages."""
        store = await context.open(chat_history_limit=3)
        for number in range(1, 6):
            await store.chat.add_message(message(number))
        assert await message_ids(store) == id_range(3, 5)

    @clause(Capability.CHAT)
    async def test_a_limit_returns_the_newest_messages(self, context: ContractContext) -> None:
        """get_messages(limit=n) returns the newest n messages, oldest first."""
        store = await context.open()
        for number in range(1, 6):
            await store.chat.add_message(message(number))
        assert await message_ids(store, 2) == id_range(4, 5)
        assert await message_ids(store, 0) == []
        assert await message_ids(store, 100) == id_range(1, 5)

    @clause(Capability.CHAT)
    async def test_a_negative_limit_is_rejected(self, context: ContractContext) -> None:
        """get_messages with a limit that is negative, or is not an integer (such as 1.5 or True), raises ValueError."""
        store = await context.open()
        for limit in (-1, *NON_INTEGERS):
            with pytest.raises(ValueError, match="limit"):
                await store.chat.get_messages("A3X9K2", limit)

    @clause(Capability.CHAT)
    async def test_a_repeated_message_has_no_effect(self, context: ContractContext) -> None:
        """Adding a message whose id is stored already has no effect, even if its text differs."""
        store = await context.open()
        for number in (1, 2):
            await store.chat.add_message(message(number))
        await store.chat.add_message(message(1, message="again"))
        stored = await store.chat.get_messages("A3X9K2")
        assert [(entry.id, entry.message) for entry in stored] == [("m1", "text 1"), ("m2", "text 2")]

    @clause(Capability.CHAT)
    async def test_the_oldest_message_is_still_deduplicated(self, context: ContractContext) -> None:
        """Adding the oldest of 20 stored messages again has no effect."""
        store = await context.open()
        for number in range(1, 21):
            await store.chat.add_message(message(number))
        await store.chat.add_message(message(1))
        assert await message_ids(store) == id_range(1, 20)

    @clause(Capability.CHAT)
    async def test_a_message_that_is_not_kept_is_added_again(self, context: ContractContext) -> None:
        """A message whose id was stored before can be added again after it was trimmed, deleted or has expired."""
        store = await context.open(chat_history_limit=2)
        for number in (1, 2, 3, 1):
            await store.chat.add_message(message(number))
        assert await message_ids(store) == ["m3", "m1"]
        await context.advance(86400)
        await store.chat.add_message(message(1))
        assert await message_ids(store) == ["m1"]
        await store.rooms.delete_room("A3X9K2")
        await store.chat.add_message(message(1))
        assert await message_ids(store) == ["m1"]

    @clause(Capability.CHAT, Capability.SHARED)
    async def test_a_message_is_deduplicated_among_those_that_its_client_keeps(self, context: ContractContext) -> None:
        """A client with a smaller chat_history_limit adds a message that only others keep again, and only once."""
        large, small = await context.open(), await context.open(chat_history_limit=2)
        for number in (1, 2, 3):
            await large.chat.add_message(message(number))
        for _ in range(2):
            await small.chat.add_message(message(1))
            assert await message_ids(large) == ["m3", "m1"]

    @clause(Capability.CHAT)
    async def test_only_the_message_id_deduplicates(self, context: ContractContext) -> None:
        """A message is not a duplicate because its id occurs inside another message."""
        store = await context.open()
        await store.chat.add_message(message(1, message='"id":"m2"', replyTo={"id": "m2", "messageId": "m2"}))
        await store.chat.add_message(message(2))
        assert await message_ids(store) == id_range(1, 2)

    @clause(Capability.CHAT)
    async def test_a_lone_surrogate_is_deduplicated(self, context: ContractContext) -> None:
        """A message with a lone surrogate, as JavaScript produces it, is stored, and adding it again has no effect."""
        store = await context.open()
        broken = message(1, message="\\\\ cut \ud83d", user_name="\ude00")
        await store.chat.add_message(broken)
        await store.chat.add_message(broken)
        assert await store.chat.get_messages("A3X9K2") == [broken]

    @clause(Capability.CHAT)
    async def test_chats_are_independent(self, context: ContractContext) -> None:
        """Two chats may contain messages with the same id."""
        store = await context.open()
        await store.chat.add_message(message(1, "A"))
        await store.chat.add_message(message(1, "B"))
        assert len(await store.chat.get_messages("A")) == 1
        assert len(await store.chat.get_messages("B")) == 1

    @clause(Capability.CHAT)
    async def test_clear_deletes_the_messages(self, context: ContractContext) -> None:
        """clear_messages empties the chat, keeps the room, and accepts new messages afterwards."""
        store = await context.open()
        await store.rooms.create_room(room())
        await store.chat.add_message(message(1))
        await store.chat.add_message(message(2, "other"))
        await store.chat.clear_messages("A3X9K2")
        assert await message_ids(store) == []
        assert await store.rooms.room_exists("A3X9K2") is True
        assert len(await store.chat.get_messages("other")) == 1
        await store.chat.add_message(message(1))
        assert await message_ids(store) == ["m1"]

    @clause(Capability.CHAT)
    async def test_clearing_an_empty_chat_has_no_effect(self, context: ContractContext) -> None:
        """clear_messages on an empty chat has no effect."""
        store = await context.open()
        await store.chat.clear_messages("A3X9K2")
        assert await message_ids(store) == []

    @clause(Capability.CHAT)
    async def test_the_returned_list_is_a_copy(self, context: ContractContext) -> None:
        """Changing the list that get_messages returned does not change the chat."""
        store = await context.open()
        await store.chat.add_message(message(1))
        stored: list[ChatMessage] = await store.chat.get_messages("A3X9K2")
        stored.clear()
        assert await message_ids(store) == ["m1"]
