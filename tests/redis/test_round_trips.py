"""Tests of the number of commands and round trips, and of the caches."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from counting import Counter
from wnc_store import StoreSettings, UserNotFoundError
from wnc_store_contract.calls import like
from wnc_store_contract.factories import message, room, user
from wnc_store_redis import RedisStore

pytestmark = pytest.mark.usefixtures("room_a")


async def test_a_join_is_one_round_trip(store: RedisStore, counter: Counter) -> None:
    """An update of a cached room is one script without a read."""
    await store.rooms.add_user_to_room("A", user("guest"))
    counted = await counter.since()
    assert (counted["reads"], counted["evalsha"], counted["get"]) == (1, 1, 1)  # the GET in the script


async def test_an_uncached_room_is_read_first(url: str, store: RedisStore, counter: Counter) -> None:
    """An update of a room that is not cached takes two round trips."""
    assert store
    async with RedisStore.from_url(url) as other:
        await other.ping()
        await counter.start()
        await other.rooms.add_user_to_room("A", user("guest"))
        counted = await counter.since()
    assert (counted["reads"], counted["evalsha"], counted["get"]) == (2, 1, 2)


async def test_many_rooms_are_read_in_one_round_trip(store: RedisStore, counter: Counter) -> None:
    """get_rooms reads each room once, all in one round trip, whether they exist or not."""
    names = [f"R{number}" for number in range(100)]
    await asyncio.gather(*(store.rooms.create_room(room(name)) for name in names[::2]))
    await counter.start()
    found = await store.rooms.get_rooms([*names, *names])
    counted = await counter.since()
    assert [one and one.id for one in found[:4]] == ["R0", None, "R2", None]
    assert counted == {"reads": 1, "get": 100}


async def test_active_rooms_need_one_round_trip_for_a_page(store: RedisStore, counter: Counter) -> None:
    """active_rooms reads a page of the index, and then up to 100 rooms in each round trip."""
    await asyncio.gather(*(store.rooms.create_room(room(f"R{number}")) for number in range(249)))
    await counter.start()
    assert len([one async for one in store.rooms.active_rooms()]) == 250
    counted = await counter.since()
    assert (counted["get"], counted["reads"] - counted["sscan"]) == (250, 3)


async def test_a_room_that_waits_takes_no_other_round_trips(url: str, counter: Counter) -> None:
    """The last leave that keeps the room, and the join that ends the wait, are one script each."""
    async with RedisStore.from_url(url, StoreSettings(empty_room_ttl=timedelta(minutes=5))) as store:
        await store.rooms.create_room(room("W"))
        await store.chat.add_message(message(1, "W"))
        for write, ttl in (
            (lambda: store.rooms.remove_user_from_room("W", "host"), timedelta(minutes=5)),
            (lambda: store.rooms.add_user_to_room("W", user("guest")), timedelta(days=1)),
        ):
            await counter.start()
            await write()
            counted = await counter.since()
            assert (counted["reads"], counted["evalsha"]) == (1, 1)
            for left in (await store.rooms.room_ttl("W"), await store.chat.chat_ttl("W")):
                assert left is not None
                assert ttl - timedelta(minutes=2) < left <= ttl


async def test_a_conflict_needs_no_second_read(url: str, store: RedisStore, counter: Counter) -> None:
    """After a conflict the script returns the current room, so the update takes two scripts and no read."""
    async with RedisStore.from_url(url) as other:
        await other.rooms.add_user_to_room("A", user("first"))
        await counter.start()
        after = await store.rooms.add_user_to_room("A", user("second"))
        counted = await counter.since()
    assert [one.id for one in after.users] == ["host", "first", "second"]
    assert (counted["reads"], counted["evalsha"], counted["get"]) == (2, 2, 2)


async def test_an_error_of_a_transition_uses_the_current_room(url: str, store: RedisStore) -> None:
    """An outdated cached room does not make an update fail: a user that another client added can become host."""
    async with RedisStore.from_url(url) as other:
        await other.rooms.add_user_to_room("A", user("guest"))
        assert (await store.rooms.transfer_host("A", "guest")).host_id == "guest"
        with pytest.raises(UserNotFoundError):
            await store.rooms.transfer_host("A", "nobody")


async def test_an_update_without_effect_returns_the_current_room(url: str, store: RedisStore) -> None:
    """An update without effect returns the room as other clients have changed it."""
    async with RedisStore.from_url(url) as other:
        await other.rooms.add_user_to_room("A", user("guest"))
        found = await store.rooms.remove_user_from_room("A", "nobody")
        assert found is not None
        assert [one.id for one in found.users] == ["host", "guest"]
        await other.rooms.delete_room("A")
        assert await store.rooms.remove_user_from_room("A", "nobody") is None


async def test_the_chat_is_not_searched_after_own_appends(store: RedisStore, counter: Counter) -> None:
    """While no other client appends, a new message does not read the chat, and duplicates are still detected."""
    await store.chat.get_messages("A")
    await counter.start()
    for number in range(1, 31):
        await store.chat.add_message(message(number, "A"))
    assert "lrange" not in await counter.since()
    await store.chat.add_message(message(20, "A"))
    assert [one.id for one in await store.chat.get_messages("A")] == [f"m{number}" for number in range(11, 31)]


async def test_an_edit_of_a_message_is_a_read_and_a_script(store: RedisStore, counter: Counter) -> None:
    """An edit or a removal of a message takes two round trips: a read and a script."""
    await store.chat.add_message(message(1, "A"))
    await store.chat.edit_message("A", "m1", like)  # the server has the script
    for write in (lambda: store.chat.edit_message("A", "m1", like), lambda: store.chat.remove_message("A", "m1")):
        await counter.start()
        await write()
        counted = await counter.since()
        assert (counted["reads"], counted["evalsha"], counted["lrange"]) == (2, 1, 2)  # the script reads, too


async def test_concurrent_edits_of_one_store_do_not_conflict(store: RedisStore, counter: Counter) -> None:
    """Concurrent edits of a chat in one store are applied one after another, with one script each."""
    await store.chat.add_message(message(1, "A"))
    await counter.start()
    await asyncio.gather(*(store.chat.edit_message("A", "m1", like) for _ in range(30)))
    assert (await counter.since())["evalsha"] == 30
    assert store.statistics()["retries"] == 0


async def test_statistics_match_the_server(store: RedisStore, counter: Counter) -> None:
    """The statistics of a store match the server's counts of commits, commands and batches."""
    await store.chat.get_messages("A")
    before = store.statistics()
    await counter.start()
    await asyncio.gather(*(store.rooms.add_user_to_room("A", user(f"u{number}")) for number in range(50)))
    await asyncio.gather(*(read("A") for read in (store.rooms.get_room, store.chat.get_messages) for _ in range(50)))
    counted = await counter.since()
    after = store.statistics()
    difference = {name: after[name] - before[name] for name in after}
    assert difference == {
        "commits": counted["set"],
        "retries": 0,
        "batches": counted["reads"],
        "commands": counted["evalsha"] + counted["get"] - counted["set"] + counted["lrange"],  # COMMIT is GET and SET
        "cache_hits": 100,
        "cache_misses": 0,
    }


async def test_cache_bytes_0_disables_the_caches(url: str, store: RedisStore) -> None:
    """With cache_bytes=0 operations work, and each read decodes what it reads."""
    async with RedisStore.from_url(url, StoreSettings(cache_bytes=0)) as uncached:
        for number in range(1, 4):
            await uncached.chat.add_message(message(number, "A"))
            await uncached.chat.add_message(message(number, "A"))
            joined = await uncached.rooms.add_user_to_room("A", user(f"u{number}"))
            assert await uncached.rooms.get_room("A") == joined == await store.rooms.get_room("A")
            assert [one.id for one in await uncached.chat.get_messages("A")] == [f"m{n}" for n in range(number + 1)]
        assert uncached.statistics()["cache_hits"] == 0


async def test_a_conflict_is_counted(store: RedisStore, url: str) -> None:
    """A commit that conflicts counts as a retry, and the room that it returns as a cache miss."""
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


async def test_a_message_that_is_added_again_after_a_clear_is_a_new_entry(url: str, store: RedisStore) -> None:
    """Append hints from before a clear by another client are not used after the newest message is added again."""
    async with RedisStore.from_url(url) as other:
        await store.chat.get_messages("A")
        await store.chat.add_message(message(1, "A"))
        await other.chat.clear_messages("A")
        for number in (2, 1):
            await other.chat.add_message(message(number, "A"))
        await store.chat.add_message(message(2, "A"))
        assert [one.id for one in await other.chat.get_messages("A")] == ["m2", "m1"]


async def test_a_trimmed_id_that_is_added_again_is_the_newest(url: str, client: Any) -> None:
    """The id of a trimmed message that is added again is the newest id, also beside a corrupt entry."""
    async with RedisStore.from_url(url, StoreSettings(chat_history_limit=3)) as store:
        await store.chat.add_message(message(1, "A"))
        await client.rpush("chat:A", "not JSON")
        await store.chat.add_message(message(2, "A"))
        await store.chat.get_messages("A")
        for number in (3, 1, 4, 1):
            await store.chat.add_message(message(number, "A"))
        assert [one.id for one in await store.chat.get_messages("A")] == ["m3", "m1", "m4"]
