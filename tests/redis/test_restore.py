"""Tests of restoring rooms from snapshots."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from event_recorder import one
from redis_server import RedisServer
from wnc_store import (
    InvalidIdError,
    ManualClock,
    Resync,
    RoomClosed,
    RoomExistsError,
    Snapshot,
    Store,
    StoreClosedError,
    StoreSettings,
    SupportsRestore,
)
from wnc_store_contract.factories import message, room, user
from wnc_store_memory import MemoryStore
from wnc_store_redis import RedisStore

SECRET = "SECRET-9f1c"
HOUR = timedelta(hours=1)


@pytest.fixture(params=["memory", "redis"])
async def store(request: pytest.FixtureRequest) -> AsyncIterator[Store]:
    """A store that supports restore, empty before and after the test."""
    if request.param == "memory":
        async with MemoryStore(StoreSettings(chat_history_limit=2, publish_changes=True)) as store:
            yield store
        return
    server: RedisServer = request.getfixturevalue("redis_server")
    settings = StoreSettings(chat_history_limit=2, key_prefix="restore:", publish_changes=True)
    async with RedisStore.from_url(server.url, settings) as store:
        yield store
    async with RedisStore.from_url(server.url, settings) as store:
        await store.rooms.delete_room("A")


def _restorer(store: Store) -> SupportsRestore:
    assert isinstance(store, SupportsRestore)
    return store


async def test_a_restored_room_equals_the_snapshot(store: Store) -> None:
    """A restored room has the revision and the remaining TTL of the snapshot, is listed, and can be updated."""
    original = room("A", "host", rev=41)
    await _restorer(store).restore(Snapshot(original, HOUR, (message(1, "A"),), HOUR / 2))
    assert await store.rooms.get_room("A") == original
    assert [room_id async for room_id in store.rooms.active_room_ids()] == ["A"]
    ttl, chat_ttl = await store.rooms.room_ttl("A"), await store.chat.chat_ttl("A")
    assert ttl is not None
    assert chat_ttl is not None
    assert HOUR / 2 < ttl <= HOUR
    assert HOUR / 4 < chat_ttl <= HOUR / 2
    assert (await store.rooms.add_user_to_room("A", user("guest"))).rev == 42


async def test_restoring_keeps_the_last_messages(store: Store) -> None:
    """If a snapshot has more messages than the store keeps, the last ones are restored."""
    messages = tuple(message(number, "A") for number in range(5))
    await _restorer(store).restore(Snapshot(room("A"), HOUR, messages, HOUR))
    assert [m.id for m in await store.chat.get_messages("A")] == ["m3", "m4"]


async def test_restoring_without_a_ttl(store: Store) -> None:
    """A room or chat without a TTL is restored with a full TTL."""
    await _restorer(store).restore(Snapshot(room("A"), timedelta.max, (message(1, "A"),), timedelta.max))
    for ttl in (await store.rooms.room_ttl("A"), await store.chat.chat_ttl("A")):
        assert ttl is not None
        assert 12 * HOUR < ttl <= 24 * HOUR


@pytest.mark.parametrize(
    "snapshot", [Snapshot(room("A"), HOUR, (), HOUR), Snapshot(room("A"), HOUR, (message(1, "A"),))]
)
async def test_restoring_no_chat(store: Store, snapshot: Snapshot) -> None:
    """A snapshot without messages or without a chat restores no chat."""
    await _restorer(store).restore(snapshot)
    assert await store.chat.get_messages("A") == []
    assert await store.chat.chat_ttl("A") is None


async def test_restoring_over_a_room(store: Store) -> None:
    """An existing room and its chat are not changed without replace=True, and replaced completely with it."""
    await _restorer(store).restore(Snapshot(room("A", rev=1), HOUR, (message(1, "A"),), HOUR))
    with pytest.raises(RoomExistsError, match="'A'"):
        await _restorer(store).restore(Snapshot(room("A", rev=5), HOUR))
    restored = await store.rooms.get_room("A")
    assert restored is not None
    assert restored.rev == 1
    assert len(await store.chat.get_messages("A")) == 1
    await _restorer(store).restore(Snapshot(room("A", rev=5), HOUR), replace=True)
    restored = await store.rooms.get_room("A")
    assert restored is not None
    assert restored.rev == 5
    assert await store.chat.get_messages("A") == []


async def test_a_restored_room_is_published(store: Store) -> None:
    """A store with publish_changes publishes a Resync for a restored room, and nothing for a rejected one."""
    async with store.events.subscribe("A") as events:
        await _restorer(store).restore(Snapshot(room("A"), HOUR, (message(1, "A"),), HOUR))
        with pytest.raises(RoomExistsError):
            await _restorer(store).restore(Snapshot(room("A"), HOUR))
        await _restorer(store).restore(Snapshot(room("A"), HOUR), replace=True)
        await store.rooms.delete_room("A")
        restored = [await one(events) for _ in range(3)]
    assert restored == [Resync(room_id="A"), Resync(room_id="A"), RoomClosed(room_id="A")]


async def test_nothing_is_restored_into_a_closed_store(store: Store) -> None:
    """A closed store restores nothing."""
    await store.aclose()
    with pytest.raises(StoreClosedError):
        await _restorer(store).restore(Snapshot(room("A"), HOUR))


async def test_a_restored_room_expires() -> None:
    """A restored room expires after its remaining TTL, and its id can be used again."""
    clock = ManualClock()
    async with MemoryStore(clock=clock) as store:
        await store.restore(Snapshot(room("A"), HOUR))
        clock.advance(HOUR)
        assert not await store.rooms.room_exists("A")
        await store.restore(Snapshot(room("A"), HOUR))


async def test_a_restored_ttl_is_whole_milliseconds() -> None:
    """A restored TTL is rounded down to whole milliseconds."""
    async with MemoryStore(clock=ManualClock()) as store:
        await store.restore(Snapshot(room("A"), timedelta(microseconds=1900)))
        assert await store.rooms.room_ttl("A") == timedelta(milliseconds=1)


def test_a_snapshot_is_checked() -> None:
    """A snapshot needs a valid id and positive TTLs, and its JSON is parsed to an equal snapshot."""
    with pytest.raises(InvalidIdError):
        Snapshot(room("A*"), HOUR)
    for lives in ((timedelta(0), None), (HOUR, timedelta(0))):
        with pytest.raises(ValueError, match="at least 1 millisecond"):
            Snapshot(room("A"), lives[0], (), lives[1])
    for snapshot in (
        Snapshot(room("A"), timedelta.max),
        Snapshot(room("A", settings={"a": [1]}), HOUR, (message(1, "A"),), timedelta.max),
    ):
        assert Snapshot.from_json(snapshot.to_json(), where="here") == snapshot


def test_a_snapshots_repr_hides_its_secrets() -> None:
    """The repr of a snapshot does not contain the host token or a message's text."""
    shown = repr(Snapshot(room("A", host_token=SECRET), HOUR, (message(1, "A", message=SECRET),), HOUR))
    assert "A" in shown
    assert SECRET not in shown
