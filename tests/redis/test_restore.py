"""Restoring: what a room is like that was put back."""

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
    """A store that can restore, empty at first and at last."""
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


async def test_restoring_keeps_the_room_as_it_was(store: Store) -> None:
    """A restored room has its revision and the rest of its life, is listed, and works like any other."""
    was = room("A", "host", rev=41)
    await _restorer(store).restore(Snapshot(was, HOUR, (message(1, "A"),), HOUR / 2))
    assert await store.rooms.get_room("A") == was
    assert [room_id async for room_id in store.rooms.active_room_ids()] == ["A"]
    left, chat_left = await store.rooms.room_ttl("A"), await store.chat.chat_ttl("A")
    assert left is not None
    assert chat_left is not None
    assert HOUR / 2 < left <= HOUR
    assert HOUR / 4 < chat_left <= HOUR / 2
    assert (await store.rooms.add_user_to_room("A", user("guest"))).rev == 42


async def test_restoring_keeps_the_last_messages(store: Store) -> None:
    """Of more messages than the store keeps, the last are restored."""
    messages = tuple(message(number, "A") for number in range(5))
    await _restorer(store).restore(Snapshot(room("A"), HOUR, messages, HOUR))
    assert [one.id for one in await store.chat.get_messages("A")] == ["m3", "m4"]


async def test_restoring_without_an_end(store: Store) -> None:
    """What had no end is given a full TTL."""
    await _restorer(store).restore(Snapshot(room("A"), timedelta.max, (message(1, "A"),), timedelta.max))
    for left in (await store.rooms.room_ttl("A"), await store.chat.chat_ttl("A")):
        assert left is not None
        assert 12 * HOUR < left <= 24 * HOUR


@pytest.mark.parametrize(
    "snapshot", [Snapshot(room("A"), HOUR, (), HOUR), Snapshot(room("A"), HOUR, (message(1, "A"),))]
)
async def test_restoring_no_chat(store: Store, snapshot: Snapshot) -> None:
    """Where a snapshot has no messages, or had no chat, there is no chat after it."""
    await _restorer(store).restore(snapshot)
    assert await store.chat.get_messages("A") == []
    assert await store.chat.chat_ttl("A") is None


async def test_restoring_over_a_room(store: Store) -> None:
    """A live room stays as it is, chat included, unless it is to be replaced; then nothing of it stays."""
    await _restorer(store).restore(Snapshot(room("A", rev=1), HOUR, (message(1, "A"),), HOUR))
    with pytest.raises(RoomExistsError):
        await _restorer(store).restore(Snapshot(room("A", rev=5), HOUR))
    found = await store.rooms.get_room("A")
    assert found is not None
    assert found.rev == 1
    assert len(await store.chat.get_messages("A")) == 1
    await _restorer(store).restore(Snapshot(room("A", rev=5), HOUR), replace=True)
    found = await store.rooms.get_room("A")
    assert found is not None
    assert found.rev == 5
    assert await store.chat.get_messages("A") == []


async def test_a_restored_room_is_told(store: Store) -> None:
    """A store that publishes its changes tells of a restored room by a Resync, and of one that was refused nothing."""
    async with store.events.subscribe("A") as events:
        await _restorer(store).restore(Snapshot(room("A"), HOUR, (message(1, "A"),), HOUR))
        with pytest.raises(RoomExistsError):
            await _restorer(store).restore(Snapshot(room("A"), HOUR))
        await _restorer(store).restore(Snapshot(room("A"), HOUR), replace=True)
        await store.rooms.delete_room("A")
        found = [await one(events) for _ in range(3)]
    assert found == [Resync(room_id="A"), Resync(room_id="A"), RoomClosed(room_id="A")]


async def test_nothing_is_restored_into_a_closed_store(store: Store) -> None:
    """A closed store restores nothing."""
    await store.aclose()
    with pytest.raises(StoreClosedError):
        await _restorer(store).restore(Snapshot(room("A"), HOUR))


async def test_a_restored_room_expires() -> None:
    """When what was left has passed, the room is gone, and its id is free."""
    clock = ManualClock()
    async with MemoryStore(clock=clock) as store:
        await store.restore(Snapshot(room("A"), HOUR))
        clock.advance(HOUR)
        assert not await store.rooms.room_exists("A")
        await store.restore(Snapshot(room("A"), HOUR))


async def test_a_restored_life_is_whole_milliseconds() -> None:
    """Of a life that ends within a millisecond, the whole ones are restored."""
    async with MemoryStore(clock=ManualClock()) as store:
        await store.restore(Snapshot(room("A"), timedelta(microseconds=1900)))
        assert await store.rooms.room_ttl("A") == timedelta(milliseconds=1)


def test_a_snapshot_is_checked() -> None:
    """A snapshot of no valid id, or without a life, can't be made; its JSON is read back as it is."""
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
    """Neither the host token nor a message's text is in a snapshot's repr."""
    shown = repr(Snapshot(room("A", host_token=SECRET), HOUR, (message(1, "A", message=SECRET),), HOUR))
    assert "A" in shown
    assert SECRET not in shown
