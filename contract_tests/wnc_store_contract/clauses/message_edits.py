"""Clauses about messages that are edited and removed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from wnc_store import ChatMessage, LimitExceededError, Store
from wnc_store_contract.clause import ContractContext, clause
from wnc_store_contract.clauses.chat import id_range, message_ids
from wnc_store_contract.factories import MAX_DEPTH, ROOM, message, nested
from wnc_store_contract.harness import Capability
from wnc_store_contract.operations import json_text

CALLERS = 20
Change = Callable[[ChatMessage], ChatMessage]


def setting(**fields: Any) -> Change:
    """Return a change that sets fields."""
    return lambda before: before.model_copy(update=fields)


def return_nothing(_before: ChatMessage) -> Any:
    """Return no message."""
    return None


def count(before: ChatMessage) -> ChatMessage:
    """Return a message with its count incremented."""
    return before.model_copy(update={"count": before.model_extra.get("count", 0) + 1})


async def fill(store: Store, numbers: int = 3, room_id: str = ROOM) -> None:
    """Add the messages m1, m2, ..."""
    for number in range(1, numbers + 1):
        await store.chat.add_message(message(number, room_id))


async def texts(store: Store) -> Sequence[tuple[str, str]]:
    """Return the ids and the texts of the stored messages."""
    return [(entry.id, entry.message) for entry in await store.chat.get_messages(ROOM)]


class MessageEditClauses:
    """Clauses about `edit_message` and `remove_message`."""

    @clause(Capability.CHAT)
    async def test_an_edited_message_keeps_its_position(self, context: ContractContext) -> None:
        """edit_message replaces a message, first, last or between, and returns it; the others are unchanged."""
        store = await context.open()
        await fill(store)
        for number in (1, 3, 2):
            edited = await store.chat.edit_message(ROOM, f"m{number}", setting(message=f"new {number}", edited=True))
            assert edited == message(number, message=f"new {number}", edited=True)
            assert edited in await store.chat.get_messages(ROOM)
        assert await texts(store) == [("m1", "new 1"), ("m2", "new 2"), ("m3", "new 3")]

    @clause(Capability.CHAT)
    async def test_an_edit_gets_the_stored_message(self, context: ContractContext) -> None:
        """The function of edit_message gets the message as it is stored, with its extra fields."""
        store = await context.open()
        sent = message(1, message="cut \ud83d", reactions={"👍": ["u1"]})
        await store.chat.add_message(sent)
        received: list[ChatMessage] = []

        def change(before: ChatMessage) -> ChatMessage:
            received.append(before)
            return before.with_extra({"reactions": {"👍": ["u1", "u2"]}})

        assert await store.chat.edit_message(ROOM, "m1", change) is not None
        assert received == [sent]
        assert await store.chat.get_messages(ROOM) == [sent.with_extra({"reactions": {"👍": ["u1", "u2"]}})]

    @clause(Capability.CHAT)
    async def test_a_missing_message_is_not_edited(self, context: ContractContext) -> None:
        """edit_message returns None, and does not call its function, if no stored message has the id."""
        store = await context.open()
        await fill(store)
        await store.chat.add_message(message(4, message='"id":"m5"', replyTo={"id": "m5"}))
        calls: list[ChatMessage] = []

        def change(before: ChatMessage) -> ChatMessage:
            calls.append(before)
            return before

        for room_id, message_id in ((ROOM, "m5"), (ROOM, "M1"), ("other", "m1")):
            assert await store.chat.edit_message(room_id, message_id, change) is None
        assert calls == []
        assert await message_ids(store) == id_range(1, 4)
        assert await store.chat.chat_ttl("other") is None

    @clause(Capability.CHAT)
    async def test_only_kept_messages_are_edited(self, context: ContractContext) -> None:
        """A message that was trimmed, cleared or removed, or has expired, is neither edited nor removed."""
        store = await context.open(chat_history_limit=2)
        await fill(store)
        assert await store.chat.edit_message(ROOM, "m1", count) is None
        assert await store.chat.remove_message(ROOM, "m1") is False
        assert await store.chat.remove_message(ROOM, "m2") is True
        assert await store.chat.edit_message(ROOM, "m2", count) is None
        await context.advance(86_400)
        assert await store.chat.edit_message(ROOM, "m3", count) is None
        assert await store.chat.remove_message(ROOM, "m3") is False
        assert await message_ids(store) == []

    @clause(Capability.CHAT)
    async def test_an_edit_that_changes_an_id_is_rejected(self, context: ContractContext) -> None:
        """edit_message raises ValueError if its function changes the id or the room id, and writes nothing."""
        store = await context.open()
        await fill(store)
        for name in ("id", "room_id"):
            with pytest.raises(ValueError, match=name):
                await store.chat.edit_message(ROOM, "m2", setting(**{name: "m3", "message": "new"}))
        assert await store.chat.get_messages(ROOM) == [message(number) for number in (1, 2, 3)]

    @clause(Capability.CHAT)
    async def test_an_edited_message_keeps_its_author(self, context: ContractContext) -> None:
        """edit_message raises ValueError if its function changes the user id. The author's name can be changed."""
        store = await context.open()
        await fill(store)
        for user_id in ("u2", ""):
            with pytest.raises(ValueError, match="user_id"):
                await store.chat.edit_message(ROOM, "m2", setting(user_id=user_id, message="new"))
        assert await store.chat.get_messages(ROOM) == [message(number) for number in (1, 2, 3)]
        edited = await store.chat.edit_message(ROOM, "m2", setting(user_name="Countess"))
        assert edited == message(2, user_name="Countess")

    @clause(Capability.CHAT)
    async def test_an_edit_to_an_invalid_message_is_rejected(self, context: ContractContext) -> None:
        """edit_message raises TypeError for another type, and ValueError for a value that can't be stored."""
        store = await context.open()
        await fill(store)
        with pytest.raises(TypeError):
            await store.chat.edit_message(ROOM, "m2", return_nothing)
        for change in (
            setting(message=["not a text"]),
            setting(timestamp="yesterday"),
            *(setting(deep=value) for value in nested(MAX_DEPTH + 1)),
        ):
            with pytest.raises(ValueError, match="stored"):
                await store.chat.edit_message(ROOM, "m2", change)
        assert await store.chat.get_messages(ROOM) == [message(number) for number in (1, 2, 3)]

    @clause(Capability.CHAT)
    async def test_an_edit_beyond_a_limit_is_rejected(self, context: ContractContext) -> None:
        """edit_message raises LimitExceededError for a text or user name above its limit, and writes nothing."""
        store = await context.open(max_message_length=10, max_name_length=10)
        await fill(store)
        for name in ("message", "user_name"):
            with pytest.raises(LimitExceededError):
                await store.chat.edit_message(ROOM, "m2", setting(**{name: "x" * 11}))
            assert await store.chat.edit_message(ROOM, "m1", setting(**{name: "x" * 10})) is not None
        assert (await store.chat.get_messages(ROOM))[1] == message(2)

    @clause(Capability.CHAT, Capability.SHARED)
    async def test_a_message_above_a_limit_can_be_edited(self, context: ContractContext) -> None:
        """A stored text or user name above a limit can be edited, unless the edit makes it longer."""
        await (await context.open()).chat.add_message(message(1, message="x" * 12, user_name="y" * 12))
        store = await context.open(max_message_length=10, max_name_length=10)
        for fields in ({"likes": 1}, {"message": "z" * 12}, {"message": "z" * 11}, {"user_name": "z" * 11}):
            assert await store.chat.edit_message(ROOM, "m1", setting(**fields)) is not None
        for fields in ({"message": "z" * 12}, {"user_name": "z" * 12}):
            with pytest.raises(LimitExceededError):
                await store.chat.edit_message(ROOM, "m1", setting(**fields))

    @clause(Capability.CHAT)
    async def test_a_failing_edit_of_a_message_has_no_effect(self, context: ContractContext) -> None:
        """An exception of edit_message's function reaches only its caller, and nothing is written."""
        store = await context.open()
        await fill(store)

        def fail(_before: ChatMessage) -> ChatMessage:
            raise LookupError

        edits = [store.chat.edit_message(ROOM, "m1", change) for change in (count, fail, count)]
        results = await asyncio.gather(*edits, return_exceptions=True)
        assert [type(result) for result in results] == [ChatMessage, LookupError, ChatMessage]
        assert (await store.chat.get_messages(ROOM))[0] == message(1, count=2)

    @clause(Capability.CHAT)
    async def test_a_removed_message_is_gone(self, context: ContractContext) -> None:
        """remove_message removes one message, first, last or between, and keeps the order of the others."""
        store = await context.open()
        await fill(store, 5)
        for number, remaining in ((3, [1, 2, 4, 5]), (1, [2, 4, 5]), (5, [2, 4])):
            assert await store.chat.remove_message(ROOM, f"m{number}") is True
            assert await store.chat.get_messages(ROOM) == [message(one) for one in remaining]
            assert await store.chat.remove_message(ROOM, f"m{number}") is False
        assert await store.chat.remove_message("other", "m2") is False

    @clause(Capability.CHAT)
    async def test_a_removed_message_can_be_added_again(self, context: ContractContext) -> None:
        """A message whose id was removed can be added again, as the newest one."""
        store = await context.open()
        await fill(store)
        assert await store.chat.remove_message(ROOM, "m2") is True
        await store.chat.add_message(message(2, message="again"))
        assert await texts(store) == [("m1", "text 1"), ("m3", "text 3"), ("m2", "again")]

    @clause(Capability.CHAT)
    async def test_an_edited_message_is_still_deduplicated(self, context: ContractContext) -> None:
        """Adding a message whose id belongs to an edited message has no effect, also beside a removed message."""
        store = await context.open()
        await fill(store)
        await store.chat.edit_message(ROOM, "m3", setting(message="new"))
        await store.chat.edit_message(ROOM, "m1", setting(message="new"))
        await store.chat.remove_message(ROOM, "m2")
        for number in (1, 3):
            await store.chat.add_message(message(number))
        assert await texts(store) == [("m1", "new"), ("m3", "new")]

    @clause(Capability.CHAT)
    async def test_removing_the_last_message_deletes_the_chat(self, context: ContractContext) -> None:
        """A chat whose last message was removed has no TTL, and accepts new messages."""
        store = await context.open()
        await fill(store, 1)
        assert await store.chat.remove_message(ROOM, "m1") is True
        assert await store.chat.chat_ttl(ROOM) is None
        assert await message_ids(store) == []
        await store.chat.add_message(message(1))
        assert await message_ids(store) == ["m1"]

    @clause(Capability.CHAT)
    async def test_removals_do_not_bring_back_trimmed_messages(self, context: ContractContext) -> None:
        """Messages that were trimmed do not come back when newer ones are removed."""
        store = await context.open(chat_history_limit=3)
        await fill(store, 5)
        assert await store.chat.remove_message(ROOM, "m4") is True
        assert await message_ids(store) == ["m3", "m5"]
        await fill(store, 1)
        assert await message_ids(store) == ["m3", "m5", "m1"]

    @clause(Capability.CHAT, Capability.SHARED)
    async def test_edits_keep_the_clients_history_limit(self, context: ContractContext) -> None:
        """An edit or removal finds and keeps only as many messages as the limit of its client."""
        large = await context.open()
        for change in ("edit", "remove"):
            small = await context.open(chat_history_limit=2)
            await fill(large, 5)
            assert await small.chat.edit_message(ROOM, "m3", count) is None
            assert await small.chat.remove_message(ROOM, "m3") is False
            assert await message_ids(large) == id_range(1, 5)
            if change == "edit":
                assert await small.chat.edit_message(ROOM, "m4", count) is not None
                assert await message_ids(large) == ["m4", "m5"]
            else:
                assert await small.chat.remove_message(ROOM, "m4") is True
                assert await message_ids(small) == ["m5"]
            await large.chat.clear_messages(ROOM)

    @clause(Capability.CHAT)
    async def test_concurrent_edits_of_a_message_are_all_applied(self, context: ContractContext) -> None:
        """Concurrent edits of a message are applied one after another."""
        store = await context.open()
        await fill(store)
        edited = await asyncio.gather(*(store.chat.edit_message(ROOM, "m2", count) for _ in range(CALLERS)))
        counts = [one.model_extra["count"] for one in edited if one is not None]
        assert sorted(counts) == [*range(1, CALLERS + 1)]
        assert (await store.chat.get_messages(ROOM))[1] == message(2, count=CALLERS)

    @clause(Capability.CHAT, Capability.SHARED)
    async def test_concurrent_edits_of_two_clients_are_all_applied(self, context: ContractContext) -> None:
        """Concurrent edits, additions and removals by two clients never overwrite each other."""
        first, second = await context.open(), await context.open()
        await fill(first, 2)
        for number in range(5):
            await asyncio.gather(
                first.chat.edit_message(ROOM, "m1", count),
                second.chat.edit_message(ROOM, "m1", count),
                first.chat.edit_message(ROOM, "m2", count),
                second.chat.add_message(message(10 + number)),
                first.chat.remove_message(ROOM, f"m{9 + number}"),
            )
        stored = await second.chat.get_messages(ROOM)
        assert stored == [message(1, count=10), message(2, count=5), message(14)]

    @clause(Capability.CHAT, Capability.SHARED)
    async def test_one_of_two_clients_removes_a_message(self, context: ContractContext) -> None:
        """If two clients remove the same message concurrently, exactly one gets True."""
        first, second = await context.open(), await context.open()
        for number in range(10):
            await first.chat.add_message(message(number))
            results = await asyncio.gather(
                *(store.chat.remove_message(ROOM, f"m{number}") for store in (first, second, first))
            )
            assert sorted(results) == [False, False, True]

    @clause(Capability.CHAT, Capability.SHARED)
    async def test_chat_reads_see_edits_of_other_clients(self, context: ContractContext) -> None:
        """A client that has read and extended a chat sees each edit and removal of another client."""
        first, second = await context.open(), await context.open()
        await fill(first)
        for number in range(1, 4):
            assert len(await first.chat.get_messages(ROOM)) == 3
            await second.chat.edit_message(ROOM, f"m{number}", count)
            assert (await first.chat.get_messages(ROOM))[number - 1] == message(number, count=1)
        await second.chat.remove_message(ROOM, "m3")
        assert await message_ids(first) == id_range(1, 2)
        await first.chat.add_message(message(3))
        await second.chat.remove_message(ROOM, "m1")
        await first.chat.add_message(message(1))
        assert await message_ids(second) == ["m2", "m3", "m1"]

    @clause(Capability.CHAT)
    async def test_every_value_survives_an_edit(self, context: ContractContext) -> None:
        """Every operation on one message preserves the extra fields and numbers of the others and its own."""
        store = await context.open()
        sent = [message(number, big=2**63 + number, half=0.5, none=None, cut="\ud83d") for number in range(1, 4)]
        for entry in sent:
            await store.chat.add_message(entry)
        await store.chat.edit_message(ROOM, "m2", setting(message="new"))
        expected = [json_text(entry) for entry in (sent[0], sent[1].model_copy(update={"message": "new"}), sent[2])]
        assert [json_text(entry) for entry in await store.chat.get_messages(ROOM)] == expected
        await store.chat.remove_message(ROOM, "m2")
        assert [json_text(entry) for entry in await store.chat.get_messages(ROOM)] == [expected[0], expected[2]]
