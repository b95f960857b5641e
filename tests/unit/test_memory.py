"""The memory backend: what the contract does not ask of every backend."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from threading import Thread
from typing import Any
from weakref import WeakSet

import pytest
from hypothesis import given
from hypothesis import strategies as st

from waiting import SECONDS
from wnc_store import (
    ManualClock,
    Room,
    RoomEvent,
    RoomExistsError,
    RoomNotFoundError,
    Snapshot,
    StoreClosedError,
    StoreSettings,
    UserJoined,
    open_store,
    rules,
)
from wnc_store.base import VersionMismatch
from wnc_store_contract.factories import message, room, user
from wnc_store_memory import MemoryDatabase, MemoryStore
from wnc_store_memory.chat_history import ChatHistory
from wnc_store_memory.ttl_map import TTLMap


async def test_stores_are_apart_by_default() -> None:
    """Two stores without a common database share nothing."""
    first, second = MemoryStore(), MemoryStore()
    await first.rooms.create_room(room())
    assert await second.rooms.get_room("A3X9K2") is None


async def test_prefixes_are_namespaces() -> None:
    """Stores of different prefixes on one database see nothing of one another, also in listing and sweeping."""
    clock = ManualClock()
    database = MemoryDatabase(clock)
    app, app2, none = (MemoryStore(StoreSettings(key_prefix=name), database=database) for name in ("app:", "app2:", ""))
    await app.rooms.create_room(room("A"))
    await app2.chat.add_message(message(1, "A"))
    assert [one async for one in app2.rooms.active_room_ids()] == []
    assert [one async for one in none.rooms.active_room_ids()] == []
    assert await app.chat.get_messages("A") == []
    clock.advance(timedelta(days=2))
    assert await app2.rooms.sweep_active_rooms() == 0
    assert await app.rooms.sweep_active_rooms() == 1


async def test_reading_returns_the_room_without_copying() -> None:
    """Frozen models need no copies: two reads return the same object."""
    store = MemoryStore()
    await store.rooms.create_room(room())
    assert await store.rooms.get_room("A3X9K2") is await store.rooms.get_room("A3X9K2")


async def test_it_needs_no_event_loop_of_its_own() -> None:
    """A store may be used from one event loop after another."""
    store = MemoryStore()
    await store.rooms.create_room(room())
    assert await asyncio.to_thread(lambda: asyncio.run(store.rooms.room_exists("A3X9K2")))


async def woken(events: AsyncIterator[RoomEvent], call: Callable[[], Coroutine[Any, Any, object]]) -> RoomEvent:
    """Return what a reader hears of a call on another event loop, before anything else wakes its own."""
    reading = asyncio.ensure_future(anext(events))
    await asyncio.sleep(0)
    others: list[str] = []
    alarm = asyncio.get_running_loop().call_later(SECONDS, others.append, "the alarm")
    thread = Thread(target=lambda: asyncio.run(call()))
    thread.start()
    await asyncio.wait([reading])
    alarm.cancel()
    assert others == []
    thread.join()
    return await reading


async def test_a_reader_is_woken_from_another_event_loop() -> None:
    """What is written, or closed, on another event loop in another thread wakes a reader at once."""
    database = MemoryDatabase()
    writer = MemoryStore(StoreSettings(publish_changes=True), database=database)
    await writer.rooms.create_room(room("A"))
    store = MemoryStore(database=database)
    async with store.events.subscribe("A") as events:
        event = await woken(events, lambda: writer.rooms.add_user_to_room("A", user("guest")))
        assert isinstance(event, UserJoined)
        with pytest.raises(StoreClosedError):
            await woken(events, store.aclose)


def test_a_reader_of_a_closed_event_loop_stops_no_writer() -> None:
    """A subscription that nobody left, whose event loop is closed, is no concern of those who write."""
    store = MemoryStore(StoreSettings(publish_changes=True))
    subscription = store.events.subscribe("A")

    async def read() -> None:
        events = await subscription.__aenter__()
        waiting = asyncio.ensure_future(anext(events))
        await asyncio.sleep(0)
        waiting.cancel()

    loop = asyncio.new_event_loop()
    loop.run_until_complete(read())
    loop.close()
    asyncio.run(store.rooms.create_room(room("A")))
    assert asyncio.run(store.rooms.room_exists("A"))


@given(
    st.lists(st.integers(0, 5), max_size=6),
    st.lists(st.tuples(st.integers(0, 5), st.integers(1, 4)), max_size=12),
)
def test_an_append_in_place_does_what_the_rule_says(kept_before: list[int], appended: list[tuple[int, int]]) -> None:
    """Messages are kept as `rules.append` says, by stores that keep more or less, also where another put one twice."""
    expected = tuple(message(number) for number in kept_before)
    kept = ChatHistory(expected)
    for number, limit in appended:
        after = rules.append(expected, message(number), limit)
        assert kept.append(message(number), limit) is (after is not None)
        expected = expected if after is None else after
        assert [kept.newest(count) for count in (1, 3, 9)] == [list(expected[-count:]) for count in (1, 3, 9)]
        assert kept._ids == Counter(one.id for one in expected)


async def test_a_room_that_ends_while_it_is_changed_stays_ended() -> None:
    """Where the TTL runs out while a change looks at the room, there is none to be changed."""
    clock = ManualClock()
    store = MemoryStore(clock=clock)
    await store.rooms.create_room(room())

    def rename_slowly(before: Room) -> Room:
        clock.advance(timedelta(hours=25))
        return before.model_copy(update={"video_url": "https://video.example/1"})

    with pytest.raises(RoomNotFoundError):
        await store.rooms.edit_room("A3X9K2", rename_slowly)
    assert await store.rooms.get_room("A3X9K2") is None


async def test_a_change_that_changes_its_room_itself_loses_nothing() -> None:
    """Where a change makes another one of the same room on the way, it is made once more, on top of that."""
    store = MemoryStore()
    await store.rooms.create_room(room("A"))

    def change(before: Room) -> Room:
        if before.user("guest") is None:
            with pytest.raises(StopIteration):
                store.rooms.add_user_to_room("A", user("guest")).send(None)
        return before.model_copy(update={"video_url": "https://video.example/1"})

    after = await store.rooms.edit_room("A", change)
    assert after is await store.rooms.get_room("A")
    assert after.video_url
    assert [one.id for one in after.users] == ["host", "guest"]


@pytest.mark.parametrize("after", [room("A", "host", "guest"), None])
async def test_a_commit_on_top_of_what_is_stored_is_done(after: Room | None) -> None:
    """A commit from a room that still is what it was stores the new state, or deletes the room."""
    store = MemoryStore()
    await store.rooms.create_room(room("A"))
    before = await store.rooms._get("A")
    assert before is not None
    assert await store.rooms._compare_and_set(before, after) is None
    assert await store.rooms.get_room("A") is after


class Value:
    """Something whose end can be seen."""


class Watched:
    """An `TTLMap` of values, how many of them are still held, and the time."""

    def __init__(self) -> None:
        self.now = 0
        self.entries: TTLMap[Value] = TTLMap(lambda: self.now)
        self.held: WeakSet[Value] = WeakSet()

    def set(self, key: str, ttl_ms: int) -> None:
        """Set a key to a new value."""
        value = Value()
        self.held.add(value)
        self.entries.set(key, value, ttl_ms)

    def write_others(self, count: int = 1100) -> list[int]:
        """Write as many other entries, whose values are not watched; return how many were held after each write."""
        held = [len(self.held)]
        for number in range(count):
            self.entries.set(f"other-{self.now}-{number}", Value(), ttl_ms=1000)
            held.append(len(self.held))
        return held


def test_expired_entries_are_freed_by_writes_to_others() -> None:
    """Entries that nobody asks for again are freed, a few with each write."""
    watched = Watched()
    for number in range(5000):
        watched.set(f"old-{number}", ttl_ms=10)
    watched.now = 10
    held = watched.write_others()
    assert (held[0], held[-1]) == (5000, 0)
    assert max(before - after for before, after in pairwise(held)) < 100


def test_a_renewed_entry_is_freed_when_it_ends() -> None:
    """An entry that was renewed is kept beyond its first end, and freed after its last."""
    watched = Watched()
    for now in (0, 5, 9):
        watched.now = now
        watched.set("a", ttl_ms=10)
    for now, held in ((12, 1), (18, 1), (19, 0)):
        watched.now = now
        assert watched.write_others()[-1] == held
        assert (watched.entries.get("a") is not None) == bool(held)


def test_an_entry_that_ends_sooner_is_freed_sooner() -> None:
    """An entry that was set again with a shorter TTL is freed when that ends."""
    watched = Watched()
    watched.set("a", ttl_ms=100)
    watched.set("a", ttl_ms=10)
    watched.now = 10
    assert watched.write_others()[-1] == 0


@pytest.mark.parametrize("ttl_ms", [0, -5])
def test_an_entry_that_ended_before_it_was_set_is_freed(ttl_ms: int) -> None:
    """An entry whose TTL is over when it is set is not there, and is freed."""
    watched = Watched()
    watched.set("a", ttl_ms)
    assert watched.entries.get("a") is None
    watched.now = 1
    assert watched.write_others()[-1] == 0


def test_a_removed_entry_leaves_nothing_behind() -> None:
    """An entry that was removed, also after its end, can be set again and has its full TTL then."""
    watched = Watched()
    for removed_at, set_at in ((0, 0), (20, 20), (40, 45)):
        watched.set("a", ttl_ms=10)
        watched.now = removed_at
        watched.write_others(1)
        watched.entries.pop("a")
        assert len(watched.held) == 0
        watched.now = set_at
        watched.set("a", ttl_ms=10)
        watched.now += 9
        assert watched.write_others()[-1] == 1
        assert watched.entries.remaining_ms("a") == 1
        watched.entries.pop("a")
        assert sum(len(due) for due in watched.entries._expiry_buckets.values()) == len(watched.entries._entries)


def test_an_entry_may_be_removed_before_it_is_freed() -> None:
    """Entries that have ended, and are removed before a write frees them, do not keep others from being freed."""
    watched = Watched()
    for number in range(5000):
        watched.set(f"old-{number}", ttl_ms=10)
    watched.now = 20
    watched.write_others(1)
    for number in range(0, 5000, 2):
        assert watched.entries.pop(f"old-{number}") is None
    assert watched.write_others()[-1] == 0


def test_a_renewal_does_not_order_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """An entry that is set again and ends no sooner stays where it is in the order of what is due."""
    watched = Watched()
    watched.set("a", ttl_ms=10)
    monkeypatch.delattr(TTLMap, "_put")
    for ttl_ms in (10, 20):
        watched.set("a", ttl_ms)
        former = watched.entries.get("a")
        assert former is not None
        assert watched.entries.replace("a", former, former.value, ttl_ms)
        assert watched.entries.remaining_ms("a") == ttl_ms


def test_one_write_in_four_frees(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only every fourth write looks for what can be freed: the look costs as much as a part of the write."""
    watched = Watched()
    watched.set("renewed", ttl_ms=1000)
    looks: list[int] = []
    monkeypatch.setattr(watched.entries, "_purge", looks.append)
    for _ in range(16):
        watched.set("renewed", ttl_ms=1000)
    assert looks == [looks[0], looks[0] + 1, looks[0] + 2, looks[0] + 3]


def test_what_is_freed_is_counted() -> None:
    """Freeing piece by piece tells how many entries it freed: those that ended, and none that were renewed."""
    watched = Watched()
    for number in range(3000):
        watched.set(f"old-{number}", ttl_ms=10)
    watched.now = 5
    watched.set("old-7", ttl_ms=10)
    watched.now = 10
    pieces = list(watched.entries.purge_expired())
    assert sum(pieces) == 2999
    assert max(pieces) < 100
    assert list(watched.entries.live_keys()) == ["old-7"]
    assert sum(watched.entries.purge_expired()) == 0


def test_only_a_live_entry_is_replaced() -> None:
    """An entry is replaced until just before its end, and only if it still is the very one."""
    now = [0]
    entries: TTLMap[int] = TTLMap(lambda: now[0])
    entries.set("a", 1, ttl_ms=10)
    former = entries.get("a")
    assert former is not None
    now[0] = 9
    assert entries.replace("a", former, 2, ttl_ms=10)
    assert not entries.replace("a", former, 3, ttl_ms=10)
    assert entries.remaining_ms("a") == 10
    renewed = entries.get("a")
    assert renewed is not None
    now[0] = 19
    assert not entries.replace("a", renewed, 4, ttl_ms=10)
    assert entries.get("a") is None


def test_an_entry_ends_with_its_last_millisecond() -> None:
    """An entry lives until just before its TTL has passed."""
    now = [0]
    entries: TTLMap[int] = TTLMap(lambda: now[0])
    entries.set("a", 1, ttl_ms=10)
    now[0] = 9
    assert entries.remaining_ms("a") == 1
    now[0] = 10
    assert entries.get("a") is None
    assert entries.remaining_ms("a") is None
    assert entries.pop("a") is None


def test_a_longer_ttl_replaces_a_shorter_one() -> None:
    """Setting a key again gives it the new TTL, also when the old one ends meanwhile."""
    now = [0]
    entries: TTLMap[str] = TTLMap(lambda: now[0])
    entries.set("a", "old", ttl_ms=10)
    entries.set("a", "new", ttl_ms=100)
    now[0] = 50
    entries.set("b", "other", ttl_ms=10)
    assert sum(entries.purge_expired()) == 0
    found = entries.get("a")
    assert found is not None
    assert found.value == "new"


async def test_a_user_may_join_many_rooms() -> None:
    """The same user may be in several rooms."""
    store = MemoryStore()
    for room_id in ("A", "B"):
        await store.rooms.create_room(room(room_id))
        await store.rooms.add_user_to_room(room_id, user("guest"))
    await store.rooms.remove_user_from_room("A", "guest")
    found = await store.rooms.get_room("B")
    assert found is not None
    assert found.user("guest") is not None


async def test_a_commit_goes_by_the_very_room_it_started_from() -> None:
    """A commit from a room that is another by now, or gone, changes nothing and returns what is there."""
    store = MemoryStore()
    await store.rooms.create_room(room("A"))
    stale = await store.rooms._get("A")
    assert stale is not None
    newer = await store.rooms.add_user_to_room("A", user("guest"))
    for thieves in (room("A", "host", "thief"), None):
        conflict = await store.rooms._compare_and_set(stale, thieves)
        assert conflict is not None
        assert conflict.current is not None
        assert conflict.current.room is newer
        assert await store.rooms.get_room("A") is newer
    await store.rooms.delete_room("A")
    assert await store.rooms._compare_and_set(stale, room("A")) == VersionMismatch(None)
    assert await store.rooms.get_room("A") is None


async def test_a_change_that_meets_no_other_is_made_once() -> None:
    """Where nobody else changes the room, the first attempt of a change is committed."""
    store = MemoryStore()
    await store.rooms.create_room(room("A"))
    met: list[int] = []

    def change(found: Room) -> Room:
        met.append(found.rev)
        return found

    await store.rooms.edit_room("A", change)
    assert met == [1]


async def test_a_url_opens_a_store_with_settings_and_clock() -> None:
    """A store from memory:// keeps to the settings and the clock that it is given."""
    clock = ManualClock()
    async with open_store("memory://", settings=StoreSettings(chat_history_limit=1), clock=clock) as store:
        await store.rooms.create_room(room("A"))
        for number in range(2):
            await store.chat.add_message(message(number, "A"))
        assert [one.id for one in await store.chat.get_messages("A")] == ["m1"]
        clock.advance(timedelta(days=2))
        assert await store.rooms.get_room("A") is None


async def test_an_own_clock_writes_the_times() -> None:
    """On a shared database, a store's own clock writes the times into records, and the database's counts the TTLs."""
    shared, own = ManualClock(datetime(2026, 1, 1, tzinfo=UTC)), ManualClock(datetime(2030, 1, 1, tzinfo=UTC))
    store = MemoryStore(clock=own, database=MemoryDatabase(shared))
    await store.rooms.create_room(room("A"))
    changed = await store.rooms.set_video_url("A", "https://video.example/1")
    assert changed.video_state.last_update_time == own.now_ms()
    own.advance(timedelta(days=2))
    assert await store.rooms.room_exists("A")
    shared.advance(timedelta(days=2))
    assert not await store.rooms.room_exists("A")


async def test_leases_that_are_over_leave_nothing_behind() -> None:
    """A client's leases are kept until the last of them ends or is released, and no longer."""
    clock = ManualClock()
    database = MemoryDatabase(clock)
    store = MemoryStore(StoreSettings(connection_ttl=timedelta(seconds=60)), database=database)
    leases = database.namespace("").leases
    await store.connections.acquire("ip", "c1")
    clock.advance(30)
    await store.connections.acquire("ip", "c2")
    await store.connections.release("ip", "c1")
    assert leases.remaining_ms("ip") == 60_000
    await store.connections.release("ip", "c2")
    assert leases.get("ip") is None


async def test_a_restoration_names_the_room_that_is_there() -> None:
    """A snapshot of a room that lives is refused, and the error names it."""
    store = MemoryStore()
    await store.rooms.create_room(room("A"))
    with pytest.raises(RoomExistsError, match="'A'"):
        await store.restore(Snapshot(room("A"), timedelta(hours=1)))


class RestlessClock(ManualClock):
    """A clock that goes on by a millisecond each time it is read, while it is told to."""

    ticking = False

    def monotonic_ms(self) -> int:
        """Return the time before the tick."""
        now = super().monotonic_ms()
        if self.ticking:
            self.advance(timedelta(milliseconds=1))
        return now


@pytest.mark.parametrize("left_ms", range(4))
async def test_a_window_that_ends_while_it_is_asked_about_is_old_or_new(left_ms: int) -> None:
    """However near its end, a window is the old one with its count and its end, or a new one with neither."""
    window, left = timedelta(seconds=60), timedelta(milliseconds=left_ms)
    for is_hit in (True, False):
        clock = RestlessClock()
        limits = MemoryStore(StoreSettings(rate_limit_max=3, rate_limit_window=window), clock=clock).rate_limits
        await limits.hit("ip", 4)
        clock.advance(window - left)
        clock.ticking = True
        found = await (limits.hit("ip") if is_hit else limits.peek("ip"))
        new = (True, window) if is_hit else (True, timedelta(0))
        assert (found.allowed, found.reset_after) == ((False, left) if left_ms else new)


async def test_no_hit_moves_the_end_of_a_window() -> None:
    """A window that is hit while time passes ends when it would have ended with one hit."""
    clock = RestlessClock()
    store = MemoryStore(StoreSettings(rate_limit_window=timedelta(seconds=60)), clock=clock)
    begun_ms = clock.monotonic_ms()
    clock.ticking = True
    for _ in range(100):
        await store.rate_limits.hit("ip")
    clock.ticking = False
    left = (await store.rate_limits.peek("ip")).reset_after
    assert clock.monotonic_ms() - begun_ms + left // timedelta(milliseconds=1) == 60_000


def test_what_is_left_of_an_entry_is_never_negative() -> None:
    """An entry that ends while it is looked at has something left, or is not there."""
    clock = RestlessClock()
    clock.ticking = True
    entries: TTLMap[int] = TTLMap(clock.monotonic_ms)
    entries.set("a", 1, ttl_ms=10)
    left = [entries.remaining_ms("a") for _ in range(12)]
    assert left == [*range(9, 0, -1), None, None, None]
