"""What makes the backend fast, proved by counting on a real server: commands, round trips, parsing."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from counting import Counter
from wnc_store import StoreSettings, UserNotFoundError
from wnc_store_contract.factories import message, user
from wnc_store_redis import RedisStore

pytestmark = pytest.mark.usefixtures("room_a")


async def test_a_join_is_one_round_trip(store: RedisStore, counter: Counter) -> None:
    """A change of a room that was seen before is one script, and no read before it."""
    await store.rooms.add_user_to_room("A", user("guest"))
    counted = await counter.since()
    assert (counted["reads"], counted["evalsha"], counted["get"]) == (1, 1, 1)  # the script's own GET


async def test_a_message_is_one_round_trip(store: RedisStore, counter: Counter) -> None:
    """A message is one script."""
    await store.chat.add_message(message(1, "A"))
    counted = await counter.since()
    assert (counted["reads"], counted["evalsha"]) == (1, 1)


async def test_a_room_never_seen_is_read_first(url: str, store: RedisStore, counter: Counter) -> None:
    """A change of a room that this process has not seen takes two round trips."""
    assert store
    async with RedisStore.from_url(url) as other:
        await other.ping()
        await counter.start()
        await other.rooms.add_user_to_room("A", user("guest"))
        counted = await counter.since()
    assert (counted["reads"], counted["evalsha"], counted["get"]) == (2, 1, 2)


async def test_a_conflict_needs_no_second_read(url: str, store: RedisStore, counter: Counter) -> None:
    """Where another client was faster, the script hands over what it found: two scripts, no read of our own."""
    async with RedisStore.from_url(url) as other:
        await other.rooms.add_user_to_room("A", user("first"))
        await counter.start()
        after = await store.rooms.add_user_to_room("A", user("second"))
        counted = await counter.since()
    assert [one.id for one in after.users] == ["host", "first", "second"]
    assert (counted["reads"], counted["evalsha"], counted["get"]) == (2, 2, 2)


async def test_a_refusal_goes_by_the_room_as_it_is(url: str, store: RedisStore) -> None:
    """What was seen last refuses nobody: the new user whom another client let in becomes host."""
    async with RedisStore.from_url(url) as other:
        await other.rooms.add_user_to_room("A", user("guest"))
        assert (await store.rooms.transfer_host("A", "guest")).host_id == "guest"
        with pytest.raises(UserNotFoundError):
            await store.rooms.transfer_host("A", "nobody")


async def test_what_changes_nothing_goes_by_the_room_as_it_is(url: str, store: RedisStore) -> None:
    """A leave that changes nothing returns the room as others have made it since it was seen last."""
    async with RedisStore.from_url(url) as other:
        await other.rooms.add_user_to_room("A", user("guest"))
        found = await store.rooms.remove_user_from_room("A", "nobody")
        assert found is not None
        assert [one.id for one in found.users] == ["host", "guest"]
        await other.rooms.delete_room("A")
        assert await store.rooms.remove_user_from_room("A", "nobody") is None


async def test_the_kept_messages_are_not_looked_through_again(store: RedisStore, counter: Counter) -> None:
    """While nobody else appends, the kept messages are not read, and repetitions are known all the same."""
    await store.chat.get_messages("A")
    await counter.start()
    for number in range(1, 31):
        await store.chat.add_message(message(number, "A"))
    assert "lrange" not in await counter.since()
    await store.chat.add_message(message(20, "A"))
    assert [one.id for one in await store.chat.get_messages("A")] == [f"m{number}" for number in range(11, 31)]


async def test_a_message_of_another_client_is_looked_for(url: str, store: RedisStore) -> None:
    """A message that another client added since is not added again, however much was known of the chat before."""
    async with RedisStore.from_url(url) as other:
        await store.chat.get_messages("A")
        await other.chat.add_message(message(1, "A"))
        await store.chat.add_message(message(1, "A"))
        await store.chat.add_message(message(2, "A"))
        await other.chat.add_message(message(2, "A"))
        await asyncio.gather(*(one.chat.add_message(message(3, "A")) for one in (store, other) for _ in range(3)))
    assert [one.id for one in await store.chat.get_messages("A")] == ["m0", "m1", "m2", "m3"]


async def test_what_a_store_does_inside_is_counted(store: RedisStore, counter: Counter) -> None:
    """A store's own counts are those of the server: commits, commands and the batches in which they arrive."""
    await store.chat.get_messages("A")
    before = store.statistics()
    await counter.start()
    await asyncio.gather(*(store.rooms.add_user_to_room("A", user(f"u{number}")) for number in range(50)))
    await asyncio.gather(*(read("A") for read in (store.rooms.get_room, store.chat.get_messages) for _ in range(50)))
    counted = await counter.since()
    after = store.statistics()
    spent = {name: after[name] - before[name] for name in after}
    assert spent == {
        "commits": counted["set"],
        "retries": 0,
        "batches": counted["reads"],
        "commands": counted["evalsha"] + counted["get"] - counted["set"] + counted["lrange"],  # COMMIT is GET and SET
        "cache_hits": 100,
        "cache_misses": 0,
    }


async def test_without_a_cache_nothing_is_remembered(url: str, store: RedisStore) -> None:
    """With cache_bytes=0 everything works, and whatever is read is parsed."""
    async with RedisStore.from_url(url, StoreSettings(cache_bytes=0)) as forgetful:
        for number in range(1, 4):
            await forgetful.chat.add_message(message(number, "A"))
            await forgetful.chat.add_message(message(number, "A"))
            joined = await forgetful.rooms.add_user_to_room("A", user(f"u{number}"))
            assert await forgetful.rooms.get_room("A") == joined == await store.rooms.get_room("A")
            assert [one.id for one in await forgetful.chat.get_messages("A")] == [f"m{n}" for n in range(number + 1)]
        assert forgetful.statistics()["cache_hits"] == 0


async def test_a_lost_race_is_counted(store: RedisStore, url: str) -> None:
    """A commit that finds another's work is a retry, and what it read anew was not known."""
    async with RedisStore.from_url(url) as other:
        await other.rooms.add_user_to_room("A", user("first"))
    before = store.statistics()
    await store.rooms.add_user_to_room("A", user("second"))
    after = store.statistics()
    assert {name: after[name] - before[name] for name in ("commits", "retries", "cache_hits", "cache_misses")} == {
        "commits": 1,
        "retries": 1,
        "cache_hits": 0,
        "cache_misses": 1,
    }


async def test_a_message_that_was_cleared_and_added_again_is_not_the_one_before(url: str, store: RedisStore) -> None:
    """What was known of a chat before it was cleared by another is not taken for true when its last message is back."""
    async with RedisStore.from_url(url) as other:
        await store.chat.get_messages("A")
        await store.chat.add_message(message(1, "A"))
        await other.chat.clear_messages("A")
        for number in (2, 1):
            await other.chat.add_message(message(number, "A"))
        await store.chat.add_message(message(2, "A"))
        assert [one.id for one in await other.chat.get_messages("A")] == ["m2", "m1"]


async def test_a_message_behind_a_damaged_one_of_its_id_is_added(url: str, store: RedisStore, client: Any) -> None:
    """A kept entry of the message's id that only looks like a message does not keep it out, known or not."""
    for damage in ('"timestamp":"yesterday"', '"timestamp":1,"replyTo":NaN'):
        await client.delete("chat:A")
        entry = f'{{"id":"m1","roomId":"A","userId":"u","userName":"U","message":"x",{damage}}}'
        await client.rpush("chat:A", entry)
        async with RedisStore.from_url(url) as fresh:
            await fresh.chat.add_message(message(1, "A"))
            assert [one.id for one in await store.chat.get_messages("A")] == ["m1"]
            await fresh.chat.add_message(message(1, "A"))
            assert await client.llen("chat:A") == 2


async def test_a_message_that_comes_again_is_the_newest_that_is_known(url: str, client: Any) -> None:
    """An id that is pushed out and added again counts as new as its message is, also beside an unreadable entry."""
    async with RedisStore.from_url(url, StoreSettings(chat_history_limit=3)) as store:
        await store.chat.add_message(message(1, "A"))
        await client.rpush("chat:A", "not JSON")
        await store.chat.add_message(message(2, "A"))
        await store.chat.get_messages("A")
        for number in (3, 1, 4, 1):
            await store.chat.add_message(message(number, "A"))
        assert [one.id for one in await store.chat.get_messages("A")] == ["m3", "m1", "m4"]
