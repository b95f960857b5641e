"""What makes the backend fast, proved by counting on a real server: commands, round trips, commits, parsing."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from counting import Counter
from wnc_store import (
    OutcomeUnknownError,
    Room,
    StoreSettings,
    StoreUnavailableError,
    UserNotFoundError,
)
from wnc_store_contract.samples import message, room, user
from wnc_store_redis import RedisStore

pytestmark = pytest.mark.usefixtures("room_a")
SHORT = timedelta(milliseconds=400)


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


async def test_joins_of_one_tick_are_one_commit(
    store: RedisStore, counter: Counter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A thousand users who join one room at once are all kept, by one commit if the machine has time for it."""
    monkeypatch.setattr("wnc_store_redis._group_commit._MOST_SECONDS", math.inf)
    joined = await asyncio.gather(*(store.rooms.add_user_to_room("A", user(f"u{one}")) for one in range(1000)))
    counted = await counter.since()
    assert counted["evalsha"] == 1
    assert [len(one.users) for one in joined] == list(range(2, 1002))
    assert [one.rev for one in joined] == list(range(2, 1002))
    assert await store.rooms.get_room("A") == joined[-1]


async def test_a_change_without_a_next_one_harms_no_neighbour(store: RedisStore) -> None:
    """A change that raises StopIteration or CancelledError is its caller's RuntimeError; its neighbours are served."""
    gone: asyncio.Future[Room] = asyncio.get_running_loop().create_future()
    gone.cancel()
    first, failed, cancelled, last = await asyncio.gather(
        store.rooms.add_user_to_room("A", user("first")),
        store.rooms.edit_room("A", lambda _: next(iter(()))),
        store.rooms.edit_room("A", lambda _: gone.result()),
        store.rooms.add_user_to_room("A", user("last")),
        return_exceptions=True,
    )
    assert isinstance(first, Room)
    assert isinstance(failed, RuntimeError)
    assert (str(failed), type(failed.__cause__)) == ("the change raised StopIteration", StopIteration)
    assert isinstance(cancelled, RuntimeError)
    assert str(cancelled) == "the change raised CancelledError"
    assert isinstance(last, Room)
    assert [one.id for one in last.users] == ["host", "first", "last"]


async def test_changes_wait_for_the_commit_under_way(store: RedisStore, counter: Counter) -> None:
    """What comes while a commit is under way is committed together, right after it."""
    first = asyncio.ensure_future(store.rooms.add_user_to_room("A", user("first")))
    await asyncio.sleep(0)
    await asyncio.sleep(0)  # the first one is on its way
    await asyncio.gather(first, *(store.rooms.add_user_to_room("A", user(f"u{one}")) for one in range(50)))
    assert (await counter.since())["evalsha"] == 2


async def test_several_processes_need_few_commits(url: str, store: RedisStore, counter: Counter) -> None:
    """250 joins through each of four clients at once are kept, in at most forty attempts to commit."""
    clients = [RedisStore.from_url(url) for _ in range(4)]
    await asyncio.gather(
        *(
            one.rooms.add_user_to_room("A", user(f"{number}-{guest}"))
            for number, one in enumerate(clients)
            for guest in range(250)
        )
    )
    assert (await counter.since())["evalsha"] <= 40
    found = await store.rooms.get_room("A")
    assert found is not None
    assert len(found.users) == 1001
    for one in clients:
        await one.aclose()


async def test_what_was_seen_is_not_parsed_again(
    store: RedisStore, client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A room and messages whose bytes are still the same are not parsed; a new message is, and only that."""
    parsed: list[bytes] = []

    def spy(target: Any) -> Callable[..., Any]:
        decode = target._decode

        def decoded(*args: Any) -> Any:
            parsed.append(args[-1])
            return decode(*args)

        return decoded

    for part in (store.rooms, store.chat):
        monkeypatch.setattr(part, "_decode", spy(part))
    for _ in range(3):
        assert await store.rooms.get_room("A") is not None
    assert parsed == []
    for _ in range(3):
        await store.chat.get_messages("A")
    assert len(parsed) == 1
    await store.chat.add_message(message(1, "A"))
    assert [one.id for one in await store.chat.get_messages("A")] == ["m0", "m1"]
    assert len(parsed) == 2
    await client.set("room:A", (await client.get("room:A")).replace(b"Name of host", b"Renamed by Node"))
    found = await store.rooms.get_room("A")
    assert found is not None
    assert found.host_name == "Renamed by Node"
    assert len(parsed) == 3


@pytest.mark.parametrize("cache_bytes", [0, 100, 2000])
async def test_what_is_remembered_is_bounded(url: str, client: Any, cache_bytes: int) -> None:
    """With whatever cache_bytes, everything works, and no more stored bytes than that are remembered."""
    assert client
    async with RedisStore.from_url(url, StoreSettings(cache_bytes=cache_bytes)) as store:
        for number in range(20):
            await store.rooms.create_room(room(f"r{number}"))
            await store.chat.add_message(message(number, f"r{number}"))
        for number in range(20):
            joined = await store.rooms.add_user_to_room(f"r{number}", user("guest"))
            assert await store.rooms.get_room(f"r{number}") == joined
            assert len(await store.chat.get_messages(f"r{number}")) == 1
        rooms: Any = store.rooms
        chat: Any = store.chat
        remembered = (rooms._path._rooms._rooms, chat._chats._chats, chat._tails._tails)
        assert sum(one.currsize for one in remembered) <= cache_bytes


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


async def test_each_change_of_a_batch_has_its_own_result(store: RedisStore) -> None:
    """Of changes that are committed together each caller gets the own room or the own error."""

    def fail(_found: Room) -> Room:
        raise LookupError

    joined, missing, failed, left = await asyncio.gather(
        store.rooms.add_user_to_room("A", user("guest")),
        store.rooms.transfer_host("A", "nobody"),
        store.rooms.edit_room("A", fail),
        store.rooms.remove_user_from_room("A", "host"),
        return_exceptions=True,
    )
    assert isinstance(joined, Room)
    assert isinstance(missing, UserNotFoundError)
    assert isinstance(failed, LookupError)
    assert isinstance(left, Room)
    assert (len(joined.users), len(left.users), left.host_id) == (2, 1, "guest")


async def test_waiting_changes_end_in_time(url: str, client: Any) -> None:
    """Changes that wait behind a commit without an answer end with it; one that was not sent never happens."""
    settings = StoreSettings(operation_timeout=SHORT)
    async with RedisStore.from_url(url, settings) as hasty:
        await hasty.rooms.create_room(room("B"))
        await client.client_pause(1200, all=True)
        first = asyncio.ensure_future(hasty.rooms.add_user_to_room("B", user("first")))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        second = asyncio.ensure_future(hasty.rooms.add_user_to_room("B", user("second")))
        results = await asyncio.gather(first, second, return_exceptions=True)
        assert isinstance(results[0], OutcomeUnknownError)
        assert isinstance(results[1], StoreUnavailableError)
        await client.ping()
        found = await hasty.rooms.get_room("B")
        assert found is not None
        # It is sent in the instant that it has left when the first one ends, if there is such an instant.
        assert found.user("second") is None or isinstance(results[1], OutcomeUnknownError)


async def test_no_two_commits_store_the_same_bytes(store: RedisStore, client: Any) -> None:
    """The same room stored twice is equal as JSON and differs in its bytes, so a commit can be told from another's."""
    stored: set[bytes] = set()
    for _ in range(20):
        await store.rooms.create_room(room("B"))
        stored.add(await client.get("room:B"))
        await store.rooms.delete_room("B")
    assert len(stored) == 20
    assert len({data.strip() for data in stored}) == 1
    assert len({len(data) for data in stored}) == 1


async def test_a_cancelled_change_that_waits_is_not_made(store: RedisStore) -> None:
    """A caller who is cancelled while the change waits takes it away, and nobody else's."""
    calls = [asyncio.ensure_future(store.rooms.add_user_to_room("A", user(f"u{one}"))) for one in range(3)]
    await asyncio.sleep(0)
    calls[1].cancel()
    results = await asyncio.gather(*calls, return_exceptions=True)
    assert isinstance(results[1], asyncio.CancelledError)
    found = await store.rooms.get_room("A")
    assert found is not None
    assert [one.id for one in found.users] == ["host", "u0", "u2"]


async def test_a_change_that_is_cancelled_during_the_read_is_not_made(url: str, store: RedisStore) -> None:
    """A caller who is cancelled while the room is read takes the change away: nothing of it was sent."""
    assert store
    async with RedisStore.from_url(url) as other:
        await other.ping()
        gone = asyncio.ensure_future(other.rooms.add_user_to_room("A", user("gone")))
        for _ in range(3):
            await asyncio.sleep(0)
        gone.cancel()
        joined = await other.rooms.add_user_to_room("A", user("guest"))
        assert [one.id for one in joined.users] == ["host", "guest"]
        assert gone.cancelled()


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
    await store.rooms.get_room("A")
    before = store.statistics()
    await counter.start()
    await asyncio.gather(*(store.rooms.add_user_to_room("A", user(f"u{number}")) for number in range(50)))
    await asyncio.gather(*(store.rooms.get_room("A") for _ in range(50)))
    counted = await counter.since()
    after = store.statistics()
    spent = {name: after[name] - before[name] for name in after}
    assert spent == {
        "commits": counted["set"],
        "retries": 0,
        "batches": counted["reads"],
        "commands": counted["evalsha"] + counted["get"] - counted["set"],  # COMMIT is one GET and one SET
        "cache_hits": 50,
        "cache_misses": 0,
    }


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
