"""Appends to chats to which other writers append."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest

from counting import Counter
from wnc_store import ChatMessage, StoreSettings, to_wire
from wnc_store_contract.factories import message
from wnc_store_redis import RedisStore

CHAT = "chat:A"
PATIENT = StoreSettings(operation_timeout=timedelta(hours=1), chat_history_limit=4)


def by_node(number: int, **fields: Any) -> bytes:
    """Return message number so-and-so as the Node app stores it: without a nonce."""
    return to_wire(message(number, "A", **fields))


async def _store(url: str) -> AsyncIterator[RedisStore]:
    """A store on the database."""
    async with RedisStore.from_url(url, PATIENT) as store:
        yield store


first, second = pytest.fixture(_store, name="first"), pytest.fixture(_store, name="second")


async def ids(store: RedisStore) -> list[str]:
    """Return the ids of the stored messages."""
    return [one.id for one in await store.chat.get_messages("A")]


@pytest.mark.parametrize("is_cleared", [False, True], ids=["appended", "cleared and appended"])
async def test_an_entry_that_node_stores_twice_hides_no_message(
    first: RedisStore, second: RedisStore, client: Any, is_cleared: bool
) -> None:
    """Equal newest entries of the Node app do not prove that a chat is unchanged."""
    await client.rpush(CHAT, by_node(9))
    await first.chat.get_messages("A")
    if is_cleared:
        await second.chat.clear_messages("A")
    await second.chat.add_message(message(1, "A"))
    await client.rpush(CHAT, by_node(9))
    await first.chat.add_message(message(1, "A"))
    assert (await ids(second)).count("m1") == 1


async def test_an_append_after_an_entry_that_node_stores_twice_proves_nothing(
    first: RedisStore, second: RedisStore, client: Any
) -> None:
    """A store that appends after an entry of the Node app searches the chat for the id of its next message."""
    await client.rpush(CHAT, by_node(9))
    await first.chat.get_messages("A")
    await second.chat.add_message(message(1, "A"))
    await client.rpush(CHAT, by_node(9))
    await first.chat.add_message(message(2, "A"))
    await first.chat.add_message(message(1, "A"))
    assert (await ids(second)).count("m1") == 1


async def test_an_id_that_node_stored_twice_is_known_until_its_last_entry_is_trimmed(
    first: RedisStore, client: Any
) -> None:
    """An id that occurs twice is known until its last entry is trimmed."""
    await client.rpush(CHAT, by_node(1), by_node(2), by_node(3), by_node(1, message="again"))
    await first.chat.get_messages("A")
    for number in (4, 5, 1):
        await first.chat.add_message(message(number, "A"))
    assert await ids(first) == ["m3", "m1", "m4", "m5"]


async def test_an_append_to_an_unread_chat_proves_nothing(first: RedisStore, second: RedisStore) -> None:
    """A store that appends to a chat that it has never read searches the chat for the id of its next message."""
    await second.chat.add_message(message(1, "A"))
    for number in (2, 1):
        await first.chat.add_message(message(number, "A"))
    assert await ids(second) == ["m1", "m2"]


@pytest.mark.parametrize("newest", [b"", b"?", by_node(9)], ids=["empty", "question mark", "message"])
async def test_damaged_entries_with_the_id_do_not_keep_a_message_out(
    first: RedisStore, client: Any, newest: bytes
) -> None:
    """Damaged entries that contain the id of a message do not prevent its append."""
    await client.rpush(CHAT, b'{"id":"m1","damaged":1}', b'["id", {"id":"m1"}]', newest)
    await first.chat.add_message(message(1, "A"))
    await first.chat.add_message(message(1, "A"))
    assert (await ids(first)).count("m1") == 1


SEPARATE = {
    "quotes": (message(1, "A", id='m"1'), 'm"2'),
    "backslashes": (message(1, "A", id="m\\1"), "m\\2"),
    "a backslash before a quote": (message(1, "A", id='m\\"'), 'm"'),
    "a text like a member": (message(1, "A", message='{"id": "m2", "\\u0069d": "m2"}'), "m2"),
    "an escape sequence": (message(1, "A", id="n", message="\n"), "m2"),
    "letters that are not ASCII": (message(1, "A", id="한1"), "한2"),
}


@pytest.mark.parametrize(("stored", "message_id"), SEPARATE.values(), ids=SEPARATE)
async def test_an_append_is_one_script_whatever_the_chat_contains(
    first: RedisStore, second: RedisStore, counter: Counter, stored: ChatMessage, message_id: str
) -> None:
    """Messages with characters that JSON escapes cost other processes no further script."""
    await first.chat.add_message(stored)
    await counter.start()
    await second.chat.add_message(message(2, "A", id=message_id))
    assert (await counter.since())["evalsha"] == 1
    assert await ids(second) == [stored.id, message_id]
