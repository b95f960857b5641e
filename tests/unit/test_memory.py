"""Behaviour of the memory backend beyond the contract."""

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
    ConflictError,
    ManualClock,
    Room,
    RoomEvent,
    RoomNotFoundError,
    StoreClosedError,
    StoreSettings,
    UserJoined,
    open_store,
    rules,
)
from wnc_store_contract.factories import message, room, user
from wnc_store_memory import MemoryDatabase, MemoryStore
from wnc_store_memory.chat_history import ChatHistory
from wnc_store_memory.ttl_map import TTLMap


async def test_stores_are_isolated_by_default() -> None:
    """Two stores without a shared database share no data."""
    first, second = MemoryStore(), MemoryStore()
    await first.rooms.create_room(room())
    assert await second.rooms.get_room("A3X9K2") is None


async def test_reading_returns_the_room_without_copying() -> None:
    """Two reads return the same object, because models are frozen."""
    store = MemoryStore()
    await store.rooms.create_room(room())
    assert await store.rooms.get_room("A3X9K2") is await store.rooms.get_room("A3X9K2")


async def test_a_store_can_be_used_on_several_loops() -> None:
    """A store can be used from several event loops, one after another."""
    store = MemoryStore()
    await store.rooms.create_room(room())
    assert await asyncio.to_thread(lambda: asyncio.run(store.rooms.room_exists("A3X9K2")))


async def woken(events: AsyncIterator[RoomEvent], call: Callable[[], Coroutine[Any, Any, object]]) -> RoomEvent:
    """Return the event or error that a call on another event loop delivers to a waiting subscriber."""
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


async def test_a_subscriber_is_woken_from_another_loop() -> None:
    """A write or close on the event loop of another thread wakes a subscriber immediately."""
    database = MemoryDatabase()
    writer = MemoryStore(StoreSettings(publish_changes=True), database=database)
    await writer.rooms.create_room(room("A"))
    store = MemoryStore(database=database)
    async with store.events.subscribe("A") as events:
        event = await woken(events, lambda: writer.rooms.add_user_to_room("A", user("guest")))
        assert isinstance(event, UserJoined)
        with pytest.raises(StoreClosedError):
            await woken(events, store.aclose)


def test_a_subscriber_on_a_closed_loop_does_not_disturb_writes() -> None:
    """A subscription on a closed event loop does not disturb writes."""
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
def test_chat_history_matches_the_transition(kept_before: list[int], appended: list[tuple[int, int]]) -> None:
    """`ChatHistory.append` keeps the same messages as `rules.append`, also with duplicates and other limits."""
    expected = tuple(message(number) for number in kept_before)
    kept = ChatHistory(expected)
    for number, limit in appended:
        after = rules.append(expected, message(number), limit)
        assert kept.append(message(number), limit) is (after is not None)
        expected = expected if after is None else after
        assert [kept.newest(count) for count in (1, 3, 9)] == [list(expected[-count:]) for count in (1, 3, 9)]
        assert kept._ids == Counter(one.id for one in expected)


async def test_a_room_that_expires_during_a_change_stays_expired() -> None:
    """If a room expires during a change, the change finds no room."""
    clock = ManualClock()
    store = MemoryStore(clock=clock)
    await store.rooms.create_room(room())

    def rename_slowly(before: Room) -> Room:
        clock.advance(timedelta(hours=25))
        return before.replace(video_url="https://video.example/1")

    with pytest.raises(RoomNotFoundError):
        await store.rooms.edit_room("A3X9K2", rename_slowly)
    assert await store.rooms.get_room("A3X9K2") is None


async def test_a_change_that_writes_its_room_is_applied_again() -> None:
    """If a change itself writes its room, it is applied again to the newer room."""
    store = MemoryStore()
    await store.rooms.create_room(room("A"))

    def change(before: Room) -> Room:
        if before.user("guest") is None:
            with pytest.raises(StopIteration):
                store.rooms.add_user_to_room("A", user("guest")).send(None)
        return before.replace(video_url="https://video.example/1")

    after = await store.rooms.edit_room("A", change)
    assert after is await store.rooms.get_room("A")
    assert after.video_url
    assert [one.id for one in after.users] == ["host", "guest"]


async def test_a_change_that_always_writes_its_room_fails() -> None:
    """A change that writes its room each time raises ConflictError instead of blocking the event loop."""
    store = MemoryStore()
    await store.rooms.create_room(room("A"))

    def change(before: Room) -> Room:
        with pytest.raises(StopIteration):
            store.rooms.add_user_to_room("A", user("guest")).send(None)
        return before.replace(video_url="https://video.example/1")

    with pytest.raises(ConflictError):
        await store.rooms.edit_room("A", change)
    found = await store.rooms.get_room("A")
    assert found is not None
    assert found.video_url is None


class Value:
    """An object that can be weakly referenced."""


class Watched:
    """A `TTLMap` with the number of its values that are still referenced, and a clock."""

    def __init__(self) -> None:
        self.now = 0
        self.entries: TTLMap[Value] = TTLMap(lambda: self.now)
        self.held: WeakSet[Value] = WeakSet()

    def set(self, key: str, ttl_ms: int) -> None:
        """Set a key to a new tracked value."""
        value = Value()
        self.held.add(value)
        self.entries.set(key, value, ttl_ms)

    def write_others(self, count: int = 1100) -> list[int]:
        """Write untracked entries. Return the number of referenced tracked values after each write."""
        held = [len(self.held)]
        for number in range(count):
            self.entries.set(f"other-{self.now}-{number}", Value(), ttl_ms=1000)
            held.append(len(self.held))
        return held


def test_writes_purge_expired_entries() -> None:
    """Expired entries are purged by writes of other keys, a few per write."""
    watched = Watched()
    for number in range(5000):
        watched.set(f"old-{number}", ttl_ms=10)
    watched.now = 10
    held = watched.write_others()
    assert (held[0], held[-1]) == (5000, 0)
    assert max(before - after for before, after in pairwise(held)) < 100


def test_a_renewed_entry_is_purged_after_its_last_expiry() -> None:
    """A renewed entry is kept beyond its first expiry and purged after its last."""
    watched = Watched()
    for now in (0, 5, 9):
        watched.now = now
        watched.set("a", ttl_ms=10)
    for now, held in ((12, 1), (18, 1), (19, 0)):
        watched.now = now
        assert watched.write_others()[-1] == held
        assert (watched.entries.get("a") is not None) == bool(held)


@pytest.mark.parametrize("ttls_ms", [(100, 10), (0,), (-5,)])
def test_an_entry_is_purged_when_its_last_ttl_ends(ttls_ms: tuple[int, ...]) -> None:
    """An entry is purged when the TTL of its last write ends, also if that is shorter or has already ended."""
    watched = Watched()
    for ttl_ms in ttls_ms:
        watched.set("a", ttl_ms)
    watched.now = max(0, ttls_ms[-1])
    assert watched.entries.get("a") is None
    watched.now += 1
    assert watched.write_others()[-1] == 0


def test_a_removed_entry_can_be_set_again() -> None:
    """A removed entry, also an expired one, can be set again with its full TTL."""
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


def test_an_expired_entry_can_be_removed() -> None:
    """Removing expired entries before they are purged does not prevent the purge of others."""
    watched = Watched()
    for number in range(5000):
        watched.set(f"old-{number}", ttl_ms=10)
    watched.now = 20
    watched.write_others(1)
    for number in range(0, 5000, 2):
        assert watched.entries.pop(f"old-{number}") is None
    assert watched.write_others()[-1] == 0


def test_a_renewal_does_not_update_the_purge_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """A renewal that does not shorten the TTL does not update the purge order."""
    watched = Watched()
    watched.set("a", ttl_ms=10)
    monkeypatch.delattr(TTLMap, "_put")
    for ttl_ms in (10, 20):
        watched.set("a", ttl_ms)
        former = watched.entries.get("a")
        assert former is not None
        assert watched.entries.replace("a", former, former.value, ttl_ms)
        assert watched.entries.remaining_ms("a") == ttl_ms


def test_purged_entries_are_counted() -> None:
    """`purge_expired` counts the expired entries and not the renewed ones."""
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
    """`replace` succeeds only for the current entry and until just before its expiry."""
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


async def test_a_url_opens_a_store_with_settings_and_clock() -> None:
    """A store opened with memory:// uses the given settings and clock."""
    clock = ManualClock()
    async with open_store("memory://", settings=StoreSettings(chat_history_limit=1), clock=clock) as store:
        await store.rooms.create_room(room("A"))
        for number in range(2):
            await store.chat.add_message(message(number, "A"))
        assert [one.id for one in await store.chat.get_messages("A")] == ["m1"]
        clock.advance(timedelta(days=2))
        assert await store.rooms.get_room("A") is None


async def test_timestamps_come_from_the_clock_of_the_store() -> None:
    """On a shared database, timestamps come from the clock of the store and TTLs from that of the database."""
    shared, own = ManualClock(datetime(2026, 1, 1, tzinfo=UTC)), ManualClock(datetime(2030, 1, 1, tzinfo=UTC))
    store = MemoryStore(clock=own, database=MemoryDatabase(shared))
    await store.rooms.create_room(room("A"))
    changed = await store.rooms.set_video_url("A", "https://video.example/1")
    assert changed.video_state.last_update_time == own.now_ms()
    own.advance(timedelta(days=2))
    assert await store.rooms.room_exists("A")
    shared.advance(timedelta(days=2))
    assert not await store.rooms.room_exists("A")


async def test_ended_leases_are_removed() -> None:
    """The leases of a key are removed when the last one ends or is released."""
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


class TickingClock(ManualClock):
    """A clock that advances by one millisecond on each reading while `ticking` is set."""

    ticking = False

    def monotonic_ms(self) -> int:
        """Return the time before the advance."""
        now = super().monotonic_ms()
        if self.ticking:
            self.advance(timedelta(milliseconds=1))
        return now


@pytest.mark.parametrize("left_ms", range(4))
async def test_a_window_that_ends_during_a_call_is_consistent(left_ms: int) -> None:
    """A window that ends during a call is reported either completely or not at all."""
    window, left = timedelta(seconds=60), timedelta(milliseconds=left_ms)
    for is_hit in (True, False):
        clock = TickingClock()
        limits = MemoryStore(StoreSettings(rate_limit_max=3, rate_limit_window=window), clock=clock).rate_limits
        await limits.hit("ip", 4)
        clock.advance(window - left)
        clock.ticking = True
        found = await (limits.hit("ip") if is_hit else limits.peek("ip"))
        new = (True, window) if is_hit else (True, timedelta(0))
        assert (found.allowed, found.reset_after) == ((False, left) if left_ms else new)


async def test_no_hit_moves_the_end_of_a_window() -> None:
    """Hits do not change the end of a window."""
    clock = TickingClock()
    store = MemoryStore(StoreSettings(rate_limit_window=timedelta(seconds=60)), clock=clock)
    begun_ms = clock.monotonic_ms()
    clock.ticking = True
    for _ in range(100):
        await store.rate_limits.hit("ip")
    clock.ticking = False
    left = (await store.rate_limits.peek("ip")).reset_after
    assert clock.monotonic_ms() - begun_ms + left // timedelta(milliseconds=1) == 60_000


def test_the_remaining_time_is_never_negative() -> None:
    """An entry that expires during a read has a positive remaining time or is not returned."""
    clock = TickingClock()
    clock.ticking = True
    entries: TTLMap[int] = TTLMap(clock.monotonic_ms)
    entries.set("a", 1, ttl_ms=10)
    left = [entries.remaining_ms("a") for _ in range(12)]
    assert left == [*range(9, 0, -1), None, None, None]
