"""Chats that are stored newest first, beside a successor of the Node app."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from typing import Any

import pytest

from acl import permit
from chaos.server import DurableServer
from counting import Counter
from wnc_store import HealthCheck, Room, Snapshot, StoreSettings, User, to_wire
from wnc_store_contract.calls import like
from wnc_store_contract.factories import message, parsed, room
from wnc_store_redis import RedisStore

CHAT = "chat:A"
NEWEST_FIRST = StoreSettings(chat_order="newest_first")


async def _store(url: str) -> AsyncIterator[RedisStore]:
    """A store that keeps chats newest first."""
    async with RedisStore.from_url(url, NEWEST_FIRST) as store:
        yield store


first, second = pytest.fixture(_store, name="first"), pytest.fixture(_store, name="second")


async def successor_adds(client: Any, *numbers: int) -> None:
    """Add messages as the Node app's successor does."""
    for number in numbers:
        await client.lpush(CHAT, to_wire(message(number, "A")))
        await client.ltrim(CHAT, 0, 19)
        await client.expire(CHAT, 86400)


async def successor_reads(client: Any) -> list[str]:
    """Return the ids of the messages as the successor reads them, oldest first."""
    return [parsed(entry)["id"] for entry in reversed(await client.lrange(CHAT, 0, 19))]


async def ids(store: RedisStore, limit: int | None = None) -> list[str]:
    """Return the ids of the messages as a store reads them."""
    return [one.id for one in await store.chat.get_messages("A", limit)]


def numbered(*numbers: int) -> list[str]:
    """Return ids of messages."""
    return [f"m{number}" for number in numbers]


async def test_both_apps_read_the_same_chat(first: RedisStore, client: Any) -> None:
    """Messages of the store and of the successor are read by both in the order in which they were added."""
    await successor_adds(client, 1)
    await first.chat.add_message(message(2, "A"))
    await successor_adds(client, 3)
    await first.chat.add_message(message(4, "A"))
    assert await ids(first) == await successor_reads(client) == numbered(1, 2, 3, 4)
    assert await ids(first, 2) == numbered(3, 4)


async def test_a_full_chat_loses_its_oldest_message(first: RedisStore, client: Any) -> None:
    """A message of the store removes the oldest message of a full chat, and so does one of the successor."""
    await successor_adds(client, *range(1, 21))
    await first.chat.add_message(message(21, "A"))
    await successor_adds(client, 22)
    assert await ids(first) == await successor_reads(client) == numbered(*range(3, 23))
    assert await client.llen(CHAT) == 20


async def test_a_stored_message_is_not_added_again(first: RedisStore, second: RedisStore, client: Any) -> None:
    """A stored message is not added again, even if another app stored it or the chat is not cached."""
    await successor_adds(client, 1)
    await second.chat.add_message(message(2, "A"))
    for store in (first, second):
        for number in (1, 2):
            await store.chat.add_message(message(number, "A", message="again"))
        await store.chat.get_messages("A")
    assert await ids(second) == numbered(1, 2)


async def test_messages_are_edited_in_place(first: RedisStore, second: RedisStore, client: Any) -> None:
    """Edits and removals keep the positions of all messages, at both ends of the list and between."""
    await successor_adds(client, 1, 2)
    for number in (3, 4):
        await first.chat.add_message(message(number, "A"))
    await second.chat.get_messages("A")
    for number in (1, 4, 3):
        assert await first.chat.edit_message("A", f"m{number}", like) == message(number, "A", likes=1)
    assert await second.chat.get_messages("A") == [
        message(1, "A", likes=1),
        message(2, "A"),
        message(3, "A", likes=1),
        message(4, "A", likes=1),
    ]
    assert await second.chat.remove_message("A", "m4") is True
    assert await second.chat.remove_message("A", "m2") is True
    assert await ids(first) == await successor_reads(client) == numbered(1, 3)


async def test_the_chat_is_not_searched_after_own_messages(first: RedisStore, counter: Counter) -> None:
    """While no other client adds messages, a new message does not read the chat."""
    await first.chat.add_message(message(1, "A"))
    await first.chat.get_messages("A")
    await counter.start()
    for number in range(2, 30):
        await first.chat.add_message(message(number, "A"))
    assert "lrange" not in await counter.since()
    await first.chat.add_message(message(20, "A"))
    assert await ids(first) == numbered(*range(10, 30))


async def test_a_restored_chat_has_the_order_of_the_setting(url: str, first: RedisStore, client: Any) -> None:
    """A snapshot of a store with one order is restored by a store with the other."""
    day = timedelta(days=1)
    sent = [message(number, "A") for number in range(25)]
    for store, expected in ((first, sent[5:]), (RedisStore.from_url(url), sent[5:])):
        await store.restore(Snapshot(room("A"), day, tuple(sent), day), replace=True)
        assert await store.chat.get_messages("A") == expected
        await store.aclose()
    assert parsed(await client.lindex(CHAT, 0))["id"] == "m5"


async def check_of(store: RedisStore) -> HealthCheck:
    """Return the check of the order."""
    (found,) = [check for check in (await store.health()).checks if check.name == "chat order"]
    return found


async def fill(store: RedisStore, names: Sequence[str]) -> None:
    """Create rooms with two messages each."""
    for name in names:
        await store.rooms.create_room(Room.hosted_by(User(id="host", name="Host"), room_id=name))
        for number in (1, 2):
            await store.chat.add_message(message(number, name))


@pytest.mark.parametrize("is_newest_first", [False, True], ids=["oldest first", "newest first"])
async def test_health_warns_of_the_other_order(url: str, is_newest_first: bool) -> None:
    """Health warns if the timestamps of most stored chats run against the setting, and names the setting."""
    settings = [StoreSettings(), NEWEST_FIRST]
    own, other = settings[is_newest_first], settings[not is_newest_first]
    async with RedisStore.from_url(url, own) as store, RedisStore.from_url(url, other) as misled:
        assert (await check_of(misled)).status == "ok"  # without chats
        await fill(store, ("A", "B", "C"))
        await fill(misled, ("D",))
        found = await check_of(store)
        assert (found.status, found.detail) == (
            "ok",
            f"chats are stored {own.chat_order}, as 3 of 4 compared chats",
        )
        warning = await check_of(misled)
        assert warning.status == "warning"
        assert warning.detail.startswith(f"3 of 4 compared chats are stored {own.chat_order}")
        assert warning.hint.startswith(f"set chat_order to {own.chat_order}")


async def test_chats_without_an_order_are_not_compared(first: RedisStore, client: Any) -> None:
    """Damaged chats, chats of other types and chats of equal timestamps do not count."""
    await fill(first, ("A", "B", "C", "D"))
    await client.lpush("chat:A", "damaged")
    await client.set("chat:B", "no list")
    await client.delete("chat:C")
    await client.ltrim("chat:D", 0, 0)
    assert (await check_of(first)).detail == "chats are stored newest_first"
    assert (await first.health()).ok


async def test_health_names_a_missing_permission(server: DurableServer) -> None:
    """A store that keeps chats newest first needs the permission for LPUSH instead of RPUSH."""
    for more, status in ((), "error"), (("+lpush", "-rpush"), "ok"):
        async with RedisStore.from_url(permit(server, "", *more), NEWEST_FIRST) as store:
            health = await store.health()
            (found,) = [check for check in health.checks if check.name == "scripts"]
            assert found.status == status
            assert ("LPUSH" in found.detail) == (status == "error")
